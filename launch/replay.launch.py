"""Play a recording into the graph; ends when the recording does.

ros2 launch wm_bringup replay.launch.py bag:=/path/to/bag topics:="/front/image_raw:=/camera/image_raw" loop:=2
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch_ros.actions import Node

from wm_bringup.launching import graph_arguments, is_true, launch_description, source_node
from wm_ros import ConfigurationError


def _player(context: LaunchContext) -> list[Node]:
    given = context.launch_configurations
    if not Path(given["bag"]).exists():
        raise ConfigurationError(f"no recording at '{given['bag']}'")
    arguments = [given["bag"], "--rate", given["rate"], "--loop", given["loop"]]
    # The encoder and the slow branch both read the camera.
    arguments += ["--subscribers", "2" if is_true(context, "slow_branch") else "1"]
    if given["topics"]:
        arguments += ["--topics", *given["topics"].split()]
    ends = "the recording has ended"
    return [source_node(context, "bag_player", "bag_player_node", ends, arguments=arguments)]


def generate_launch_description() -> LaunchDescription:
    """Returns the graph and the player, both on the recording's time."""
    own = [
        DeclareLaunchArgument("bag", description="rosbag2 directory, or a .db3 or .mcap file"),
        DeclareLaunchArgument("rate", default_value="1.0", description="2.0 plays twice as fast"),
        DeclareLaunchArgument("loop", default_value="1", description="how often to play; 0: until stopped"),
        DeclareLaunchArgument("topics", default_value="", description="recorded topic:=topic of the graph, by spaces"),
    ]
    return launch_description([*own, *graph_arguments(use_sim_time="true", memory="replay")], _player)
