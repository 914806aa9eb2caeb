"""Where a robot was held on a remembered way, and that it keeps away from there when it comes by again.

Poses err, and a way may pass a corner with less room than that: who came by with one side free stays nearer to it.

Shape suffixes: 3 = x, y [m], yaw [rad].
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from wm_core.se2 import wrap_angle

_MOST_TOUCHES = 64


@dataclass(frozen=True, kw_only=True)
class TouchedSettings:
    """How far a robot keeps away from where it was held.

    Attributes:
        step_m: So much farther to the side on which it came free, each time that it was held there [m].
        most_m: Farthest [m].
        same_m: What it touches so close to a former touch is the same [m].
        near_m: So far along the way on both sides of a touch it keeps away as far as there [m].
        far_m: And from there on it is on its way again [m].
        facing_rad: Parts of the way that face otherwise by more are others [rad].
    """

    step_m: float = 0.06
    most_m: float = 0.12
    same_m: float = 0.5
    near_m: float = 0.4
    far_m: float = 1.2
    facing_rad: float = 1.0


@dataclass(frozen=True, eq=False)
class Touch:
    """A place on the way where the robot was held, and how far to the left of the way it is to pass there [m]."""

    way_3: np.ndarray
    left_m: float


@dataclass(frozen=True, eq=False)
class Touched:
    """All places where the robot was held; never changed, so that threads may share it."""

    touches: tuple[Touch, ...] = ()
    settings: TouchedSettings = TouchedSettings()

    def noted(self, way_3: np.ndarray, side: float) -> Touched:
        """Return the same and a touch: at a place on the way, come free of to a side (1: left, -1: right)."""
        settings, others = self.settings, list(self.touches)
        more_m = side * settings.step_m
        for number, touch in enumerate(others):
            if self._away_m(touch, way_3) < settings.same_m:
                left_m = min(max(touch.left_m + more_m, -settings.most_m), settings.most_m)
                others[number] = replace(touch, left_m=left_m)
                return replace(self, touches=tuple(others))
        return replace(self, touches=(*others[1 - _MOST_TOUCHES :], Touch(np.array(way_3), more_m)))

    def left_m(self, way_3: np.ndarray) -> float:
        """Return how far to the left of a place on the way the robot is to pass [m]."""
        settings, left_m = self.settings, 0.0
        for touch in self.touches:
            beyond = (self._away_m(touch, way_3) - settings.near_m) / (settings.far_m - settings.near_m)
            left_m += touch.left_m * min(max(1.0 - beyond, 0.0), 1.0)
        return min(max(left_m, -settings.most_m), settings.most_m)

    def _away_m(self, touch: Touch, way_3: np.ndarray) -> float:
        if abs(float(wrap_angle(way_3[2] - touch.way_3[2]))) > self.settings.facing_rad:
            return math.inf
        return math.dist(way_3[:2], touch.way_3[:2])
