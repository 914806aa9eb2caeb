"""Where an execution is to lead, and how far that is; and where the robot may not be.

Shape suffixes: 3 = x, y [m], yaw [rad].
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from wm_core.se2 import wrap_angle

_SPEED_S = 0.4
_MOST_POSES = 64


class Goal:
    """Places to pass one after another, the last one to be faced as asked.

    Args:
        place_3s: Where; none: nowhere is reached.
        reached_m: Distance at which a place is reached [m].
        reached_rad: Difference in yaw at which the last one is [rad].
    """

    def __init__(self, place_3s: Sequence[np.ndarray], reached_m: float, reached_rad: float) -> None:
        self._places, self._reached_m, self._reached_rad = list(place_3s), reached_m, reached_rad
        self.number, self.distance_m = 0, math.nan

    def see(self, pose_3: np.ndarray) -> bool:
        """Take a pose of the robot; return whether the last place is reached."""
        while self._places:
            place_3 = self._places[min(self.number, len(self._places) - 1)]
            self.distance_m = math.dist(place_3[:2], pose_3[:2])
            is_last = self.number >= len(self._places) - 1
            faces = not is_last or abs(float(wrap_angle(place_3[2] - pose_3[2]))) <= self._reached_rad
            if self.distance_m > self._reached_m or not faces:
                return False
            if is_last:
                return True
            self.number += 1
        return False


class Fence:
    """A rectangle that the robot may not leave, and stops before it does.

    Args:
        corners: x and y of two corners [m]; empty: anywhere.
        brake_m_s2: How hard it brakes [m/s^2].

    Attributes:
        is_set: Whether there is one.
    """

    def __init__(self, corners: Sequence[float], brake_m_s2: float) -> None:
        self._low_2 = np.minimum(corners[:2], corners[2:]) if len(corners) else np.full(2, -np.inf)
        self._high_2 = np.maximum(corners[:2], corners[2:]) if len(corners) else np.full(2, np.inf)
        self._brake_m_s2, self.is_set = brake_m_s2, len(corners) > 0

    def why_not(self, pose_3: np.ndarray, velocity_2: np.ndarray, age_s: float) -> str | None:
        """Return why the robot may not go on, with a velocity [m/s] and a pose of some age [s]; None: it may."""
        speed = float(np.hypot(*velocity_2))
        stands_2 = pose_3[:2] + velocity_2 * (age_s + 0.5 * speed / self._brake_m_s2)
        if (stands_2 >= self._low_2).all() and (stands_2 <= self._high_2).all():
            return None
        return f"outside: it would come to stand at {stands_2[0]:.2f}, {stands_2[1]:.2f} m, beyond keep_in"


class Track:
    """The robot's last poses, and how fast it moves by them."""

    def __init__(self) -> None:
        self._poses: deque[tuple[int, np.ndarray]] = deque(maxlen=_MOST_POSES)

    def add(self, stamp_ns: int, pose_3: np.ndarray) -> None:
        """Take a pose; one that is not newer begins anew."""
        if self._poses and stamp_ns <= self._poses[-1][0]:
            self._poses.clear()
        self._poses.append((stamp_ns, pose_3))

    @property
    def last(self) -> tuple[int, np.ndarray] | None:
        """Stamp [ns] and pose of the newest; None: there is none."""
        return self._poses[-1] if self._poses else None

    @property
    def velocity_2(self) -> np.ndarray:
        """Mean velocity in the map over the last moments [m/s]; NaN: not known."""
        recent = [each for each in self._poses if (self._poses[-1][0] - each[0]) * 1e-9 <= _SPEED_S]
        if len(recent) < 2:
            return np.full(2, np.nan)
        (first_ns, first_3), (last_ns, last_3) = recent[0], recent[-1]
        return np.asarray((last_3[:2] - first_3[:2]) / ((last_ns - first_ns) * 1e-9))
