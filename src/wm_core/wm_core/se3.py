"""Rotations in space as unit quaternions x, y, z, w (REP-103, the order of geometry_msgs)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def slerp(start: np.ndarray, end: np.ndarray, part: float) -> np.ndarray:
    """Returns the turn ``part`` of the way from one unit quaternion [4] to another, beyond the ends too.

    Source: Shoemake 1985, "Animating rotation with quaternion curves".
    """
    dot = float(start @ end)
    if dot < 0.0:
        end, dot = -end, -dot
    if dot > 0.9999999:
        mixed = start + part * (end - start)
    else:
        angle = np.arccos(min(dot, 1.0))
        mixed = (np.sin((1.0 - part) * angle) * start + np.sin(part * angle) * end) / np.sin(angle)
    unit_4: np.ndarray = mixed / np.linalg.norm(mixed)
    return unit_4


def yaw_of(quaternion: Sequence[float] | np.ndarray) -> float:
    """Returns the yaw of a quaternion x, y, z, w about z [rad], -pi..pi (REP-103)."""
    x, y, z, w = quaternion
    return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def turned_about_z(quaternion: Sequence[float], yaw_rad: float) -> tuple[float, float, float, float]:
    """Returns a rotation x, y, z, w followed by a turn about the frame's z."""
    x, y, z, w = quaternion
    sine, cosine = math.sin(yaw_rad / 2.0), math.cos(yaw_rad / 2.0)
    return cosine * x - sine * y, cosine * y + sine * x, cosine * z + sine * w, cosine * w - sine * z


def quaternion_of(yaw_rad: float) -> tuple[float, float, float, float]:
    """Returns the quaternion x, y, z, w of a yaw about z."""
    return 0.0, 0.0, math.sin(yaw_rad / 2.0), math.cos(yaw_rad / 2.0)


def compose(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the quaternion product [4]: the turn ``second`` in a frame that is itself turned by ``first``."""
    x1, y1, z1, w1 = first
    x2, y2, z2, w2 = second
    return np.array(
        [
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
        ]
    )


def rotate(quaternion: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Returns a vector [3] turned by a unit quaternion [4]."""
    axis, w = quaternion[:3], quaternion[3]
    doubled = 2.0 * np.cross(axis, vector)
    turned: np.ndarray = vector + w * doubled + np.cross(axis, doubled)
    return turned


def rotation_angle(quaternion_N4: np.ndarray, other_N4: np.ndarray) -> np.ndarray:
    """Returns by what angle unit quaternions x, y, z, w turn into others, 0..pi [rad, N]; exact near 0 too."""
    axis_N3, w_N = quaternion_N4[..., :3], quaternion_N4[..., 3]
    other_axis_N3, other_w_N = other_N4[..., :3], other_N4[..., 3]
    turn_N3 = w_N[..., None] * other_axis_N3 - other_w_N[..., None] * axis_N3 - np.cross(axis_N3, other_axis_N3)
    cosine_N = np.abs(w_N * other_w_N + np.einsum("...i,...i->...", axis_N3, other_axis_N3))
    angle_N: np.ndarray = 2.0 * np.arctan2(np.sqrt(np.einsum("...i,...i->...", turn_N3, turn_N3)), cosine_N)
    return angle_N


def quaternions_of(yaw_N: np.ndarray) -> np.ndarray:
    """Returns the quaternions x, y, z, w of yaws about z [N, 4]."""
    half_N = np.asarray(yaw_N, np.float64) / 2.0
    zero_N = np.zeros_like(half_N)
    return np.stack([zero_N, zero_N, np.sin(half_N), np.cos(half_N)], axis=-1)
