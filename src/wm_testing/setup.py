from setuptools import find_packages, setup

package_name = "wm_testing"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(include=[package_name, f"{package_name}.*"]),
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools", "hypothesis", "numpy", "pytest", "PyYAML", "rosbags", "selenium", "torch"],
    extras_require={"train": ["onnx"], "test": ["pytest"]},
    zip_safe=False,
    maintainer="World model maintainers",
    maintainer_email="maintainers@example.com",
    description="What only tests need: small artifacts, recordings, and a ROS of their own.",
    license="Apache-2.0",
)
