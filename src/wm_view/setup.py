from setuptools import find_packages, setup

package_name = "wm_view"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(include=[package_name, f"{package_name}.*"]),
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools", "numpy"],
    extras_require={
        "test": ["pytest"],
        "view": ["foxglove-schemas-protobuf", "mcap", "mcap-protobuf-support", "rerun-sdk"],
    },
    zip_safe=False,
    maintainer="World model maintainers",
    maintainer_email="maintainers@example.com",
    description="Shows the graph: frames for viewers, recordings that viewers open.",
    license="Apache-2.0",
    py_modules=["frame_broadcaster_node", "view_recorder_node"],
    entry_points={
        "console_scripts": [
            "frame_broadcaster_node = frame_broadcaster_node:main",
            "view_recorder_node = view_recorder_node:main",
        ]
    },
)
