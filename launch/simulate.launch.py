"""Drive the simulated robot with its first-person camera through the graph.

ros2 launch wm_bringup simulate.launch.py seed:=3 rviz:=true
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch_ros.actions import Node

from wm_bringup.configuration import config_directory
from wm_bringup.launching import graph_arguments, include_graph


def _robot(context: LaunchContext) -> list[Node]:
    seed = context.launch_configurations["seed"]
    return [
        Node(
            package="wm_sim_ros",
            executable="wm_sim_node",
            name="wm_sim",
            parameters=[str(config_directory() / "wm_sim.yaml"), *([{"seed": int(seed)}] if seed else [])],
            output="screen",
            on_exit=[Shutdown(reason="the simulated robot has ended")],
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Returns the graph and the simulated robot."""
    seed = DeclareLaunchArgument("seed", default_value="", description="which building; empty: as wm_sim.yaml says")
    return LaunchDescription([seed, *graph_arguments(), include_graph(), OpaqueFunction(function=_robot)])
