"""Poses in the plane of a gravity-aligned map (REP-103, REP-105)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np


@dataclass(frozen=True)
class Pose2:
    """A pose in a gravity-aligned map: position [m] and yaw [rad], REP-103."""

    x: float
    y: float
    z: float
    yaw: float

    def moved(self, displacement_3: Sequence[float] | np.ndarray) -> Pose2:
        """Return the pose after a displacement (forward [m], left [m], yaw [rad]) in this pose's frame."""
        forward, left, turn = (float(value) for value in displacement_3)
        cosine, sine = math.cos(self.yaw), math.sin(self.yaw)
        return Pose2(
            self.x + forward * cosine - left * sine,
            self.y + forward * sine + left * cosine,
            self.z,
            wrap_angle(self.yaw + turn),
        )

    def relative_to(self, origin: Pose2) -> tuple[float, float, float]:
        """Return this pose in ``origin``'s frame: (forward [m], left [m], yaw [rad] in -pi..pi)."""
        dx, dy = self.x - origin.x, self.y - origin.y
        cosine, sine = math.cos(origin.yaw), math.sin(origin.yaw)
        return dx * cosine + dy * sine, dy * cosine - dx * sine, wrap_angle(self.yaw - origin.yaw)


def turned_std(std_3: np.ndarray, yaw_rad: float) -> np.ndarray:
    """Return standard errors along x, y and of the yaw when the axes are turned by an angle; x and y are independent.

    The same takes errors in a map to those ahead and to the left of a robot that faces ``yaw_rad``, and back.
    """
    cosine, sine = math.cos(yaw_rad), math.sin(yaw_rad)
    x, y, yaw = (float(value) for value in std_3)
    return np.array([math.hypot(cosine * x, sine * y), math.hypot(sine * x, cosine * y), yaw])


_Angle = TypeVar("_Angle", float, np.ndarray)


def wrap_angle(angle_rad: _Angle) -> _Angle:
    """Return the same angle, or angles, in [-pi, pi) [rad]."""
    return (angle_rad + math.pi) % (2.0 * math.pi) - math.pi
