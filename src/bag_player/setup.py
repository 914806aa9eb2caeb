from setuptools import find_packages, setup

package_name = "bag_player"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(include=[package_name, f"{package_name}.*"]),
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools", "rosbags"],
    extras_require={"test": ["pytest"]},
    zip_safe=False,
    maintainer="World model maintainers",
    maintainer_email="maintainers@example.com",
    description="Plays a recording into the graph, and records what feeds it; counts every message.",
    license="Apache-2.0",
    py_modules=["bag_player_node"],
    entry_points={
        "console_scripts": ["bag_player_node = bag_player_node:main", "bag_recorder = bag_player.recording:main"],
        "wm.recorders": ["live = bag_player.live:command"],
    },
)
