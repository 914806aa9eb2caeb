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
    return mixed / np.linalg.norm(mixed)


def yaw_of(quaternion: Sequence[float] | np.ndarray) -> float:
    """Returns the yaw of a quaternion x, y, z, w about z [rad], -pi..pi (REP-103)."""
    x, y, z, w = quaternion
    return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def quaternion_of(yaw_rad: float) -> tuple[float, float, float, float]:
    """Returns the quaternion x, y, z, w of a yaw about z."""
    return 0.0, 0.0, math.sin(yaw_rad / 2.0), math.cos(yaw_rad / 2.0)
