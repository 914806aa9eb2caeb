from setuptools import find_packages, setup

package_name = "world_action"

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
    description="The slow branch: a visual history at 1 Hz and what it foresees.",
    license="Apache-2.0",
    py_modules=["world_action_node"],
    entry_points={"console_scripts": ["world_action_node = world_action_node:main"]},
)
