from setuptools import find_packages, setup

package_name = "wm_policy"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["py.typed", "published/*.json", "configs/*.yaml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools", "numpy", "rich", "torch"],
    extras_require={
        "test": ["pytest", "hypothesis"],
        "extras": ["transformers"],
        "policy": ["diffusers", "msgpack", "peft"],
    },
    zip_safe=False,
    maintainer="World model maintainers",
    maintainer_email="maintainers@example.com",
    description="Policies in torch, without ROS: encoders, sensors, action heads and the reactive model fed by memory.",
    license="Apache-2.0",
    entry_points={
        "wm.train": [f"{name} = wm_policy.training.run:train" for name in ("reactive", "bc", "diffusion")],
    },
)
