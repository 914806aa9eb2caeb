from setuptools import find_packages, setup

package_name = "spatial_memory"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(include=[package_name, f"{package_name}.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools", "faiss-cpu", "h3", "httpx", "numpy"],
    extras_require={"test": ["pytest", "hypothesis"], "qdrant": ["qdrant-client"]},
    zip_safe=False,
    maintainer="World model maintainers",
    maintainer_email="maintainers@example.com",
    description="Exact, durable, bounded memory of latent states by place, time and likeness.",
    license="Apache-2.0",
    py_modules=["spatial_memory_node"],
    entry_points={
        "console_scripts": ["spatial_memory_node = spatial_memory_node:main"],
        "wm.commands": ["memory = spatial_memory.region.command:main"],
    },
)
