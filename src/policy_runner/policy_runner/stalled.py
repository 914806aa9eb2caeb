"""A robot that is told to go on and stands: it touches something, and turns off its way until it is free.

Shape suffixes: 3 = x, y [m], yaw [rad].
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

_NS, _SIDES = 1_000_000_000, 2


@dataclass(frozen=True, kw_only=True)
class StalledSettings:
    """When a robot counts as held, and how it gets free.

    Attributes:
        after_s: So long it is told to go on and stands [s].
        told_m_s: Speed from which on it is told to go on [m/s].
        within_m: Who moves less than this stands [m].
        moving_m: Who is held and has come this far turns no farther [m].
        free_m: Who has come this far from where it was held is free [m].
        first_rad: As far off its way it turns at first [rad].
        growing_rad_s: And by so much more as long as it is held and faces there [rad/s].
        nearly_rad: So close to where it is to face it faces there [rad].
        most_rad: Farthest [rad].
        side_s: After so long it tries the other side [s].
        back_rad: Farthest once both sides were of no use: out of a corner only the way back leads [rad].
    """

    after_s: float = 0.8
    told_m_s: float = 0.2
    within_m: float = 0.06
    moving_m: float = 0.05
    free_m: float = 0.09
    first_rad: float = 0.4
    growing_rad_s: float = 0.3
    nearly_rad: float = 0.25
    most_rad: float = 1.3
    side_s: float = 5.0
    back_rad: float = 2.5


@dataclass
class _Held:
    """Since when and where it is held, the side tried first (1: left), how far off the way it is to face, when told.

    ``sides``: how often it has changed sides.
    """

    since_ns: int
    seen_ns: int
    place_2: np.ndarray
    side: float
    off_rad: float
    sides: int = 0


class Stalled:
    """Whether a robot is held, and how far off its way it is to face meanwhile.

    Args:
        settings: When and how.
    """

    def __init__(self, settings: StalledSettings | None = None) -> None:
        self._settings = settings or StalledSettings()
        self._poses: deque[tuple[int, np.ndarray]] = deque()
        self._held: _Held | None = None

    def see(self, stamp_ns: int, pose_3: np.ndarray, told_m_s: float, left_m: float, yaw_rad: float) -> float:
        """Return how far to the left of its way the robot is to face [rad]; 0: as it would without.

        Args:
            stamp_ns: Of the pose [ns].
            pose_3: Where the robot is.
            told_m_s: Speed that it was told to have then [m/s].
            left_m: How far to the left of its way it is [m]; the first side that it tries is that of its way.
            yaw_rad: How far to the left of its way it faces [rad]; it is to turn farther once it has turned so far.
        """
        settings = self._settings
        if self._poses and stamp_ns <= self._poses[-1][0]:
            self._poses.clear()
            self._held = None
        if self._held is None:
            if told_m_s < settings.told_m_s:
                self._poses.clear()
            self._poses.append((stamp_ns, pose_3[:2].copy()))
            if not self._stands(stamp_ns):
                return 0.0
            side = -math.copysign(1.0, left_m)
            self._held = _Held(stamp_ns, stamp_ns, pose_3[:2].copy(), side, settings.first_rad)
        if math.dist(self._held.place_2, pose_3[:2]) >= settings.free_m:
            self._held = None
            self._poses.clear()
            return 0.0
        return self._off(self._held, stamp_ns, pose_3, yaw_rad)

    def _off(self, held: _Held, stamp_ns: int, pose_3: np.ndarray, yaw_rad: float) -> float:
        """Return how far to the left of its way who is held is to face now [rad]."""
        settings = self._settings
        sides = int((stamp_ns - held.since_ns) / _NS / settings.side_s)
        side = -held.side if sides % 2 else held.side
        is_tried = sides >= _SIDES
        if sides != held.sides:
            held.sides, held.off_rad = sides, settings.first_rad
        elif math.dist(held.place_2, pose_3[:2]) >= settings.moving_m:
            held.off_rad = min(held.off_rad, max(abs(yaw_rad), settings.first_rad))
        elif held.off_rad - side * yaw_rad < settings.nearly_rad:
            more_rad = settings.growing_rad_s * (2.0 if is_tried else 1.0) * (stamp_ns - held.seen_ns) / _NS
            held.off_rad = min(held.off_rad + more_rad, settings.back_rad if is_tried else settings.most_rad)
        held.seen_ns = stamp_ns
        return side * held.off_rad

    def _stands(self, stamp_ns: int) -> bool:
        """Return whether it was told to go on all the time, and has not moved."""
        settings = self._settings
        from_ns = stamp_ns - round(settings.after_s * _NS)
        while len(self._poses) > 1 and self._poses[1][0] <= from_ns:
            self._poses.popleft()
        first_ns, first_2 = self._poses[0]
        if first_ns > from_ns:
            return False
        return all(math.dist(first_2, each_2) < settings.within_m for _, each_2 in self._poses)
