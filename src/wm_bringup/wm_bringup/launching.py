"""What the launch files have in common: their arguments, and the actions that start the graph.

Needs ``launch`` and ``launch_ros``; nothing else in this package does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext
from launch.action import Action
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from wm_bringup.configuration import NODES, config_directory, option_values, shipped_file
from wm_ros import environment_overrides

TOPICS = {
    "camera": ("/camera/image_raw", "sensor_msgs/Image, or CompressedImage on TOPIC/compressed"),
    "pose": ("/pose", "geometry_msgs/PoseStamped, metric map frame"),
    "actions": ("/actions", "std_msgs/Float32MultiArray"),
}
"""{launch argument: (topic of the graph, what it carries)}."""


def topic_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments that name the robot's topics."""
    return [DeclareLaunchArgument(n, default_value=t, description=what) for n, (t, what) in TOPICS.items()]


def graph_arguments(use_sim_time: str = "false") -> list[DeclareLaunchArgument]:
    """Returns the arguments of everything that starts the graph.

    Args:
        use_sim_time: Default of the argument of that name.
    """
    described = [
        ("model_path", "", "artifact folder, artifact://NAME or an encoder.pt; empty: as the parameter files say"),
        ("device", "", "where the models run, as torch names it; empty: as the parameter files say"),
        ("params_file", "", "ROS parameter file, read after the shipped ones"),
        ("use_sim_time", use_sim_time, "follow /clock"),
        ("composed", "true", "all nodes in one process; false: each a process of its own"),
        ("slow_branch", "true", "start world_action too"),
        ("rviz", "false", "start rviz2 with config/world_model.rviz"),
    ]
    plain = [DeclareLaunchArgument(n, default_value=value, description=text) for n, value, text in described]
    return [*plain, *topic_arguments()]


def include_graph() -> IncludeLaunchDescription:
    """Returns the action that starts the graph with the arguments of the including file."""
    path = Path(get_package_share_directory("wm_bringup")) / "launch" / "world_model.launch.py"
    names = [argument.name for argument in graph_arguments()]
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(path)), launch_arguments=[(n, LaunchConfiguration(n)) for n in names]
    )


def remappings(context: LaunchContext) -> list[tuple[str, str]]:
    """Returns (topic of the graph, the robot's) for the topics that differ, with their compressed form."""
    pairs = []
    for argument, (ours, _) in TOPICS.items():
        theirs = context.launch_configurations[argument]
        if theirs != ours:
            pairs += [(ours, theirs), (f"{ours}/compressed", f"{theirs}/compressed")]
    return pairs


def is_true(context: LaunchContext, argument: str) -> bool:
    """Returns a launch argument as a truth value."""
    return context.launch_configurations[argument].lower() in ("true", "1", "yes", "on")


def graph_actions(context: LaunchContext) -> list[Action]:
    """Returns the nodes of the graph and, if wanted, rviz."""
    composed = is_true(context, "composed")
    nodes = [node for node in NODES if node != "world_action" or is_true(context, "slow_branch")]
    actions: list[Action] = [_composed(context)] if composed else [_separate(context, node) for node in nodes]
    if is_true(context, "rviz"):
        view = config_directory() / "world_model.rviz"
        simulated = {"use_sim_time": is_true(context, "use_sim_time")}
        actions.append(Node(package="rviz2", executable="rviz2", arguments=["-d", str(view)], parameters=[simulated]))
    return actions


def _options(context: LaunchContext) -> dict[str, Any]:
    return {name: context.launch_configurations[name] for name in ("model_path", "device")}


def _composed(context: LaunchContext) -> Node:
    # No name and no parameter dictionary: both would reach all four nodes.
    arguments = []
    for option, value in {**_options(context), "params_file": context.launch_configurations["params_file"]}.items():
        arguments += [f"--{option.replace('_', '-')}", value] if value else []
    if is_true(context, "use_sim_time"):
        arguments.append("--use-sim-time")
    if not is_true(context, "slow_branch"):
        arguments.append("--no-slow-branch")
    return Node(
        package="wm_bringup",
        executable="world_model",
        arguments=arguments,
        remappings=remappings(context),
        output="screen",
        on_exit=[Shutdown(reason="the world model has ended")],
    )


def _separate(context: LaunchContext, node: str) -> Node:
    user_file = context.launch_configurations["params_file"]
    parameters: list[Any] = [
        str(shipped_file(node)),
        environment_overrides(NODES[node]),
        *([user_file] if user_file else []),
        {**option_values(node, _options(context)), "use_sim_time": is_true(context, "use_sim_time")},
    ]
    # Without latents there is nothing to do; the others can be missed for a while.
    on_exit = [Shutdown(reason="latent_publisher has ended")] if node == "latent_publisher" else None
    return Node(
        package=node,
        executable=f"{node}_node",
        name=node,
        parameters=[each for each in parameters if each],
        remappings=remappings(context),
        output="screen",
        on_exit=on_exit,
    )
