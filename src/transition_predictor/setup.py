from setuptools import find_packages, setup

package_name = "transition_predictor"

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
    description="What follows: the next latents, conditioned on memories of the places ahead.",
    license="Apache-2.0",
    py_modules=["transition_predictor_node"],
    entry_points={"console_scripts": ["transition_predictor_node = transition_predictor_node:main"]},
)
