from setuptools import find_packages, setup

package_name = "policy_runner"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools", "numpy"],
    extras_require={"test": ["pytest", "hypothesis"]},
    zip_safe=True,
    maintainer="World model maintainers",
    maintainer_email="maintainers@example.com",
    description="Executes a policy's chunks of actions, safely while inference is late.",
    license="Apache-2.0",
    py_modules=["policy_runner_node"],
    entry_points={"console_scripts": ["policy_runner_node = policy_runner_node:main"]},
)
