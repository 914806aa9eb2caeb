from setuptools import find_packages, setup

package_name = "wm_api"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["py.typed", "static/*", "static/**/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=[
        "setuptools",
        "fastapi",
        "httpx",
        "numpy",
        "prometheus-client",
        "pydantic",
        "starlette",
        "torch",
        "uvicorn",
    ],
    extras_require={"test": ["pytest"]},
    zip_safe=True,
    maintainer="World model maintainers",
    maintainer_email="maintainers@example.com",
    description="The world model over HTTP: encode, predict, roll out, remember; live streams and the page.",
    license="Apache-2.0",
    py_modules=["wm_api_node"],
    entry_points={"console_scripts": ["wm_api_node = wm_api_node:main"]},
)
