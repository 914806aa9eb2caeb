"""Poses and actions as they arrive, and what they say of any time near them.

Times are integer nanoseconds of the data's own clock; quaternions are x, y, z, w. Nothing here reads a clock.
"""

from __future__ import annotations

import enum
import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from wm_core.errors import AlignmentError
from wm_core.se3 import slerp
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


class _Pose(NamedTuple):
    position: np.ndarray
    quaternion: np.ndarray
    errors: tuple[float, float]


_DAY_S = 86_400.0
ValueT = TypeVar("ValueT")


class _Track(Generic[ValueT]):
    """The last values by their stamps, ascending.

    They come in the order of their arrival; a stamp that steps back by more than a second restarts the track (a bag
    that loops, a clock that is set). A single one more than a day back, or further ahead than time passed since the
    last one came, is left out, until another agrees.

    Args:
        keep_s: How far back they are kept [s].
    """

    def __init__(self, keep_s: float) -> None:
        self._keep_ns = int(keep_s * NS_PER_S)
        self._timeline = Timeline(ahead_s=keep_s, tells_loops=False, doubts_back_s=_DAY_S)
        self._stamps: list[int] = []
        self._values: list[ValueT] = []

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def newest_ns(self) -> int | None:
        """Time of the newest."""
        return self._stamps[-1] if self._stamps else None

    def clear(self) -> None:
        """Forgets all."""
        self._timeline.restart()
        self._stamps, self._values = [], []

    def _keep(self, stamp_ns: int, value: ValueT, arrival_ns: int, *, replaces: bool) -> bool:
        """Adds a value and returns whether it was taken.

        Args:
            stamp_ns: Its time.
            value: It.
            arrival_ns: When it came, on a steady clock; 0 for all: not known.
            replaces: Whether it takes the place of one of the same time; else it comes after that.
        """
        passage = self._timeline.check(stamp_ns, arrival_ns)
        if passage in (Passage.AHEAD, Passage.BEHIND):
            return False
        if passage in (Passage.JUMPS_BACK, Passage.JUMPS_AHEAD):
            self._stamps, self._values = [], []
        at = (bisect_left if replaces else bisect_right)(self._stamps, stamp_ns)
        if replaces and at < len(self._stamps) and self._stamps[at] == stamp_ns:
            self._values[at] = value
            return True
        self._stamps.insert(at, stamp_ns)
        self._values.insert(at, value)
        old = bisect_left(self._stamps, self._stamps[-1] - self._keep_ns)
        if old:
            del self._stamps[:old], self._values[:old]
        return True


class PoseTrack(_Track[_Pose]):
    """The last poses, and the pose at any time near them.

    Between two poses the position is linear and the turn a slerp. Beyond the newest (or before the oldest) the motion
    between it and one at least ``baseline_s`` away goes on: two poses 5 ms apart would magnify their noise twentyfold.

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
        super().__init__(keep_s)
        self._max_age_ns, self._max_gap_ns = int(max_age_s * NS_PER_S), int(max_gap_s * NS_PER_S)
        self._baseline_ns = int(baseline_s * NS_PER_S)

    def insert(
        self,
        stamp_ns: int,
        position: np.ndarray,
        quaternion: np.ndarray,
        errors: tuple[float, float] = NOT_TOLD,
        arrival_ns: int = 0,
    ) -> bool:
        """Adds a pose; late ones find their place, one of the same time replaces the former.

        Args:
            stamp_ns: Time of the pose.
            position: [3] in metres.
            quaternion: [4] x, y, z, w, unit length.
            errors: Standard errors of x and y [m] and of the yaw [rad]; NaN where not told.
            arrival_ns: When it came, on a steady clock; 0 for all: not known, then none may follow a long silence.

        Returns:
            Whether it was taken; one stamped far off those before is not, until another agrees.

        Raises:
            AlignmentError: Values are not finite, or the quaternion's length is not 1 within 1 %.
        """
        position, quaternion = np.asarray(position, float), np.asarray(quaternion, float)
        norm = float(np.linalg.norm(quaternion))
        if not np.isfinite(position).all() or not abs(norm - 1.0) <= 0.01:
            raise AlignmentError(f"pose {position.tolist()} m, quaternion length {norm:.4f}: expected finite and 1")
        return self._keep(stamp_ns, _Pose(position, quaternion / norm, errors), arrival_ns, replaces=True)

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
            errors = self._values[after if is_later else after - 1].errors
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
        return AlignedPose(PoseStatus.EXTRAPOLATED, *self._along(first, second, stamp_ns), self._values[end].errors)

    def _as_told(self, row: int, status: PoseStatus = PoseStatus.INTERPOLATED) -> AlignedPose:
        return AlignedPose(status, *self._values[row])

    def _along(self, first: int, second: int, stamp_ns: int) -> tuple[np.ndarray, np.ndarray]:
        part = (stamp_ns - self._stamps[first]) / (self._stamps[second] - self._stamps[first])
        start, end = self._values[first], self._values[second]
        position = start.position + part * (end.position - start.position)
        return position, slerp(start.quaternion, end.quaternion, part)


class ActionTrack(_Track[np.ndarray]):
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
        super().__init__(keep_s)
        self._size = size
        self._max_age_ns, self._tolerance_ns = int(max_age_s * NS_PER_S), int(tolerance_s * NS_PER_S)

    def insert(self, stamp_ns: int, values: np.ndarray, arrival_ns: int = 0) -> bool:
        """Adds an action [A]; returns whether it was taken: one far off those before is not, until another agrees.

        Args:
            stamp_ns: Time of the action.
            values: [A].
            arrival_ns: As ``PoseTrack.insert`` has it.

        Raises:
            AlignmentError: Wrong length, or values not finite.
        """
        values = np.asarray(values, np.float32)
        if values.shape != (self._size,):
            raise AlignmentError(f"action of {values.size} values, expected {self._size}")
        if not np.isfinite(values).all():
            raise AlignmentError(f"action {values.tolist()} is not finite")
        return self._keep(stamp_ns, values, arrival_ns, replaces=False)

    def at(self, stamp_ns: int) -> AlignedAction:
        """Returns the action in force at a time."""
        index = bisect_right(self._stamps, stamp_ns + self._tolerance_ns) - 1
        if index < 0:
            return AlignedAction(ActionStatus.ABSENT)
        if stamp_ns - self._stamps[index] > self._max_age_ns:
            return AlignedAction(ActionStatus.TOO_OLD)
        return AlignedAction(ActionStatus.HELD, self._values[index])
