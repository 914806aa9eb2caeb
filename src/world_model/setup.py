from setuptools import find_packages, setup

package_name = "world_model"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["shipped/*/*", "configs/*.yaml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools", "matplotlib", "numpy", "onnxruntime", "PyYAML", "rich", "scipy", "torch"],
    extras_require={
        "test": ["pytest", "hypothesis", "rosbags"],
        "train": ["lightning-fabric", "onnx", "onnxscript", "scikit-learn"],
        "extras": ["transformers"],
        "lerobot": ["pyarrow"],
    },
    zip_safe=False,
    maintainer="World model maintainers",
    maintainer_email="maintainers@example.com",
    description="Latent world models in torch and numpy, without ROS.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "wm = world_model.cli:main",
            "wm-data = world_model.commands.data:main",
            "wm-train = world_model.commands.train:main",
            "wm-evaluate = world_model.commands.evaluate:main",
            "wm-export = world_model.commands.export:main",
        ],
    },
)
