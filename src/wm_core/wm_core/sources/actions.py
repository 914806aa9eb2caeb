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
    "ackermann_msgs/msg/AckermannDrive",
    "sensor_msgs/msg/Joy",
    "std_msgs/msg/Float64MultiArray",
    "trajectory_msgs/msg/JointTrajectoryPoint",
    "sensor_msgs/msg/JointState",
    "trajectory_msgs/msg/JointTrajectory",
)
"""Types that carry an action, the likelier to be a command first."""

WITH_ASIDE = 3
"""Values of a twist with the speed to the left among them."""
STANDS_ASIDE = 0.01
"""Speed to the left below which a robot does not move aside [m/s]."""

_JOINTS = (("velocity", "position", "effort"), ("velocities", "positions", "effort", "accelerations"))


@dataclass(frozen=True)
class ActionSample:
    """One action.

    Attributes:
        stamp_ns: 0 when the message has none and counts from its arrival.
        values: [A].
        left_out: Speed to the left [m/s] that a twist tells and that is not among the values; 0 where there is none.
    """

    stamp_ns: int
    values: np.ndarray
    left_out: float = 0.0


def action_from_msg(msg: Any, size: int | None = None) -> ActionSample:
    """Returns the action that a message of one of ``ACTION_TYPES`` carries.

    Arrays and axes as they are; Twist as (forward speed [m/s], yaw rate [rad/s]), where three are wanted as (forward
    speed, speed to the left, yaw rate); Ackermann as (speed [m/s], steering angle [rad]); joints by velocity, else
    position, else effort; of a trajectory its first point.

    Args:
        msg: The message.
        size: How many values are wanted; ``None``: as many as are usual of its type.

    Raises:
        MessageError: ``action-type`` when it carries none, ``action-empty`` without values, ``action-length`` with more
            than any has, ``action-not-finite``, ``action-too-large`` beyond 1e6.
    """
    twist = _twist(msg)
    told = _values(msg) if twist is None else (twist.linear.x, twist.linear.y, twist.angular.z)
    values = bounded_vector(told, "action", largest=LARGEST_ACTION)
    if values.size == 0:
        raise MessageError("action-empty", f"a {type(msg).__name__} without values")
    if twist is None or size == WITH_ASIDE:
        return ActionSample(stamp_ns_of(msg), values)
    return ActionSample(stamp_ns_of(msg), values[[0, 2]], float(values[1]))


def _twist(msg: Any) -> Any:
    twist = getattr(msg, "twist", msg)
    twist = getattr(twist, "twist", twist)
    return twist if hasattr(twist, "linear") and hasattr(twist, "angular") else None


def _values(msg: Any) -> Sequence[float]:
    drive = getattr(msg, "drive", msg)
    if hasattr(drive, "steering_angle") and hasattr(drive, "speed"):
        return drive.speed, drive.steering_angle
    for name in ("axes", "data"):
        if hasattr(msg, name):
            values: Sequence[float] = getattr(msg, name)
            return values
    if hasattr(msg, "points"):
        return _values(msg.points[0]) if len(msg.points) else ()
    for names in _JOINTS:
        if hasattr(msg, names[0]):
            return next((found for name in names if len(found := getattr(msg, name, ()))), ())
    raise MessageError("action-type", f"a {type(msg).__name__} carries no action")
