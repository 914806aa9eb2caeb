"""Start the graph: latent_publisher, transition_predictor, spatial_memory and world_action.

ros2 launch wm_bringup world_model.launch.py camera:=/front/image_raw pose:=/amcl_pose composed:=false
ros2 launch wm_bringup world_model.launch.py planner:=true drive:=true  # goals: /latent_planner/plan
"""

from launch import LaunchDescription

from wm_bringup.launching import graph_arguments, launch_description


def generate_launch_description() -> LaunchDescription:
    """Returns the graph's nodes, as one process or several."""
    return launch_description(graph_arguments())
