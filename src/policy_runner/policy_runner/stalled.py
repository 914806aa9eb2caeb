"""A robot that is told to go on and stands: it touches something, and turns off its way until it is free.

Shape suffixes: 3 = x, y [m], yaw [rad].
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

_NS, _SIDES, _NEVER_NS = 1_000_000_000, 2, 2**62


@dataclass(frozen=True, kw_only=True)
class StalledSettings:
    """When a robot counts as held, and how it gets free.

    Attributes:
        after_m: So far it is told to go while it stands [m].
        response_s: Time from a command to when a robot does it [s].
        told_m_s: Speed from which on it is told to go on [m/s].
        within_m: Who moves less than this stands [m].
        moving_m: Who is held and comes this far turns no farther [m].
        moves_s: Until so long after that; if it has come no farther by then, it is held there again [s].
        free_m: Who has come this far from where it was held is free [m].
        first_rad: As far off its way it turns at first [rad].
        growing_rad_s: And by so much more as long as it is held and faces there [rad/s].
        nearly_rad: So close to where it is to face it faces there [rad].
        most_rad: Farthest [rad].
        side_s: After so long it tries the other side, if it has faced as far off as it may for ``faced_s`` [s]; after
            twice as long in any case.
        faced_s: See there [s].
        back_rad: Farthest once both sides were of no use: out of a corner only the way back leads [rad].
        recently_s: So long after it came free it goes on with care [s].
    """

    after_m: float = 0.25
    response_s: float = 0.2
    told_m_s: float = 0.2
    within_m: float = 0.06
    moving_m: float = 0.05
    moves_s: float = 0.8
    free_m: float = 0.09
    first_rad: float = 0.4
    growing_rad_s: float = 0.3
    nearly_rad: float = 0.25
    most_rad: float = 1.3
    side_s: float = 5.0
    faced_s: float = 1.0
    back_rad: float = 2.5
    recently_s: float = 2.0


@dataclass
class _Held:
    """Since when it tries a side (1: left), where it is held, how far off the way it is to face, when that was told.

    ``stood_rad``: how it faced when it came to stand; ``sides``: how often it has changed sides; ``moved_2``,
    ``moved_ns``: where and when it had moved last; ``faced_ns``: since when it faces as far off as it may.
    """

    side_ns: int
    seen_ns: int
    place_2: np.ndarray
    side: float
    off_rad: float
    stood_rad: float
    moved_2: np.ndarray
    moved_ns: int
    sides: int = 0
    faced_ns: int | None = None


class Stalled:
    """Whether a robot is held, and how far off its way it is to face meanwhile.

    Args:
        settings: When and how.
    """

    def __init__(self, settings: StalledSettings | None = None) -> None:
        self._settings = settings or StalledSettings()
        # When it was where, and how far it had been told to go by then since it stood last [m].
        self._poses: deque[tuple[int, np.ndarray, float]] = deque()
        self._held: _Held | None = None
        self._came_free: float | None = None
        self._free_ns = -_NEVER_NS
        self._is_moving = False

    @property
    def stood_rad(self) -> float | None:
        """How it faced when it came to stand where it is held [rad]; None: it is not held."""
        return None if self._held is None else self._held.stood_rad

    @property
    def is_moving(self) -> bool:
        """Whether who is held moves by now, and will soon be free."""
        return self._is_moving

    def was_held(self, stamp_ns: int) -> bool:
        """Return whether it came free a moment ago."""
        return 0 <= stamp_ns - self._free_ns < round(self._settings.recently_s * _NS)

    def taken_side(self) -> float | None:
        """Return the side to which it came free since the last call, 1: left, -1: right; None: it did not."""
        side, self._came_free = self._came_free, None
        return side

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
            last = self._poses[-1] if self._poses else (stamp_ns, None, 0.0)
            told_m = last[2] + told_m_s * (stamp_ns - last[0]) / _NS
            self._poses.append((stamp_ns, pose_3.copy(), told_m))
            if not self._stands(told_m - told_m_s * settings.response_s):
                return 0.0
            side, stood_rad, here_2 = -math.copysign(1.0, left_m), float(self._poses[0][1][2]), pose_3[:2].copy()
            self._held = _Held(stamp_ns, stamp_ns, here_2, side, settings.first_rad, stood_rad, here_2, -_NEVER_NS)
        self._settle(self._held, pose_3)
        moved_m = math.dist(self._held.place_2, pose_3[:2])
        if math.dist(self._held.moved_2, pose_3[:2]) >= settings.moving_m:
            self._held.moved_2, self._held.moved_ns = pose_3[:2].copy(), stamp_ns
        moves = stamp_ns - self._held.moved_ns <= round(settings.moves_s * _NS)
        self._is_moving = moves and moved_m < settings.free_m
        if moved_m >= settings.free_m:
            self._came_free, self._free_ns = self._held.side, stamp_ns
            self._held = None
            self._poses.clear()
            return 0.0
        return self._off(self._held, stamp_ns, yaw_rad)

    @staticmethod
    def _settle(held: _Held, pose_3: np.ndarray) -> None:
        """Let the places where it is held and moved last be no farther ahead than it is.

        A robot that is told to go on is expected ahead of where it is held, until its poses say otherwise for a while;
        back it does not go. Counted from there, it would have come free long before that is seen.
        """
        ahead_2 = np.array([math.cos(pose_3[2]), math.sin(pose_3[2])])
        held.place_2 = held.place_2 + min(0.0, float(ahead_2 @ (pose_3[:2] - held.place_2))) * ahead_2
        held.moved_2 = held.moved_2 + min(0.0, float(ahead_2 @ (pose_3[:2] - held.moved_2))) * ahead_2

    def _off(self, held: _Held, stamp_ns: int, yaw_rad: float) -> float:
        """Return how far to the left of its way who is held is to face now [rad]."""
        settings, is_tried = self._settings, held.sides >= _SIDES
        most_rad = settings.back_rad if is_tried else settings.most_rad
        faces = held.off_rad - held.side * yaw_rad < settings.nearly_rad
        if self._is_done(held, stamp_ns, faces=faces and held.off_rad >= most_rad):
            held.side, held.sides, held.off_rad = -held.side, held.sides + 1, settings.first_rad
            held.side_ns, held.faced_ns = stamp_ns, None
        elif self._is_moving:
            held.off_rad = min(held.off_rad, max(abs(yaw_rad), settings.first_rad))
        elif faces:
            more_rad = settings.growing_rad_s * (2.0 if is_tried else 1.0) * (stamp_ns - held.seen_ns) / _NS
            held.off_rad = min(held.off_rad + more_rad, most_rad)
        held.seen_ns = stamp_ns
        return held.side * held.off_rad

    def _is_done(self, held: _Held, stamp_ns: int, *, faces: bool) -> bool:
        """Return whether a side was of no use: it faced as far off as it may, or could not in twice the time."""
        settings = self._settings
        held.faced_ns = (stamp_ns if held.faced_ns is None else held.faced_ns) if faces else None
        spent_s = (stamp_ns - held.side_ns) / _NS
        has_faced = held.faced_ns is not None and (stamp_ns - held.faced_ns) / _NS >= settings.faced_s
        return spent_s >= settings.side_s * (1.0 if has_faced else 2.0)

    def _stands(self, told_m: float) -> bool:
        """Return whether it was told to go so far, with what it is told by now, and has not moved since."""
        settings = self._settings
        while len(self._poses) > 1 and told_m - self._poses[1][2] >= settings.after_m:
            self._poses.popleft()
        _, first_3, first_m = self._poses[0]
        if told_m - first_m < settings.after_m:
            return False
        return all(math.dist(first_3[:2], each_3[:2]) < settings.within_m for _, each_3, _ in self._poses)
