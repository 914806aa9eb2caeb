"""What every node shares: parameters, conversions, quality of service, health, runner."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from wm_ros import qos
from wm_ros.camera import TRANSPORTS, CameraSubscription, FrameMsg, picture_from_msg
from wm_ros.errors import ConfigurationError, MessageError, ParameterError
from wm_ros.health import Health
from wm_ros.images import array_from_msg, compressed_image_from_msg, depth_from_msg, image_from_msg, image_to_msg
from wm_ros.inputs import ACTION_SOURCES, AUTO, POSE_SOURCES, ActionInput, PoseInput, message_class
from wm_ros.live_params import follow_params
from wm_ros.long_work import LongWork
from wm_ros.managed import ManagedNode, ManagedParams
from wm_ros.messages import (
    believable_stamp_ns,
    float_array_msg,
    floats,
    pose_from_msg,
    pose_to_msg,
    stamp_msg,
    stamp_ns,
    vector_from_msg,
)
from wm_ros.params import declare_params, environment_overrides, param
from wm_ros.projections import codes, projection_from_msg, projection_to_msg
from wm_ros.runner import run_node, run_nodes
from wm_ros.saying import clipped

if TYPE_CHECKING:
    from wm_ros.domain import own_domain_id
    from wm_ros.memory import memories_from_msg, query_to_msg
    from wm_ros.model import ModelParams

# What these load takes time, torch seconds, and not everyone needs it.
_ON_DEMAND = {
    "ModelParams": "model", "memories_from_msg": "memory", "query_to_msg": "memory", "own_domain_id": "domain",
}  # fmt: skip

__all__ = [
    "ACTION_SOURCES",
    "AUTO",
    "POSE_SOURCES",
    "TRANSPORTS",
    "ActionInput",
    "CameraSubscription",
    "ConfigurationError",
    "FrameMsg",
    "Health",
    "LongWork",
    "ManagedNode",
    "ManagedParams",
    "MessageError",
    "ModelParams",
    "ParameterError",
    "PoseInput",
    "array_from_msg",
    "believable_stamp_ns",
    "clipped",
    "codes",
    "compressed_image_from_msg",
    "declare_params",
    "depth_from_msg",
    "environment_overrides",
    "float_array_msg",
    "floats",
    "follow_params",
    "image_from_msg",
    "image_to_msg",
    "memories_from_msg",
    "message_class",
    "own_domain_id",
    "param",
    "picture_from_msg",
    "pose_from_msg",
    "pose_to_msg",
    "projection_from_msg",
    "projection_to_msg",
    "qos",
    "query_to_msg",
    "run_node",
    "run_nodes",
    "stamp_msg",
    "stamp_ns",
    "vector_from_msg",
]


def __getattr__(name: str) -> Any:
    if name in _ON_DEMAND:
        return getattr(import_module(f"wm_ros.{_ON_DEMAND[name]}"), name)
    raise AttributeError(f"module 'wm_ros' has no attribute '{name}'")
