"""Record what training needs: camera and its CameraInfo, pose, actions, depth and proprioception where there are such.

ros2 launch wm_bringup record.launch.py out:=bags/kitchen compressed:=true
"""

import os

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, Shutdown

from wm_bringup.launching import described, is_true, namespace_argument, require_package, resolved, topic_arguments


def _recorder(context: LaunchContext) -> list[ExecuteProcess]:
    given = context.launch_configurations
    require_package("ros2bag", "nothing can be recorded")
    camera = given["camera"] + ("/compressed" if is_true(context, "compressed") else "")
    # Beside the camera's topic, by ROS's convention; where nobody publishes it, it costs nothing.
    info = "".join(given["camera"].rpartition("/")[:2]) + "camera_info"
    topics = [camera, info, given["pose"], given["actions"], *given["more_topics"].split()]
    command = ["ros2", "bag", "record"]
    command += ["--output", given["out"]] if given["out"] else []
    command += ["--storage", given["storage"]] if given["storage"] else []
    ends = [Shutdown(reason="the recorder has ended")]
    # Humble takes topics as they are, newer distributions under an option.
    command += [] if os.environ.get("ROS_DISTRO") == "humble" else ["--topics"]
    command += [resolved(context, topic) for topic in topics]
    return [ExecuteProcess(cmd=command, output="screen", on_exit=ends)]


def generate_launch_description() -> LaunchDescription:
    """Returns the recorder; Ctrl-C ends the recording."""
    own = [
        DeclareLaunchArgument("out", default_value="", description="new directory; empty: named by the time"),
        DeclareLaunchArgument("storage", default_value="", description="sqlite3 or mcap; empty: the distribution's"),
        DeclareLaunchArgument("compressed", default_value="false", description="record TOPIC/compressed instead"),
        DeclareLaunchArgument(
            "more_topics",
            default_value="camera/depth/image_raw proprioception",
            description="further topics by spaces; one that nobody publishes costs nothing",
        ),
    ]
    return described([*own, namespace_argument(), *topic_arguments()], _recorder)
