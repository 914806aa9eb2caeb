from setuptools import find_packages, setup

package_name = "wm_demo"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(include=[package_name, f"{package_name}.*"]),
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools", "matplotlib", "numpy", "psutil", "rich", "torch"],
    extras_require={"test": ["pytest"]},
    zip_safe=False,
    maintainer="World model maintainers",
    maintainer_email="maintainers@example.com",
    description="The demo: run the whole graph, watch it, judge it.",
    license="Apache-2.0",
    py_modules=["simulated_source"],
    entry_points={"console_scripts": ["simulated_source = simulated_source:main"]},
)
