"""What the launch files have in common: their arguments, the checks before anything starts, and the graph's actions.

Needs ``launch`` and ``launch_ros``; nothing else in this package does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, Shutdown
from launch_ros.actions import Node

from wm_bringup.asked import is_asked_for, refuse_unknown
from wm_bringup.configuration import (
    NODES,
    check_user_file,
    config_directory,
    option_values,
    params_of,
    shipped_file,
)
from wm_bringup.viewing import ROBOT_FRAME, written
from wm_ros import ConfigurationError, environment_overrides

TOPICS = {
    "camera": ("camera/image_raw", "sensor_msgs/Image, or CompressedImage on TOPIC/compressed"),
    "pose": ("pose", "geometry_msgs/PoseStamped, metric map frame"),
    "actions": ("actions", "std_msgs/Float32MultiArray"),
}
"""{launch argument: (topic of the graph, what it carries)}."""

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_RESPAWN_S = 0.5


def topic_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments that name the robot's topics."""
    return [DeclareLaunchArgument(n, default_value=t, description=what) for n, (t, what) in TOPICS.items()]


def namespace_argument() -> DeclareLaunchArgument:
    """Returns the argument that keeps robots apart."""
    text = "of all nodes and their topics; one for each robot"
    return DeclareLaunchArgument("namespace", default_value="", description=text)


def graph_arguments(
    use_sim_time: str = "false", memory: str = "", default_model_path: str = ""
) -> list[DeclareLaunchArgument]:
    """Returns the arguments of everything that starts the graph.

    Args:
        use_sim_time: Default of the argument of that name.
        memory: Default of the argument of that name.
        default_model_path: Default of the argument of that name.
    """
    described = [
        ("model_path", "", "artifact folder, artifact://NAME or an encoder.pt; empty: as the parameter files say"),
        (
            "default_model_path",
            default_model_path,
            "the same, where no parameter file of yours and no variable names one",
        ),
        (
            "profile",
            "",
            "folder of the robot's profile, or a name in ~/.ros/world_model/NAMESPACE; empty: as the files say",
        ),
        ("device", "", "where the models run, as torch names it; empty: as the parameter files say"),
        ("memory", memory, "SQLite file, or the name of one in ~/.ros/world_model/NAMESPACE; empty: as the files say"),
        ("params_file", "", "ROS parameter file, read after the shipped ones"),
        ("use_sim_time", use_sim_time, "follow /clock"),
        ("composed", "true", "all nodes in one process; false: each a process of its own"),
        ("respawn", "false", "start again, after half a second, whatever ends by anything but the launch's own end"),
        ("slow_branch", "true", "start world_action too"),
        ("planner", "false", "start latent_planner too, as a process of its own"),
        (
            "policy",
            "",
            "start policy_runner too, a process of its own, with nearest_drive, hold_last_action or a policy's folder",
        ),
        (
            "drive",
            "",
            "true: latent_planner, or policy_runner, drives the robot; empty: as the parameter files say",
        ),
        ("rviz", "false", "start rviz2 with config/world_model.rviz, as monitor.launch.py does"),
    ]
    plain = [DeclareLaunchArgument(n, default_value=value, description=text) for n, value, text in described]
    return [namespace_argument(), *plain, *topic_arguments(), *view_arguments()]


def view_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments of what shows the graph."""
    described = [
        ("fixed_frame", "map", "what rviz shows everything in"),
        ("robot_frame", "", "what the view follows; empty: a frame of its own, which frame_broadcaster publishes"),
        ("compressed", "false", "whether rviz takes the camera from TOPIC/compressed"),
        ("rviz_config", "", "configuration of yours for rviz, used as it is; empty: config/world_model.rviz, adapted"),
    ]
    return [DeclareLaunchArgument(n, default_value=value, description=text) for n, value, text in described]


def launch_description(
    arguments: Sequence[DeclareLaunchArgument], source: Callable[[LaunchContext], list[Node]] | None = None
) -> LaunchDescription:
    """Returns the graph, and what feeds it; nothing starts unless all that was asked for can be.

    Args:
        arguments: Of the launch file.
        source: Makes the nodes that feed the graph; raises ``ConfigurationError`` where they cannot be made.
    """

    def start(context: LaunchContext) -> list[Action]:
        # Made before any of them starts: a failure later would leave a graph behind that holds the memory.
        fed_by = source(context) if source else []
        return [*graph_actions(context), *fed_by]

    return described(arguments, start)


def described(
    arguments: Sequence[DeclareLaunchArgument], make: Callable[[LaunchContext], Sequence[Action]]
) -> LaunchDescription:
    """Returns what a launch file of ours describes: its arguments, and what it makes of them once none is unknown.

    Args:
        arguments: Of the launch file.
        make: Makes its actions; raises ``ConfigurationError`` where they cannot be made.
    """

    def start(context: LaunchContext) -> list[Action]:
        launch_file = context.get_locals_as_dict().get("current_launch_file_path", "")
        if launch_file and is_asked_for(sys.argv, Path(launch_file)):
            refuse_unknown(context.argv, [argument.name for argument in arguments])
        return list(make(context))

    return LaunchDescription([*arguments, OpaqueFunction(function=start)])


def remappings(context: LaunchContext) -> list[tuple[str, str]]:
    """Returns (topic of the graph, the robot's) for the topics that differ, with their compressed form."""
    pairs = []
    for argument, (ours, _) in TOPICS.items():
        theirs = context.launch_configurations[argument]
        if theirs.lstrip("/") != ours or (theirs.startswith("/") and namespace(context)):
            pairs += [(ours, theirs), (f"{ours}/compressed", f"{theirs}/compressed")]
    return pairs


def namespace(context: LaunchContext) -> str:
    """Returns the namespace of all nodes, without slashes around it."""
    return str(context.launch_configurations["namespace"]).strip("/")


def resolved(context: LaunchContext, topic: str) -> str:
    """Returns the full name of a topic of the namespace."""
    return topic if topic.startswith("/") else "/".join(["", *filter(None, [namespace(context), topic])])


def is_true(context: LaunchContext, argument: str) -> bool:
    """Returns a launch argument as a truth value.

    Raises:
        ConfigurationError: It is none.
    """
    value = context.launch_configurations[argument].lower()
    if value not in (*_TRUE, *_FALSE):
        raise ConfigurationError(f"{argument}:={value}: expected true or false")
    return value in _TRUE


def integer(context: LaunchContext, argument: str) -> int | None:
    """Returns a launch argument as a whole number, None where it is empty.

    Raises:
        ConfigurationError: It is none.
    """
    value = context.launch_configurations[argument]
    try:
        return int(value) if value else None
    except ValueError as error:
        raise ConfigurationError(f"{argument}:={value}: expected a whole number") from error


def require_package(package: str, otherwise: str) -> None:
    """Refuses to start without a package of ROS.

    Raises:
        ConfigurationError: It is not installed; says what follows and how to get it.
    """
    try:
        get_package_prefix(package)
    except PackageNotFoundError as error:
        debian = f"ros-{os.environ.get('ROS_DISTRO', 'DISTRO')}-{package.replace('_', '-')}"
        raise ConfigurationError(
            f"package {package} is not installed, so {otherwise}; install it: sudo apt-get install {debian}"
        ) from error


def source_node(context: LaunchContext, package: str, executable: str, ends: str, **options: Any) -> Node:
    """Returns a node that feeds the graph, on the graph's own topics; its end ends the launch.

    Args:
        context: With the launch arguments.
        package: Its package.
        executable: Its executable.
        ends: Why the launch ends with it.
        **options: Passed to ``launch_ros.actions.Node``.
    """
    return Node(
        package=package,
        executable=executable,
        namespace=namespace(context),
        remappings=remappings(context),
        output="screen",
        on_exit=[Shutdown(reason=ends)],
        **options,
    )


def graph_actions(context: LaunchContext) -> list[Action]:
    """Returns the nodes of the graph and, if wanted, rviz.

    Raises:
        ConfigurationError: An argument cannot work.
    """
    if context.launch_configurations["params_file"]:
        check_user_file(Path(context.launch_configurations["params_file"]), namespace(context))
    composed = is_true(context, "composed")
    nodes = [node for node in NODES if node != "world_action" or is_true(context, "slow_branch")]
    actions: list[Action] = [_composed(context)] if composed else [_separate(context, node) for node in nodes]
    actions += [_separate(context, node) for node in _wanted(context)]
    return [*actions, *view_actions(context)] if is_true(context, "rviz") else actions


def _wanted(context: LaunchContext) -> list[str]:
    """Returns which of the nodes that start only where they are asked for are.

    Raises:
        ConfigurationError: Somebody is to drive, and nobody is there who could.
    """
    given = context.launch_configurations
    planner, policy, drive = is_true(context, "planner"), bool(given["policy"]), given["drive"]
    if drive and is_true(context, "drive") and planner == policy:
        raise ConfigurationError(f"drive:=true needs planner:=true or policy:=NAME{', not both' if planner else ''}")
    return [*(["latent_planner"] if planner else []), *(["policy_runner"] if policy else [])]


def view_actions(context: LaunchContext) -> list[Action]:
    """Returns rviz and what gives it frames; a warning where rviz is not installed.

    Raises:
        ConfigurationError: An argument cannot work.
    """
    view = _view(context)
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return [LogInfo(msg="WARNING: rviz2 is not installed, so nothing is shown; install package rviz2")]
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=namespace(context),
        remappings=remappings(context),
        arguments=["-d", str(view)],
        parameters=[{"use_sim_time": is_true(context, "use_sim_time")}],
    )
    return [*_frames(context), rviz]


def robot_frame(context: LaunchContext) -> str:
    """Returns the frame that the view follows: the robot's own, or one that is published for it."""
    given = str(context.launch_configurations["robot_frame"])
    return given or "/".join(filter(None, [namespace(context), ROBOT_FRAME]))


def _view(context: LaunchContext) -> Path:
    """Returns the file that rviz is to open."""
    given, is_compressed = context.launch_configurations, is_true(context, "compressed")
    if given["rviz_config"]:
        path = Path(given["rviz_config"])
        if not path.is_file():
            raise ConfigurationError(f"no rviz configuration '{path}'")
        return path
    robots = {ours: given[argument] for argument, (ours, _) in TOPICS.items()}

    def topic(name: str) -> str:
        ours = name.lstrip("/")
        theirs = resolved(context, robots.get(ours, ours))
        return f"{theirs}/compressed" if is_compressed and ours == TOPICS["camera"][0] else theirs

    return written(config_directory(), given["fixed_frame"], robot_frame(context), topic)


def _frames(context: LaunchContext) -> list[Action]:
    """Returns what publishes the frame that the view follows; nothing where the robot has one."""
    if context.launch_configurations["robot_frame"]:
        return []
    frames = {"fixed_frame": context.launch_configurations["fixed_frame"], "robot_frame": robot_frame(context)}
    return [
        Node(
            package="wm_view",
            executable="frame_broadcaster_node",
            name="frame_broadcaster",
            namespace=namespace(context),
            parameters=[{**frames, "use_sim_time": is_true(context, "use_sim_time")}],
            output="screen",
        )
    ]


def _options(context: LaunchContext) -> dict[str, Any]:
    given = context.launch_configurations
    named = {"model_path": "model_path", "device": "device", "db_path": "memory", "profile": "profile"}
    options: dict[str, Any] = {parameter: given[argument] for parameter, argument in named.items()}
    drives = is_true(context, "drive") if given["drive"] else None
    shadow = None if drives is None else not drives
    return {**options, "policy": given["policy"], "drive": drives, "shadow": shadow}


def _composed(context: LaunchContext) -> Node:
    # No name and no parameter dictionary: both would reach all four nodes.
    arguments = []
    for name in ("model_path", "default_model_path", "profile", "device", "memory", "params_file"):
        value = context.launch_configurations[name]
        arguments += [f"--{name.replace('_', '-')}", value] if value else []
    if is_true(context, "use_sim_time"):
        arguments.append("--use-sim-time")
    if not is_true(context, "slow_branch"):
        arguments.append("--no-slow-branch")
    return Node(
        package="wm_bringup",
        executable="world_model",
        namespace=namespace(context),
        arguments=arguments,
        remappings=remappings(context),
        output="screen",
        **_ending(context, "the world model has ended"),
    )


def _ending(context: LaunchContext, reason: str) -> dict[str, Any]:
    """Returns what becomes of a node that ends: it is started again, or it ends everything where there is a reason."""
    if is_true(context, "respawn"):
        return {"respawn": True, "respawn_delay": _RESPAWN_S}
    return {"on_exit": [Shutdown(reason=reason)]} if reason else {}


def _separate(context: LaunchContext, node: str) -> Node:
    user_file = context.launch_configurations["params_file"]
    parameters: list[Any] = [
        str(shipped_file(node)),
        option_values(node, {"model_path": context.launch_configurations["default_model_path"]}),
        environment_overrides(params_of(node)),
        *([user_file] if user_file else []),
        {**option_values(node, _options(context)), "use_sim_time": is_true(context, "use_sim_time")},
    ]
    # Without latents there is nothing to do; the others can be missed for a while.
    reason = "latent_publisher has ended" if node == "latent_publisher" else ""
    return Node(
        package=node,
        executable=f"{node}_node",
        name=node,
        namespace=namespace(context),
        parameters=[each for each in parameters if each],
        remappings=remappings(context),
        output="screen",
        **_ending(context, reason),
    )
