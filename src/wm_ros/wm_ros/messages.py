"""Times, poses and vectors between messages and plain Python."""

from __future__ import annotations

import array
import math
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion
from std_msgs.msg import Float32MultiArray, MultiArrayDimension

from wm_core.bounds import LARGEST_POSITION_M, LARGEST_VALUE, LATEST_STAMP_S, bounded_vector, shown
from wm_core.errors import MessageError
from wm_core.sources import checked_pose

_EARLIEST_NS, _LATEST_NS = -(2**31) * 1_000_000_000, 2**31 * 1_000_000_000 - 1


def stamp_ns(stamp: Time) -> int:
    """Returns a stamp as nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def believable_stamp_ns(stamp: Time) -> int:
    """Returns a stamp as nanoseconds, if it is one and times ahead of it can be told at all.

    Raises:
        MessageError: ``impossible-stamp``.
    """
    if not 0 <= stamp.sec <= LATEST_STAMP_S:
        raise MessageError("impossible-stamp", f"stamp of {stamp.sec} s, expected 0 to {LATEST_STAMP_S}")
    if stamp.nanosec >= 1_000_000_000:
        raise MessageError("impossible-stamp", f"stamp with {stamp.nanosec} ns, expected less than a second")
    return stamp_ns(stamp)


def stamp_msg(time_ns: int) -> Time:
    """Returns nanoseconds as a stamp; beyond what one can hold (2038, 1901) its end, never another time."""
    stamp = Time()
    fill_stamp(stamp, time_ns)
    return stamp


def fill_stamp(stamp: Time, time_ns: int) -> None:
    """Writes nanoseconds into a stamp of a message, as ``stamp_msg`` returns them."""
    stamp.sec, stamp.nanosec = divmod(min(max(int(time_ns), _EARLIEST_NS), _LATEST_NS), 1_000_000_000)


def pose_from_msg(pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Returns position [3] in metres and unit quaternion [4] as x, y, z, w.

    Raises:
        MessageError: As ``wm_core.sources.checked_pose``.
    """
    point, turn = pose.position, pose.orientation
    return checked_pose((point.x, point.y, point.z), (turn.x, turn.y, turn.z, turn.w))


def pose_to_msg(position: np.ndarray | Sequence[float], quaternion: np.ndarray | Sequence[float]) -> Pose:
    """Returns a pose from position [m] and quaternion x, y, z, w."""
    msg = Pose()
    fill_pose(msg.position, msg.orientation, position, quaternion)
    return msg


def fill_pose(
    point: Point, turn: Quaternion, position: np.ndarray | Sequence[float], quaternion: np.ndarray | Sequence[float]
) -> None:
    """Writes position [m] and quaternion x, y, z, w into parts of a message; making new ones costs as much again."""
    point.x, point.y, point.z = map(float, position)
    turn.x, turn.y, turn.z, turn.w = map(float, quaternion)


def pose_std_values(x_m: float, y_m: float, yaw_rad: float) -> list[float]:
    """Returns what a ``pose_std`` field takes: NaN for what is not told, empty where nothing is."""
    known = not all(map(math.isnan, (x_m, y_m, yaw_rad)))
    return [x_m, y_m, math.nan, math.nan, math.nan, yaw_rad] if known else []


def covariance_values(position_m: float, yaw_rad: float) -> list[float]:
    """Returns the covariance of a pose from the standard errors of x and y and of the yaw; 0 for what is not told."""
    values = [0.0] * 36
    for at, error in ((0, position_m), (7, position_m), (35, yaw_rad)):
        values[at] = 0.0 if math.isnan(error) else error * error
    return values


def pose_std_from_values(values: Sequence[float]) -> np.ndarray | None:
    """Returns the standard errors of x [m], y [m] and yaw [rad] of a ``pose_std`` field, NaN where not told.

    ``None`` where nothing is told.

    Raises:
        MessageError: ``pose-std``: not six values, or a negative one.
    """
    if not len(values):
        return None
    if len(values) != 6 or any(value < 0.0 or value > LARGEST_POSITION_M for value in values):
        raise MessageError("pose-std", f"{shown(values)}, expected six values of 0 to {LARGEST_POSITION_M:g}, or none")
    return np.array([values[0], values[1], values[5]])


def floats(values: np.ndarray | Sequence[float]) -> array.array[float]:
    """Returns values as what a ``float32[]`` field takes without checking each."""
    return array.array("f", np.ascontiguousarray(values, dtype=np.float32).tobytes())


def float_array_msg(values: np.ndarray, label: str = "z") -> Float32MultiArray:
    """Returns a vector with one labelled dimension: size and stride are its length."""
    msg = Float32MultiArray()
    msg.layout.dim = [MultiArrayDimension(label=label, size=len(values), stride=len(values))]
    msg.data = floats(values)
    return msg


def vector_from_msg(values: Sequence[float], size: int, name: str, largest: float = LARGEST_VALUE) -> np.ndarray:
    """Returns a ``float32[]`` field as an array [size].

    Raises:
        MessageError: ``NAME-length``, ``NAME-not-finite``, or ``NAME-too-large`` beyond ``largest``.
    """
    return bounded_vector(values, name, size, largest)
