"""Actions from the messages that carry a command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wm_core.bounds import LARGEST_ACTION, bounded_vector
from wm_core.errors import MessageError
from wm_core.sources.poses import stamp_ns_of

ACTION_TYPES = (
    "std_msgs/msg/Float32MultiArray",
    "ackermann_msgs/msg/AckermannDriveStamped",
    "geometry_msgs/msg/TwistStamped",
    "geometry_msgs/msg/Twist",
    "sensor_msgs/msg/Joy",
    "trajectory_msgs/msg/JointTrajectoryPoint",
    "sensor_msgs/msg/JointState",
)
"""Types that carry an action, the likelier to be a command first."""

_JOINTS = (("velocity", "position", "effort"), ("velocities", "positions", "effort", "accelerations"))


@dataclass(frozen=True)
class ActionSample:
    """One action: its stamp [ns], 0 when the message has none and counts from its arrival, and its values [A]."""

    stamp_ns: int
    values: np.ndarray


def action_from_msg(msg: Any) -> ActionSample:
    """Returns the action that a message of one of ``ACTION_TYPES`` carries.

    Arrays and axes as they are; Twist as (forward speed [m/s], yaw rate [rad/s]); Ackermann as (speed [m/s], steering
    angle [rad]); joints by velocity, else position, else effort.

    Raises:
        MessageError: ``action-type`` when it carries none, ``action-empty`` without values, ``action-length`` with more
            than any has, ``action-not-finite``, ``action-too-large`` beyond 1e6.
    """
    values = bounded_vector(_values(msg), "action", largest=LARGEST_ACTION)
    if values.size == 0:
        raise MessageError("action-empty", f"a {type(msg).__name__} without values")
    return ActionSample(stamp_ns_of(msg), values)


def _values(msg: Any) -> Sequence[float]:
    twist = getattr(msg, "twist", msg)
    twist = getattr(twist, "twist", twist)
    if hasattr(twist, "linear") and hasattr(twist, "angular"):
        return twist.linear.x, twist.angular.z
    drive = getattr(msg, "drive", msg)
    if hasattr(drive, "steering_angle") and hasattr(drive, "speed"):
        return drive.speed, drive.steering_angle
    for name in ("axes", "data"):
        if hasattr(msg, name):
            values: Sequence[float] = getattr(msg, name)
            return values
    for names in _JOINTS:
        if hasattr(msg, names[0]):
            return next((found for name in names if len(found := getattr(msg, name, ()))), ())
    raise MessageError("action-type", f"a {type(msg).__name__} carries no action")
