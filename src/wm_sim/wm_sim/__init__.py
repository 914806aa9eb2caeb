"""A small simulated robot with a first-person camera, driving loops through seeded buildings. No ROS in here."""

from wm_core.moved import moved
from wm_sim.building import Building, make_building
from wm_sim.randomised import RANGES, ActionMeaning, RandomWorld, draw_world
from wm_sim.render import CAMERA_HEIGHT_M, FIELD_OF_VIEW_DEG
from wm_sim.settings import (
    DEFAULT_CHANGES,
    DEFAULT_POSE_NOISE,
    EXACT,
    STILL,
    Camera,
    Changes,
    Driving,
    PoseNoise,
    WorldConfig,
)
from wm_sim.simulation import SimStep, Simulation, simulate
from wm_sim.tasks import TASKS, Outcome, Task, make_task

__all__ = [
    "CAMERA_HEIGHT_M",
    "DEFAULT_CHANGES",
    "DEFAULT_POSE_NOISE",
    "EXACT",
    "FIELD_OF_VIEW_DEG",
    "RANGES",
    "STILL",
    "TASKS",
    "ActionMeaning",
    "Building",
    "Camera",
    "Changes",
    "Driving",
    "Outcome",
    "PoseNoise",
    "RandomWorld",
    "SimStep",
    "Simulation",
    "Task",
    "WorldConfig",
    "draw_world",
    "make_building",
    "make_task",
    "simulate",
]

moved(
    {
        "wm_sim.node": "wm_sim_ros.node",
        "wm_sim.params": "wm_sim_ros.params",
    }
)
