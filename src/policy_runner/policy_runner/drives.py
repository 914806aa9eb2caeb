"""Remembered drives: memories of one session in their order, as a way with what was commanded along it.

A standstill is left out: who drives the way again goes on where the way goes on. Shape suffixes: N = memories,
L = legs between two memories that follow one another, A = action size, D = latent size, 3 = x, y [m], yaw [rad].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from policy_runner.policies import Memories
from wm_core.se2 import wrap_angle

_GAP_S, _GAP_M = 1.5, 1.0
_STANDING_SHARE = 0.2
_YAW_WEIGHT_M = 0.5
_MOST_YAW_RAD = math.radians(60.0)
_GOES_ON_M = 0.3
_GOES_ON_S = 2.0
_BONUS_M = 0.3
_BACK_S, _STAYS_RAD = 0.3, 0.5
_OWN_S = 5.0
# A drive that soon ends is left for another that lies this much farther away.
_ENDS_M, _ENDS_S = 0.6, 2.0
_AROUND_NS = 700_000_000
_LEGS_AROUND = 12
_SMOOTH = 2
_STANDING_M, _STANDING_RAD = 0.05, math.radians(5.0)

Bend = Callable[[float, float], float]
"""Returns the second value of a command that drives a curve: speed [m/s], curvature [1/m]."""


@dataclass(frozen=True)
class Place:
    """A place on a remembered way.

    Attributes:
        leg: Number of the leg.
        share: How far along it, 0 to 1.
    """

    leg: int
    share: float


class Drives:
    """The ways that some memories make.

    Args:
        memories: In any order; those without a command are left out.
        bend: What the second value of a command is; None: nothing that is known.
        response_s: So long before the place that it is for a command was given [s].
    """

    def __init__(self, memories: Memories, bend: Bend | None = None, response_s: float = 0.0) -> None:
        known_N = np.isfinite(memories.action_NA).all(axis=1) & np.isfinite(memories.pose_N3).all(axis=1)
        order = np.lexsort((memories.stamp_N, memories.session_N))
        order = order[known_N[order]]
        stamp_N, session_N = memories.stamp_N[order], memories.session_N[order]
        pose_N3, action_NA = memories.pose_N3[order], memories.action_NA[order]
        pose_N3 = _smooth(stamp_N, session_N, pose_N3)
        is_leg_L, moves_L = _legs(stamp_N, session_N, pose_N3)
        (at_L,) = np.nonzero(moves_L)
        self.session_L, self.stamp_L = session_N[at_L], stamp_N[at_L]
        self.pose_L3, self.end_L3 = pose_N3[at_L], pose_N3[at_L + 1]
        self.action_LA, self.end_action_LA = action_NA[at_L], action_NA[at_L + 1]
        self._latent_ND = None if memories.latent_ND is None else memories.latent_ND[order]
        self._at_L = at_L
        self.time_L = (stamp_N[at_L + 1] - stamp_N[at_L]) * 1e-9
        self.length_L = np.hypot(*(self.end_L3 - self.pose_L3)[:, :2].T)
        (stands_N,) = np.nonzero(is_leg_L & ~moves_L)
        self._mend(zip(session_N[stands_N], stamp_N[stands_N], stamp_N[stands_N + 1]), bend, response_s)
        self._next_L = self._following()
        self._left_L = self._lasting()

    def __len__(self) -> int:
        return len(self.stamp_L)

    def _mend(self, stands: Iterable[tuple[int, int, int]], bend: Bend | None, response_s: float) -> None:
        """Drive on where the drive came to a stand or began again, as before and after that.

        The commands of a stop are given while the robot still moves: given again, they would stop it again.
        """
        is_near_L = np.zeros(len(self), bool)
        for session, begin_ns, end_ns in stands:
            near_L = (self.stamp_L >= begin_ns - _AROUND_NS) & (self.stamp_L <= end_ns + _AROUND_NS)
            is_near_L |= near_L & (self.session_L == session)
        if not is_near_L.any() or is_near_L.all():
            return
        near_L, usual_L = np.nonzero(is_near_L)[0], np.nonzero(~is_near_L)[0]
        # As slowly as it drove anywhere around: a stop tells nothing of how fast the place can be passed.
        like_L = [_slowest(usual_L, leg, self.length_L / self.time_L) for leg in near_L.tolist()]
        speed_L = self.length_L[like_L] / self.time_L[like_L]
        self.action_LA[near_L] = self.end_action_LA[near_L] = self.action_LA[like_L]
        if bend is not None:
            # By what was commanded while it sped up a bend would be driven faster than it is bent for.
            usual_speed_L = self.length_L[usual_L] / self.time_L[usual_L]
            per_speed = float(np.median(self.action_LA[usual_L, 0] / usual_speed_L))
            self.action_LA[near_L, 0] = self.end_action_LA[near_L, 0] = per_speed * speed_L
            speed_L = self._bent(near_L, speed_L, float(np.abs(self.action_LA[usual_L, 1]).max()), bend, response_s)
        self.time_L[near_L] = self.length_L[near_L] / speed_L

    def _bent(self, near_L: np.ndarray, speed_L: np.ndarray, most: float, bend: Bend, response_s: float) -> np.ndarray:
        """Let legs bend as the way does, given some time before it; return how fast they are driven [m/s].

        A bend that would take more than the drive ever steered is driven as slowly as that.
        """
        curve_L = wrap_angle(self.end_L3[:, 2] - self.pose_L3[:, 2]) / self.length_L
        end_L = np.cumsum(self.length_L)
        middle_L = (end_L - 0.5 * self.length_L)[near_L]
        ahead_L = np.minimum(np.searchsorted(end_L, middle_L + response_s * speed_L), len(self) - 1)
        slower_L = np.empty(len(near_L))
        for number, (leg, ahead, speed) in enumerate(zip(near_L, ahead_L, speed_L)):
            sharpest = max(abs(bend(float(speed), float(curve))) for curve in curve_L[leg : ahead + 2])
            share = min(1.0, most / max(sharpest, 1e-9))
            slower_L[number] = share * speed
            self.action_LA[leg, 0] = self.end_action_LA[leg, 0] = share * self.action_LA[leg, 0]
            self.action_LA[leg, 1] = self.end_action_LA[leg, 1] = bend(float(share * speed), float(curve_L[ahead]))
        return slower_L

    def _following(self) -> np.ndarray:
        """Return the leg that goes on where each ends, in the same drive; -1: none does."""
        next_L = np.full(len(self), -1)
        if len(self) > 1:
            step_L2 = self.pose_L3[1:, :2] - self.end_L3[:-1, :2]
            goes_on_L = (np.diff(self.session_L) == 0) & (np.hypot(step_L2[:, 0], step_L2[:, 1]) <= _GOES_ON_M)
            next_L[:-1][goes_on_L] = np.nonzero(goes_on_L)[0] + 1
        return next_L

    def _lasting(self) -> np.ndarray:
        """Return how long each drive goes on from the end of each leg [s]."""
        left_L = np.zeros(len(self))
        for leg in range(len(self) - 1, -1, -1):
            following = self._next_L[leg]
            left_L[leg] = 0.0 if following < 0 else left_L[following] + self.time_L[following]
        return left_L

    def nearest(
        self,
        pose_3: np.ndarray,
        most_m: float,
        before: tuple[int, int] | None = None,
        beside: tuple[int, int] | None = None,
        turned_rad: float = 0.0,
    ) -> Place | None:
        """Return the place nearest to a pose that faces the same way; None: none lies near.

        Args:
            pose_3: Where.
            most_m: As far away as it may be [m].
            before: Session and stamp [ns] of the place before; what follows it soon is preferred.
            beside: Session and stamp [ns] of a place whose own surroundings do not count.
            turned_rad: As far off its way as who stays on the one of ``before`` may face [rad].
        """
        if not len(self):
            return None
        share_L, away_L = self._beside(pose_3)
        turn_L = np.abs(wrap_angle(self.pose_L3[:, 2] - pose_3[2]))
        cost_L, may_be_L = away_L + _YAW_WEIGHT_M * turn_L, turn_L <= _MOST_YAW_RAD
        if before is not None:
            since_L = (self.stamp_L - before[1]) * 1e-9
            goes_on_L = (self.session_L == before[0]) & (np.abs(since_L) <= _GOES_ON_S)
            # Turned off its way it faces as another part of it does, before the bend or after, and is not there.
            stays_L = goes_on_L & (since_L >= -_BACK_S) & (turn_L <= turned_rad)
            stays_cost_L = away_L + _YAW_WEIGHT_M * np.minimum(turn_L, _STAYS_RAD)
            cost_L = np.where(stays_L, stays_cost_L, cost_L) - _BONUS_M * goes_on_L
            may_be_L = may_be_L | stays_L
        cost_L = cost_L + _ENDS_M * (self._left_L < _ENDS_S)
        if beside is not None:
            is_own_L = (self.session_L == beside[0]) & (np.abs(self.stamp_L - beside[1]) * 1e-9 <= _OWN_S)
            cost_L = np.where(is_own_L, np.inf, cost_L)
        cost_L = np.where((away_L <= most_m) & may_be_L, cost_L, np.inf)
        leg = int(cost_L.argmin())
        return Place(leg, float(share_L[leg])) if math.isfinite(cost_L[leg]) else None

    def _beside(self, pose_3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how far along each leg the nearest point to a pose is, 0 to 1, and how far away that is [m]."""
        way_L2 = self.end_L3[:, :2] - self.pose_L3[:, :2]
        from_L2 = pose_3[:2] - self.pose_L3[:, :2]
        share_L = np.clip((way_L2 * from_L2).sum(axis=1) / self.length_L**2, 0.0, 1.0)
        off_L2 = from_L2 - share_L[:, None] * way_L2
        return share_L, np.hypot(off_L2[:, 0], off_L2[:, 1])

    def pose(self, place: Place) -> np.ndarray:
        """Return the pose at a place, [3]."""
        begin_3, end_3 = self.pose_L3[place.leg], self.end_L3[place.leg]
        pose_3 = begin_3 + place.share * (end_3 - begin_3)
        pose_3[2] = wrap_angle(begin_3[2] + place.share * wrap_angle(end_3[2] - begin_3[2]))
        return np.asarray(pose_3)

    def action(self, place: Place) -> np.ndarray:
        """Return what was commanded at a place, [A]."""
        return np.asarray((1.0 - place.share) * self.action_LA[place.leg] + place.share * self.end_action_LA[place.leg])

    def latent(self, place: Place) -> np.ndarray | None:
        """Return what was seen at a place, [D]; None: that was not told."""
        if self._latent_ND is None:
            return None
        begin_D, end_D = self._latent_ND[self._at_L[place.leg] : self._at_L[place.leg] + 2]
        return np.asarray((1.0 - place.share) * begin_D + place.share * end_D, float)

    def speed(self, place: Place) -> float:
        """Return how fast the way was driven there [m/s]."""
        return float(self.length_L[place.leg] / self.time_L[place.leg])

    def speed_before(self, place: Place, time_s: float) -> float:
        """Return how fast the way was driven over some time before a place [m/s], as far as the drive goes back."""
        leg, length_m, spent_s = place.leg, place.share * self.length_L[place.leg], place.share * self.time_L[place.leg]
        while spent_s < time_s and leg > 0 and self._next_L[leg - 1] == leg:
            leg -= 1
            length_m, spent_s = length_m + self.length_L[leg], spent_s + self.time_L[leg]
        return float(length_m / spent_s) if spent_s > 0.0 else self.speed(place)

    def name(self, place: Place) -> tuple[int, int]:
        """Return session and stamp [ns] of a place, by which it is found again."""
        leg = place.leg
        return int(self.session_L[leg]), int(self.stamp_L[leg] + round(place.share * self.time_L[leg] * 1e9))

    def before(self, place: Place, time_s: float) -> Place:
        """Return the place that the drive was at some time earlier; at most the first."""
        leg, left_s = place.leg, place.share * float(self.time_L[place.leg]) - time_s
        while left_s < 0.0 and leg > 0 and self._next_L[leg - 1] == leg:
            leg -= 1
            left_s += float(self.time_L[leg])
        return Place(leg, max(left_s, 0.0) / float(self.time_L[leg]))

    def after(self, place: Place, time_s: float, most_m: float) -> Place | None:
        """Return the place that the drive came to some time later; None: no way goes on so far.

        Args:
            place: From where.
            time_s: How much later, standstills left out [s].
            most_m: Where a drive ends, another one goes on that passes within this of its end [m].
        """
        left_s = place.share * self.time_L[place.leg] + time_s
        leg, jumps = place.leg, 0
        while left_s > self.time_L[leg]:
            left_s -= self.time_L[leg]
            if self._next_L[leg] >= 0:
                leg = int(self._next_L[leg])
                continue
            other = self.nearest(self.end_L3[leg], most_m, beside=self.name(Place(leg, 1.0)))
            jumps += 1
            if other is None or jumps > 2:
                return None
            leg, left_s = other.leg, left_s + other.share * self.time_L[other.leg]
        return Place(leg, left_s / self.time_L[leg])


class Ways:
    """The drives of the memories asked with last, made once for all who go by them.

    Args:
        bend: As for ``Drives``.
        response_s: As for ``Drives`` [s].
    """

    def __init__(self, bend: Bend | None = None, response_s: float = 0.0) -> None:
        self._bend, self._response_s = bend, response_s
        self._made_of: Memories | None = None
        self._drives: Drives | None = None

    def of(self, memories: Memories) -> Drives:
        """Return the drives of some memories."""
        if self._drives is None or self._made_of is not memories:
            self._made_of, self._drives = memories, Drives(memories, self._bend, self._response_s)
        return self._drives


def _smooth(stamp_N: np.ndarray, session_N: np.ndarray, pose_N3: np.ndarray) -> np.ndarray:
    """Return poses as the mean of the few around each in its drive: how far neighbours lie apart is mostly noise."""
    smooth_N3 = pose_N3.copy()
    breaks = np.nonzero((np.diff(session_N) != 0) | (np.diff(stamp_N) * 1e-9 > _GAP_S))[0] + 1
    for part in np.split(np.arange(len(pose_N3)), breaks):
        # A stand would draw what is around it to itself.
        step_M3 = np.diff(pose_N3[part], axis=0, prepend=np.inf)
        turn_M = np.abs(np.angle(np.exp(1j * np.where(np.isfinite(step_M3[:, 2]), step_M3[:, 2], 0.0))))
        part = part[(np.hypot(step_M3[:, 0], step_M3[:, 1]) >= _STANDING_M) | (turn_M >= _STANDING_RAD)]
        part_M3 = np.column_stack([pose_N3[part, :2], np.unwrap(pose_N3[part, 2])])
        for wide in range(1, _SMOOTH + 1):
            window = np.full(2 * wide + 1, 1.0 / (2 * wide + 1))
            if len(part) < len(window):
                break
            inner = slice(wide, len(part) - wide)
            smooth_N3[part[inner]] = np.column_stack([np.convolve(each, window, "valid") for each in part_M3.T])
    smooth_N3[:, 2] = np.angle(np.exp(1j * smooth_N3[:, 2]))
    return np.asarray(smooth_N3)


def _legs(stamp_N: np.ndarray, session_N: np.ndarray, pose_N3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which pairs of memories that follow one another are parts of a drive, and which of those it moved in."""
    time_L = np.diff(stamp_N) * 1e-9
    length_L = np.hypot(*np.diff(pose_N3[:, :2], axis=0).T)
    is_leg_L = (np.diff(session_N) == 0) & (time_L > 0) & (time_L <= _GAP_S) & (length_L <= _GAP_M)
    speed_L = length_L / np.where(time_L > 0, time_L, 1.0)
    moving_L = is_leg_L & (length_L > 0.0)
    usual = float(np.median(speed_L[moving_L])) if moving_L.any() else 0.0
    return is_leg_L, moving_L & (speed_L > _STANDING_SHARE * usual)


def _slowest(usual_L: np.ndarray, leg: int, speed_L: np.ndarray) -> int:
    """Return which of some legs around one was driven slowest."""
    around_L = usual_L[np.argsort(np.abs(usual_L - leg), kind="stable")[:_LEGS_AROUND]]
    return int(around_L[speed_L[around_L].argmin()])
