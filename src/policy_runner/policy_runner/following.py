"""A chunk followed by where the robot is, not by time alone: inference that is late or dead leaves it on its way.

Between two chunks the robot goes on seeing where it is. A chunk that says where its actions are expected to lead is
followed along that path: what is commanded is what belongs to the place that the robot has reached, put right by how
far it is off the path.

A robot that is held by something goes nowhere, and its chunk says how it is to face instead. That is followed, too: by
its commands alone it would turn once more what the chunk before, executed for longer than usual, has turned already.
And as long as it has not come free it is not turned back to its way, as a chunk does that counts on it by then.

Shape suffixes: H = actions of a chunk, L = legs of its path, A = action size, 3 = x, y [m], yaw [rad].
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from policy_runner.chunks import Chunk
from wm_core.se2 import wrap_angle

_NS = 1_000_000_000
_YAW_WEIGHT_M = 0.3
_LATELY_NS, _TOLD_M, _COMES = 400_000_000, 0.1, 0.5
_STANDING_M_S, _LEAST_PACE, _UNDER_WAY = 0.05, 0.5, 0.7


@dataclass(frozen=True, kw_only=True)
class FollowingSettings:
    """How a path is followed; commands are forward speed [m/s] and yaw rate [rad/s].

    Attributes:
        reach_s: As far from its time the robot is looked for on the path [s].
        share: Of what a pose says of the robot's place on the path, the rest is what was thought before.
        gain_off: Yaw rate against being beside the path, per metre and metre per second [rad/m^2].
        gain_yaw_hz: Yaw rate against facing off it, per radian [1/s].
        most_rad_s: Most that it puts right [rad/s].
        facing_hz: Yaw rate of who is held against facing otherwise than it is to, per radian [1/s]. Turning it is led
            nowhere, so this is as much as what is seen allows: until that is stale it turns by no more than is missing.
        most_facing_rad_s: Most that is put right of who is held [rad/s]: as much as a policy itself puts right.
        free_m: Who has come this far from where it was held is free [m].
        response_s: From a command to when the robot does it [s].
    """

    reach_s: float = 1.5
    share: float = 0.3
    gain_off: float = 1.0
    gain_yaw_hz: float = 1.0
    most_rad_s: float = 0.6
    facing_hz: float = 2.0
    most_facing_rad_s: float = 1.8
    free_m: float = 0.09
    response_s: float = 0.2


class Following:
    """Where the robot is on the path of a chunk.

    Args:
        settings: How it is followed.
    """

    def __init__(self, settings: FollowingSettings | None = None) -> None:
        self._settings = settings or FollowingSettings()
        self._chunk: Chunk | None = None
        self._ahead_s = self._against_rad_s = self._first_s = self._behind_s = 0.0
        # Where the robot is held, and when it came free from there.
        self._place_2: np.ndarray | None = None
        self._free_ns: int | None = None

    def see(self, chunk: Chunk | None, stamp_ns: int, pose_3: np.ndarray) -> None:
        """Take a pose of the robot, at its stamp [ns], while a chunk is executed."""
        if chunk is None or not chunk.is_followed or stamp_ns < chunk.stamp_ns:
            return
        if chunk.facing_H is not None:
            self._face(chunk, chunk.facing_H, stamp_ns, pose_3)
            return
        self._place_2 = None
        due_s = (stamp_ns - chunk.stamp_ns) / _NS
        if chunk is not self._chunk:
            self._chunk, self._ahead_s, self._first_s = chunk, 0.0, due_s
            share = 1.0
        else:
            share = self._settings.share
        there_s, left_m, yaw_rad = self._place(chunk, due_s + self._ahead_s, pose_3)
        self._ahead_s += share * (there_s - due_s - self._ahead_s)
        if share == 1.0:
            self._behind_s = min(0.0, self._ahead_s) if self._drove(chunk, there_s, due_s) else 0.0
        # A robot that lags behind, or is held, is told to go on all the same: a chunk may begin with a stand.
        self._ahead_s = max(self._ahead_s, self._behind_s + _LEAST_PACE * (self._first_s - due_s))
        settings, speed = self._settings, abs(float(chunk.at(stamp_ns + self.shift_ns(chunk, stamp_ns))[0]))
        against = -settings.gain_off * speed * left_m - settings.gain_yaw_hz * yaw_rad * min(1.0, 2.0 * speed)
        self._against_rad_s = min(max(against, -settings.most_rad_s), settings.most_rad_s)

    def _face(self, chunk: Chunk, facing_H: np.ndarray, stamp_ns: int, pose_3: np.ndarray) -> None:
        """Take how the robot faces while it is held, and whether it still is."""
        settings, yaw_rad = self._settings, float(pose_3[2])
        if self._place_2 is None:
            self._place_2, self._free_ns = pose_3[:2].copy(), None
        if self._free_ns is not None and chunk.stamp_ns > self._free_ns:
            # Who made it has seen what this was taken from, and says that the robot is held.
            self._free_ns = None
        self._chunk = chunk
        # Told to go on it is expected ahead of where it is held until its poses say otherwise; back it does not go.
        ahead_2 = np.array([math.cos(yaw_rad), math.sin(yaw_rad)])
        self._place_2 = self._place_2 + min(0.0, float(ahead_2 @ (pose_3[:2] - self._place_2))) * ahead_2
        response_ns = round(settings.response_s * _NS)
        if self._free_ns is None and math.dist(self._place_2, pose_3[:2]) >= settings.free_m:
            self._free_ns = stamp_ns - response_ns
        due_ns = stamp_ns - chunk.stamp_ns + self.shift_ns(chunk, stamp_ns - response_ns)
        step = due_ns / _NS / chunk.step_s
        missing_rad = float(wrap_angle(np.interp(step, np.arange(len(facing_H)), facing_H) - yaw_rad))
        most_rad_s = settings.most_facing_rad_s
        self._against_rad_s = min(max(settings.facing_hz * missing_rad, -most_rad_s), most_rad_s)

    def waits(self, chunk: Chunk, time_ns: int) -> bool:
        """Return whether a chunk counts on the robot being free at a time [ns], and it is not: it only faces."""
        is_held = chunk is self._chunk and chunk.facing_H is not None and self._free_ns is None
        return is_held and (time_ns - chunk.stamp_ns) / _NS > chunk.waits_s

    @staticmethod
    def _drove(chunk: Chunk, there_s: float, due_s: float) -> bool:
        """Return whether a chunk was under way at a place: where it only begins to move, a robot would stay."""
        there, due = (float(chunk.at(chunk.stamp_ns + round(time_s * _NS))[0]) for time_s in (there_s, due_s))
        return there >= _UNDER_WAY * due

    def shift_ns(self, chunk: Chunk, time_ns: int) -> int:
        """Return by how much the robot is ahead of a chunk's time at a time [ns]; 0 where that is not known."""
        if chunk is not self._chunk:
            return 0
        if chunk.facing_H is None:
            return round(self._ahead_s * _NS)
        if math.isinf(chunk.waits_s):
            return 0
        if self._free_ns is None:
            return min(0, round(chunk.waits_s * _NS) - (time_ns - chunk.stamp_ns))
        # Free sooner than was counted on, it is to do then what was for later.
        return round(chunk.waits_s * _NS) - (self._free_ns - chunk.stamp_ns)

    def against(self, chunk: Chunk, ahead_s: float = 0.0) -> float:
        """Return the yaw rate that brings the robot back to the path of a chunk [rad/s].

        Args:
            chunk: What is followed.
            ahead_s: So long ahead: until then the robot has come nearer to the path [s].
        """
        gain_hz = self._settings.gain_yaw_hz if chunk.facing_H is None else self._settings.facing_hz
        fades = math.exp(-gain_hz * ahead_s)
        return fades * self._against_rad_s if chunk is self._chunk else 0.0

    def _place(self, chunk: Chunk, about_s: float, pose_3: np.ndarray) -> tuple[float, float, float]:
        """Return the time of the place on the path nearest to a pose [s], and how far that is left [m] and turned."""
        path_H3 = chunk.path_H3
        assert path_H3 is not None
        way_L2 = np.diff(path_H3[:, :2], axis=0)
        from_L2 = pose_3[:2] - path_H3[:-1, :2]
        length2_L = (way_L2**2).sum(axis=1)
        share_L = np.clip((way_L2 * from_L2).sum(axis=1) / np.maximum(length2_L, 1e-9), 0.0, 1.0)
        time_L = (np.arange(len(way_L2)) + share_L) * chunk.step_s
        off_L = np.hypot(*(from_L2 - share_L[:, None] * way_L2).T)
        turn_L = np.abs(wrap_angle(path_H3[:-1, 2] - pose_3[2]))
        far_L = off_L + _YAW_WEIGHT_M * turn_L + 0.02 * np.abs(time_L - about_s)
        # Where the path stands it is to begin to move: a robot that were looked for at the stand would stay there.
        is_moving_L = length2_L > (_STANDING_M_S * chunk.step_s) ** 2
        is_near_L = np.abs(time_L - about_s) <= self._settings.reach_s
        may_be_L = is_near_L & is_moving_L if (is_near_L & is_moving_L).any() else is_near_L
        leg = int(np.where(may_be_L, far_L, np.inf).argmin())
        share = float(share_L[leg])
        yaw_rad = path_H3[leg, 2] + share * wrap_angle(path_H3[leg + 1, 2] - path_H3[leg, 2])
        off_2 = from_L2[leg] - share * way_L2[leg]
        left_m = math.cos(yaw_rad) * off_2[1] - math.sin(yaw_rad) * off_2[0]
        return float(time_L[leg]), float(left_m), float(wrap_angle(pose_3[2] - yaw_rad))


class Coming:
    """Whether a robot comes along as it is told: who is held does not, before anybody knows that it is held.

    A bend is driven by a yaw rate that belongs to a speed. Who stands in it and is told the same turns off its way.
    """

    def __init__(self) -> None:
        self._places: deque[tuple[int, np.ndarray]] = deque()

    def clear(self) -> None:
        """Forget where it was."""
        self._places.clear()

    def share(self, now_ns: int, place_2: np.ndarray, sent: Iterable[tuple[int, np.ndarray]]) -> float:
        """Return how much of a bend's yaw rate belongs to its speed lately, 0..1; 1 where it is half as fast as told.

        Args:
            now_ns: The present [ns].
            place_2: Where it will be once what was commanded by now acts [m].
            sent: Commands [A] and when they were given [ns].
        """
        self._places.append((now_ns, place_2))
        while len(self._places) > 2 and self._places[1][0] <= now_ns - _LATELY_NS:
            self._places.popleft()
        begin_ns, from_2 = self._places[0]
        if now_ns - begin_ns < _LATELY_NS:
            return 1.0
        told = [abs(float(command_A[0])) for sent_ns, command_A in sent if begin_ns <= sent_ns <= now_ns]
        told_m = min(told, default=0.0) * (now_ns - begin_ns) / _NS
        return min(1.0, math.dist(from_2, place_2) / (_COMES * told_m)) if told_m >= _TOLD_M else 1.0
