"""Poses from the messages that carry one, with their standard errors where they tell them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wm_core.bounds import LARGEST_POSITION_M, checked_name
from wm_core.errors import MessageError
from wm_core.se3 import compose

POSE_TYPES = (
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
    "nav_msgs/msg/Odometry",
    "geometry_msgs/msg/TransformStamped",
)
"""Types that carry a pose, the likelier to be in a map's frame first."""

NO_POSE_TYPES = {
    "sensor_msgs/msg/NavSatFix": "a place on earth without a heading; navsat_transform_node of robot_localization "
    "makes an Odometry of it",
    "geometry_msgs/msg/PointStamped": "a place without a heading",
    "geometry_msgs/msg/Pose": "has no stamp; send it as PoseStamped",
    "geometry_msgs/msg/Pose2D": "has no stamp; send it as PoseStamped",
    "geometry_msgs/msg/PoseWithCovariance": "has no stamp; send it as PoseWithCovarianceStamped",
    "geometry_msgs/msg/PoseArray": "many poses, not the robot's; send that as PoseStamped",
    "nav_msgs/msg/Path": "where the robot was or will be, not where it is; send that as PoseStamped",
}
"""Types that one may take for a pose: why none can be had from them, and what would help."""

_UNIT_TOLERANCE = 0.01
_LARGEST_VARIANCE = LARGEST_POSITION_M**2
_OPTICAL = ("_optical_frame", "_optical")
# REP-103: an optical frame looks along z with x to the right; a body looks along x with y to the left.
_BODY_IN_OPTICAL = np.array([0.5, -0.5, 0.5, 0.5])


@dataclass(frozen=True)
class PoseSample:
    """One pose of the robot.

    Attributes:
        stamp_ns: Of the message; 0 when it is not stamped.
        position: [3] in metres.
        quaternion: [4] x, y, z, w, unit length; the body's axes (x ahead), also where the message has an optical frame.
        frame_id: In which it is told.
        child_frame_id: What it is the pose of, "" where the message does not say.
        position_se_m: Standard error of x and y, the larger; NaN where not told.
        yaw_se_rad: Standard error of the yaw; NaN where not told.
    """

    stamp_ns: int
    position: np.ndarray
    quaternion: np.ndarray
    frame_id: str = ""
    child_frame_id: str = ""
    position_se_m: float = math.nan
    yaw_se_rad: float = math.nan


def stamp_ns_of(msg: Any) -> int:
    """Returns the stamp of a message's header [ns]; 0 without a header."""
    header = getattr(msg, "header", None)
    return 0 if header is None else int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def pose_sample_from_msg(msg: Any) -> PoseSample:
    """Returns the pose that a message of one of ``POSE_TYPES`` carries.

    Raises:
        MessageError: ``pose-type`` when it carries none, ``name-too-long`` of its frames, or as ``checked_pose``.
    """
    covariance: Sequence[float] = ()
    transform, pose = getattr(msg, "transform", None), getattr(msg, "pose", None)
    if transform is not None:
        point, turn = transform.translation, transform.rotation
    elif pose is not None:
        if hasattr(pose, "covariance"):
            covariance, pose = pose.covariance, pose.pose
        point, turn = pose.position, pose.orientation
    else:
        raise MessageError("pose-type", f"a {type(msg).__name__} has neither pose nor transform")
    child = checked_name(str(getattr(msg, "child_frame_id", "")), "child_frame_id").lstrip("/")
    frame = checked_name(str(msg.header.frame_id), "frame_id").lstrip("/")
    position, quaternion = checked_pose((point.x, point.y, point.z), (turn.x, turn.y, turn.z, turn.w))
    return PoseSample(
        stamp_ns_of(msg),
        position,
        as_body(quaternion, child),
        frame,
        child,
        *_standard_errors(covariance),
    )


def checked_pose(point: Sequence[float], turn: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Returns position [3] in metres and unit quaternion [4] as x, y, z, w.

    Raises:
        MessageError: ``pose-not-finite``, ``pose-too-far`` beyond 1e7 m, or ``quaternion-not-unit`` when its length is
            off by more than 1 %.
    """
    position, quaternion = np.array(point, np.float64), np.array(turn, np.float64)
    if not (np.isfinite(position).all() and np.isfinite(quaternion).all()):
        raise MessageError("pose-not-finite", f"position {position.tolist()} m, orientation {quaternion.tolist()}")
    if float(np.abs(position).max()) > LARGEST_POSITION_M:
        raise MessageError("pose-too-far", f"position {position.tolist()} m, expected at most {LARGEST_POSITION_M:g}")
    norm = math.hypot(*quaternion.tolist())  # NumPy's overflows with a warning
    if abs(norm - 1.0) > _UNIT_TOLERANCE:
        raise MessageError("quaternion-not-unit", f"length {norm:.4g} of {quaternion.tolist()}, expected 1")
    return position, quaternion / norm


def as_body(quaternion: np.ndarray, child_frame_id: str) -> np.ndarray:
    """Returns a frame's orientation as a body's: turned where the frame's name says that it is an optical one."""
    return compose(quaternion, _BODY_IN_OPTICAL) if is_optical(child_frame_id) else quaternion


def is_optical(frame_id: str) -> bool:
    """Returns whether a frame's name says that it is an optical one."""
    return frame_id.endswith(_OPTICAL)


def _standard_errors(covariance: Sequence[float]) -> tuple[float, float]:
    """Returns standard errors of position [m] and yaw [rad] from a 6 x 6 covariance; NaN where it was not filled."""
    if len(covariance) != 36:
        return math.nan, math.nan
    x, y, yaw = (float(covariance[index]) for index in (0, 7, 35))
    # All zero is how drivers leave it out; a negative entry says "not known", and so does one beyond every map.
    filled = x >= 0 and y >= 0 and 0 < x + y <= _LARGEST_VARIANCE
    return math.sqrt(max(x, y)) if filled else math.nan, math.sqrt(yaw) if 0 < yaw <= _LARGEST_VARIANCE else math.nan
