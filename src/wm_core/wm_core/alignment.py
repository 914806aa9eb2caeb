"""Poses, actions and frames brought to one time: the same code in the live node and in the conversion of bags.

Times are integer nanoseconds of the data's own clock; quaternions are x, y, z, w. Nothing here reads a clock.
"""

from __future__ import annotations

import enum
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wm_core.errors import AlignmentError
from wm_core.se2 import Pose2
from wm_core.se3 import slerp, turned_about_z, yaw_of
from wm_core.timeline import NS_PER_S, Passage, Timeline


class PoseStatus(enum.IntEnum):
    """How a pose at a time came about; the numbers are ``LatentState``'s."""

    ABSENT = 0
    INTERPOLATED = 1
    EXTRAPOLATED = 2
    TOO_OLD = 3
    PREDICTED = 4


class ActionStatus(enum.IntEnum):
    """How an action at a time came about; the numbers are ``LatentState``'s."""

    ABSENT = 0
    HELD = 1
    TOO_OLD = 2


NOT_TOLD = (math.nan, math.nan)


@dataclass(frozen=True)
class AlignedPose:
    """Pose at a time.

    Attributes:
        status: How it came about.
        position: [3] in metres, None unless interpolated, extrapolated or predicted.
        quaternion: [4] x, y, z, w, likewise.
        errors: Standard errors of x and y [m] and of the yaw [rad], as the pose nearest in time tells them; NaN where
            it does not.
    """

    status: PoseStatus
    position: np.ndarray | None = None
    quaternion: np.ndarray | None = None
    errors: tuple[float, float] = NOT_TOLD


@dataclass(frozen=True)
class AlignedAction:
    """Action in force at a time: how it came about, and its values [A] if held."""

    status: ActionStatus
    values: np.ndarray | None = None


class PoseTrack:
    """The last poses, and the pose at any time near them.

    Poses come in the order of their arrival; a stamp that steps back by more than a second restarts the track (a bag
    that loops, a clock that is set), and a single one far ahead is left out. Between two poses the position is linear
    and the turn a slerp. Beyond the newest (or before the oldest) the motion between it and one at least
    ``baseline_s`` away goes on: two poses 5 ms apart would magnify their noise twentyfold.

    Args:
        max_age_s: Furthest that is extrapolated [s].
        max_gap_s: Widest gap that is interpolated [s].
        keep_s: How far back poses are kept [s].
        baseline_s: Least time between the two poses that give the velocity, where there are such [s].
    """

    def __init__(
        self, max_age_s: float = 0.25, max_gap_s: float = 1.0, keep_s: float = 5.0, baseline_s: float = 0.05
    ) -> None:
        for name, value in (("max_age_s", max_age_s), ("max_gap_s", max_gap_s), ("keep_s", keep_s)):
            if not value > 0:
                raise AlignmentError(f"{name} = {value} s, expected more than 0")
        self._max_age_ns, self._max_gap_ns = int(max_age_s * NS_PER_S), int(max_gap_s * NS_PER_S)
        self._keep_ns, self._baseline_ns = int(keep_s * NS_PER_S), int(baseline_s * NS_PER_S)
        self._timeline = Timeline(ahead_s=keep_s, tells_loops=False)
        self._stamps: list[int] = []
        self._positions: list[np.ndarray] = []
        self._quaternions: list[np.ndarray] = []
        self._errors: list[tuple[float, float]] = []

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def newest_ns(self) -> int | None:
        """Time of the newest pose."""
        return self._stamps[-1] if self._stamps else None

    def clear(self) -> None:
        """Forgets all poses."""
        self._timeline.restart()
        self._empty()

    def _empty(self) -> None:
        self._stamps, self._positions, self._quaternions, self._errors = [], [], [], []

    def insert(
        self,
        stamp_ns: int,
        position: np.ndarray,
        quaternion: np.ndarray,
        errors: tuple[float, float] = NOT_TOLD,
    ) -> bool:
        """Adds a pose; late ones find their place, one of the same time replaces the former.

        Args:
            stamp_ns: Time of the pose.
            position: [3] in metres.
            quaternion: [4] x, y, z, w, unit length.
            errors: Standard errors of x and y [m] and of the yaw [rad]; NaN where not told.

        Returns:
            Whether it was taken; one stamped far ahead of those before is not, until another agrees.

        Raises:
            AlignmentError: Values are not finite, or the quaternion's length is not 1 within 1 %.
        """
        position, quaternion = np.asarray(position, float), np.asarray(quaternion, float)
        norm = float(np.linalg.norm(quaternion))
        if not np.isfinite(position).all() or not abs(norm - 1.0) <= 0.01:
            raise AlignmentError(f"pose {position.tolist()} m, quaternion length {norm:.4f}: expected finite and 1")
        passage = self._timeline.check(stamp_ns, 0)
        if passage is Passage.AHEAD:
            return False
        if passage in (Passage.JUMPS_BACK, Passage.JUMPS_AHEAD):
            self._empty()
        at = bisect_left(self._stamps, stamp_ns)
        if at < len(self._stamps) and self._stamps[at] == stamp_ns:
            self._positions[at], self._quaternions[at], self._errors[at] = position, quaternion / norm, errors
            return True
        self._stamps.insert(at, stamp_ns)
        self._positions.insert(at, position)
        self._quaternions.insert(at, quaternion / norm)
        self._errors.insert(at, errors)
        self._forget_old()
        return True

    def at(self, stamp_ns: int) -> AlignedPose:
        """Returns the pose at a time."""
        if not self._stamps:
            return AlignedPose(PoseStatus.ABSENT)
        after = bisect_left(self._stamps, stamp_ns)
        if after < len(self._stamps) and self._stamps[after] == stamp_ns:
            return self._as_told(after)
        if 0 < after < len(self._stamps):
            if self._stamps[after] - self._stamps[after - 1] > self._max_gap_ns:
                return AlignedPose(PoseStatus.TOO_OLD)
            is_later = self._stamps[after] - stamp_ns < stamp_ns - self._stamps[after - 1]
            errors = self._errors[after if is_later else after - 1]
            return AlignedPose(PoseStatus.INTERPOLATED, *self._along(after - 1, after, stamp_ns), errors)
        return self._beyond(stamp_ns, newest=after > 0)

    def _beyond(self, stamp_ns: int, newest: bool) -> AlignedPose:
        end = len(self._stamps) - 1 if newest else 0
        if abs(stamp_ns - self._stamps[end]) > self._max_age_ns:
            return AlignedPose(PoseStatus.TOO_OLD)
        if newest:
            other = bisect_right(self._stamps, self._stamps[end] - self._baseline_ns) - 1
            other = max(other, 0)
        else:
            other = bisect_left(self._stamps, self._stamps[0] + self._baseline_ns)
            other = min(other, len(self._stamps) - 1)
        if other == end or abs(self._stamps[other] - self._stamps[end]) > self._max_gap_ns:
            return self._as_told(end, PoseStatus.EXTRAPOLATED)
        first, second = min(other, end), max(other, end)
        return AlignedPose(PoseStatus.EXTRAPOLATED, *self._along(first, second, stamp_ns), self._errors[end])

    def _as_told(self, row: int, status: PoseStatus = PoseStatus.INTERPOLATED) -> AlignedPose:
        return AlignedPose(status, self._positions[row], self._quaternions[row], self._errors[row])

    def _along(self, first: int, second: int, stamp_ns: int) -> tuple[np.ndarray, np.ndarray]:
        part = (stamp_ns - self._stamps[first]) / (self._stamps[second] - self._stamps[first])
        start, end = self._positions[first], self._positions[second]
        return start + part * (end - start), slerp(self._quaternions[first], self._quaternions[second], part)

    def _forget_old(self) -> None:
        keep = bisect_left(self._stamps, self._stamps[-1] - self._keep_ns)
        if keep:
            del self._stamps[:keep], self._positions[:keep], self._quaternions[:keep], self._errors[:keep]


class ActionTrack:
    """The last actions, and the one in force at any time.

    An action holds until the next. Actions carry no stamp of their own and are timed on arrival, so one that arrives
    up to ``tolerance_s`` after a frame counts as taken at that frame; half a step rounds to the nearest step.

    Args:
        size: Values per action A.
        max_age_s: An action older than this is not in force any more [s].
        tolerance_s: How much later than the time asked for an action may be [s].
        keep_s: How far back actions are kept [s].
    """

    def __init__(self, size: int, max_age_s: float = 0.5, tolerance_s: float = 0.025, keep_s: float = 5.0) -> None:
        if size < 1:
            raise AlignmentError(f"action size {size}, expected at least 1")
        self._size = size
        self._max_age_ns, self._tolerance_ns = int(max_age_s * NS_PER_S), int(tolerance_s * NS_PER_S)
        self._keep_ns = int(keep_s * NS_PER_S)
        self._timeline = Timeline(ahead_s=keep_s, tells_loops=False)
        self._stamps: list[int] = []
        self._values: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def newest_ns(self) -> int | None:
        """Time of the newest action."""
        return self._stamps[-1] if self._stamps else None

    def clear(self) -> None:
        """Forgets all actions."""
        self._timeline.restart()
        self._empty()

    def _empty(self) -> None:
        self._stamps, self._values = [], []

    def insert(self, stamp_ns: int, values: np.ndarray) -> bool:
        """Adds an action [A]; returns whether it was taken: one far ahead of those before is not, until another agrees.

        Raises:
            AlignmentError: Wrong length, or values not finite.
        """
        values = np.asarray(values, np.float32)
        if values.shape != (self._size,):
            raise AlignmentError(f"action of {values.size} values, expected {self._size}")
        if not np.isfinite(values).all():
            raise AlignmentError(f"action {values.tolist()} is not finite")
        passage = self._timeline.check(stamp_ns, 0)
        if passage is Passage.AHEAD:
            return False
        if passage in (Passage.JUMPS_BACK, Passage.JUMPS_AHEAD):
            self._empty()
        at = bisect_right(self._stamps, stamp_ns)
        self._stamps.insert(at, stamp_ns)
        self._values.insert(at, values)
        keep = bisect_left(self._stamps, self._stamps[-1] - self._keep_ns)
        if keep:
            del self._stamps[:keep], self._values[:keep]
        return True

    def at(self, stamp_ns: int) -> AlignedAction:
        """Returns the action in force at a time."""
        index = bisect_right(self._stamps, stamp_ns + self._tolerance_ns) - 1
        if index < 0:
            return AlignedAction(ActionStatus.ABSENT)
        if stamp_ns - self._stamps[index] > self._max_age_ns:
            return AlignedAction(ActionStatus.TOO_OLD)
        return AlignedAction(ActionStatus.HELD, self._values[index])


def is_worth_waiting(poses: PoseTrack, actions: ActionTrack, stamp_ns: int, action_tolerance_ns: int) -> bool:
    """Returns whether a frame's pose or action may still come: a stream is behind the frame, but alive.

    Nothing is waited for that does not come: a stream counts as alive while its newest is less than a second older.

    Args:
        poses: Poses that arrived so far.
        actions: Actions that arrived so far.
        stamp_ns: Of the frame.
        action_tolerance_ns: An action this much before a frame is its own: no later one is waited for.
    """
    return _may_come(poses.newest_ns, stamp_ns, 0) or _may_come(actions.newest_ns, stamp_ns, action_tolerance_ns)


def _may_come(newest_ns: int | None, stamp_ns: int, tolerance_ns: int) -> bool:
    return newest_ns is not None and tolerance_ns < stamp_ns - newest_ns < NS_PER_S


class Motion(Protocol):
    """What a model of the robot's motion has to say to who wants to know a pose before it is measured."""

    def reset(self) -> None:
        """Forget what was observed."""

    def observe(self, stamp_ns: int, pose: Pose2, action_A: np.ndarray | None) -> None:
        """Take a measured pose and the action in force then."""

    def ahead(self, actions: Sequence[np.ndarray], span_s: float) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the displacement since the last pose observed and its standard error; None: nothing is known of it.

        Both are [3]: forward [m], left [m], turn [rad].

        Args:
            actions: Those in force one step after that pose, two, ...; the last one holds.
            span_s: Time since that pose [s].
        """


class ExpectedPoses:
    """Poses at a time as soon as they can be told: interpolated where measured ones surround it, else expected.

    One rule for the live node and for whoever replays a recording in its order of arrival: what is returned depends on
    what was inserted so far, and on nothing else.

    Args:
        poses: Measured poses.
        actions: Actions received.
        motion: Says where the robot went since the last measured pose; None: ``poses`` goes on as it moved.
        step_s: Time between the actions that ``motion`` is told [s].
    """

    def __init__(self, poses: PoseTrack, actions: ActionTrack, motion: Motion | None, step_s: float) -> None:
        self._poses, self._actions, self._motion = poses, actions, motion
        self._step_ns = round(step_s * NS_PER_S)
        self._observed_ns: int | None = None

    def clear(self) -> None:
        """Forgets all poses."""
        self._poses.clear()
        self._restart()

    def _restart(self) -> None:
        self._observed_ns = None
        if self._motion is not None:
            self._motion.reset()

    def insert(
        self, stamp_ns: int, position: np.ndarray, quaternion: np.ndarray, errors: tuple[float, float] = NOT_TOLD
    ) -> bool:
        """Adds a measured pose, as ``PoseTrack.insert`` does."""
        taken = self._poses.insert(stamp_ns, position, quaternion, errors)
        if taken and self._motion is not None and self._poses.newest_ns == stamp_ns:
            if self._observed_ns is not None and stamp_ns <= self._observed_ns:
                self._restart()
            x, y, z = (float(value) for value in position)
            self._motion.observe(stamp_ns, Pose2(x, y, z, yaw_of(quaternion)), self._actions.at(stamp_ns).values)
            self._observed_ns = stamp_ns
        return taken

    def at(self, stamp_ns: int) -> AlignedPose:
        """Returns the pose at a time."""
        pose = self._poses.at(stamp_ns)
        newest_ns = self._observed_ns
        if pose.status is not PoseStatus.EXTRAPOLATED or self._motion is None or newest_ns is None:
            return pose
        span_ns = stamp_ns - newest_ns
        if span_ns <= 0:
            return pose
        later = [self._actions.at(newest_ns + at_ns).values for at_ns in range(self._step_ns, span_ns, self._step_ns)]
        known = [action_A for action_A in later if action_A is not None]
        expected = self._motion.ahead(known, span_ns / NS_PER_S)
        return pose if expected is None else _moved(self._poses.at(newest_ns), *expected)


def _moved(newest: AlignedPose, moved_3: np.ndarray, std_3: np.ndarray) -> AlignedPose:
    """Returns the pose expected after a displacement from a measured one."""
    assert newest.position is not None
    assert newest.quaternion is not None
    x, y, z = newest.position.tolist()
    yaw = yaw_of(newest.quaternion)
    there = Pose2(x, y, z, yaw).moved(moved_3)
    turned = np.array(turned_about_z(newest.quaternion.tolist(), there.yaw - yaw))
    told = (float(max(std_3[0], std_3[1])), float(std_3[2]))
    sums = [math.hypot(model, 0.0 if math.isnan(own) else own) for model, own in zip(told, newest.errors)]
    errors = (sums[0] or math.nan, sums[1] or math.nan)
    return AlignedPose(PoseStatus.PREDICTED, np.array((there.x, there.y, z)), turned, errors)


def is_action_awaited(actions: ActionTrack, stamp_ns: int, action_tolerance_ns: int) -> bool:
    """Returns whether a frame's own action may still come, as ``is_worth_waiting``."""
    return _may_come(actions.newest_ns, stamp_ns, action_tolerance_ns)
