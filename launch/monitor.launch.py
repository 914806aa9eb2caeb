"""Show a graph that runs, here or on another machine, in rviz2: what it sees, remembers, expects, imagines and plans.

ros2 launch wm_bringup monitor.launch.py fixed_frame:=odom camera:=/front/image_raw compressed:=true
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument

from wm_bringup.launching import described, namespace_argument, topic_arguments, view_actions, view_arguments


def generate_launch_description() -> LaunchDescription:
    """Returns rviz2, and the frame that its view follows."""
    clock = DeclareLaunchArgument("use_sim_time", default_value="false", description="follow /clock")
    arguments = [namespace_argument(), clock, *topic_arguments(), *view_arguments()]
    return described(arguments, view_actions)
