from setuptools import find_packages, setup

package_name = "wm_ros"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools", "numpy", "torch"],
    extras_require={"test": ["pytest"]},
    zip_safe=True,
    maintainer="World model maintainers",
    maintainer_email="maintainers@example.com",
    description="What every node of the world model shares: parameters, conversions, QoS, health, runner.",
    license="Apache-2.0",
    py_modules=["wm_ros_start"],
)
