from setuptools import find_packages, setup

package_name = "latent_publisher"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools", "numpy"],
    extras_require={"test": ["pytest"]},
    zip_safe=True,
    maintainer="World model maintainers",
    maintainer_email="maintainers@example.com",
    description="One latent per camera frame, with the pose and action that belong to it.",
    license="Apache-2.0",
    py_modules=["latent_publisher_node"],
    entry_points={"console_scripts": ["latent_publisher_node = latent_publisher_node:main"]},
)
