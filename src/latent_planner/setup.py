from setuptools import find_packages, setup

package_name = "latent_planner"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools", "numpy", "scipy", "torch"],
    extras_require={"test": ["pytest", "hypothesis"]},
    zip_safe=True,
    maintainer="World model maintainers",
    maintainer_email="maintainers@example.com",
    description="Plans where the robot should go over the ground that it remembers, at robot rate.",
    license="Apache-2.0",
    py_modules=["latent_planner_node"],
    entry_points={"console_scripts": ["latent_planner_node = latent_planner_node:main"]},
)
