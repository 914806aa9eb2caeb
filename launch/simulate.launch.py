"""Drive the simulated robot with its first-person camera through the graph.

ros2 launch wm_bringup simulate.launch.py seed:=3 rviz:=true
ros2 launch wm_bringup simulate.launch.py seed:=3 planner:=true drive:=true  # once it has driven round by itself
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch_ros.actions import Node

from wm_bringup.configuration import config_directory
from wm_bringup.launching import graph_arguments, integer, is_true, launch_description, source_node


def _robot(context: LaunchContext) -> list[Node]:
    seed = integer(context, "seed")
    parameters = [str(config_directory() / "wm_sim.yaml"), *([] if seed is None else [{"seed": seed}])]
    if context.launch_configurations["drive"] and is_true(context, "drive"):
        parameters.append({"driven_by": "actions"})
    ends = "the simulated robot has ended"
    return [source_node(context, "wm_sim_ros", "wm_sim_node", ends, name="wm_sim", parameters=parameters)]


def generate_launch_description() -> LaunchDescription:
    """Returns the graph and the simulated robot."""
    seed = DeclareLaunchArgument("seed", default_value="", description="which building; empty: as wm_sim.yaml says")
    return launch_description(
        [seed, *graph_arguments(memory="simulated", default_model_path="artifact://tiny")], _robot
    )
