"""What robots send, brought to what the graph takes: poses and actions of many message types, by the fields they have.

The same code reads a message that rclpy delivered and one that was read from a recording.
"""

from wm_core.sources.actions import ACTION_TYPES, STANDS_ASIDE, WITH_ASIDE, ActionSample, action_from_msg
from wm_core.sources.own import OWN_TOPICS
from wm_core.sources.poses import NO_POSE_TYPES, POSE_TYPES, PoseSample, checked_pose, pose_sample_from_msg, stamp_ns_of
from wm_core.sources.transforms import TF_TYPE, TransformBuffer

__all__ = [
    "ACTION_TYPES",
    "NO_POSE_TYPES",
    "OWN_TOPICS",
    "POSE_TYPES",
    "STANDS_ASIDE",
    "TF_TYPE",
    "WITH_ASIDE",
    "ActionSample",
    "PoseSample",
    "TransformBuffer",
    "action_from_msg",
    "checked_pose",
    "pose_sample_from_msg",
    "stamp_ns_of",
]
