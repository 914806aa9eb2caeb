"""What belongs to a frame: its pose, its action, and whether to wait for them a little longer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from wm_core.alignment import (
    ActionTrack,
    AlignedAction,
    AlignedPose,
    ExpectedPoses,
    PoseStatus,
    PoseTrack,
    is_action_awaited,
    is_worth_waiting,
)
from wm_core.timeline import NS_PER_S

FrameT = TypeVar("FrameT")
_CLOCKS_DIFFER_NS = 2 * NS_PER_S
_MOST_UNMEASURED = 200


@dataclass(frozen=True)
class Aligned(Generic[FrameT]):
    """A frame with the pose and action at its stamp."""

    frame: FrameT
    stamp_ns: int
    pose: AlignedPose
    action: AlignedAction


class StateAligner(Generic[FrameT]):
    """Holds encoded frames back until their action, and if so wished their pose, is there; keeps their order.

    Nothing is waited for that does not come: without any recent action (or pose) the frame goes out at once.

    Args:
        poses: Poses received.
        actions: Actions received.
        expected: Poses at any time, measured or not.
        pose_wait_s: Longest wait for a measured pose [s], on a steady clock; 0: the expected one does.
        action_wait_s: Longest wait for an action that comes with the frame [s].
        action_tolerance_s: An action this much before a frame is its own: no later one is waited for [s].
    """

    def __init__(
        self,
        poses: PoseTrack,
        actions: ActionTrack,
        expected: ExpectedPoses,
        pose_wait_s: float,
        action_wait_s: float,
        action_tolerance_s: float,
    ) -> None:
        self._poses, self._actions, self._expected = poses, actions, expected
        self._waits_for_pose = pose_wait_s > 0
        self._wait_ns = int(max(pose_wait_s, action_wait_s) * NS_PER_S)
        self._tolerance_ns = int(action_tolerance_s * NS_PER_S)
        self._waiting: deque[tuple[FrameT, int, int]] = deque()

    def push(self, frame: FrameT, stamp_ns: int, steady_ns: int) -> None:
        """Adds a frame received at ``steady_ns``."""
        self._waiting.append((frame, stamp_ns, steady_ns + self._wait_ns))

    def pop_ready(self, steady_ns: int) -> Iterator[Aligned[FrameT]]:
        """Yields the frames that need not or may not wait any longer, oldest first."""
        while self._waiting:
            frame, stamp_ns, deadline_ns = self._waiting[0]
            if steady_ns < deadline_ns and self._is_awaited(stamp_ns):
                return
            self._waiting.popleft()
            yield Aligned(frame, stamp_ns, self._expected.at(stamp_ns), self._actions.at(stamp_ns))

    def _is_awaited(self, stamp_ns: int) -> bool:
        if self._waits_for_pose:
            return is_worth_waiting(self._poses, self._actions, stamp_ns, self._tolerance_ns)
        return is_action_awaited(self._actions, stamp_ns, self._tolerance_ns)

    def next_deadline_ns(self) -> int | None:
        """Returns when the oldest waiting frame goes out at the latest, on the steady clock."""
        return self._waiting[0][2] if self._waiting else None


class MeasuredLater:
    """Frames whose measured pose is not known yet, until it is; the oldest are given up.

    Args:
        poses: Poses received.
    """

    def __init__(self, poses: PoseTrack) -> None:
        self._poses = poses
        self._stamps: deque[int] = deque(maxlen=_MOST_UNMEASURED)

    def push(self, stamp_ns: int) -> None:
        """Adds a frame's stamp."""
        self._stamps.append(stamp_ns)

    def clear(self) -> None:
        """Gives up all frames."""
        self._stamps.clear()

    def pop_known(self) -> Iterator[tuple[int, AlignedPose]]:
        """Yields stamp and measured pose of the frames that lie before the newest pose, oldest first."""
        newest_ns = self._poses.newest_ns
        while self._stamps and newest_ns is not None and self._stamps[0] <= newest_ns:
            stamp_ns = self._stamps.popleft()
            pose = self._poses.at(stamp_ns)
            if pose.status is PoseStatus.INTERPOLATED:
                yield stamp_ns, pose


class ArrivalClock:
    """The time that something without a stamp arrives, on the clock that the frames are stamped by.

    That is the node's clock, unless frames are stamped by another one (a bag played without ``/clock``): then it is the
    newest frame's stamp plus the time since it came.
    """

    def __init__(self) -> None:
        self._frame: tuple[int, int] | None = None
        self.offset_s = 0.0

    def frame(self, stamp_ns: int, steady_ns: int, now_ns: int) -> None:
        """Takes note of a frame: its stamp, and the steady and the node's clock when it came."""
        self._frame = (stamp_ns, steady_ns)
        self.offset_s = (now_ns - stamp_ns) / NS_PER_S

    @property
    def clocks_differ(self) -> bool:
        """Whether frames are stamped by another clock than the node's."""
        return abs(self.offset_s) * NS_PER_S > _CLOCKS_DIFFER_NS

    def arrival_ns(self, steady_ns: int, now_ns: int) -> int:
        """Returns the data time of something that arrives now."""
        if self._frame is None or not self.clocks_differ:
            return now_ns
        return self._frame[0] + steady_ns - self._frame[1]


class NearestInTime(Generic[FrameT]):
    """The last few values of a side stream, to find the one nearest to a frame.

    Args:
        tolerance_s: Furthest that one may lie from the frame [s].
    """

    def __init__(self, tolerance_s: float) -> None:
        self._tolerance_ns = int(tolerance_s * NS_PER_S)
        self._values: deque[tuple[int, FrameT]] = deque(maxlen=30)

    def insert(self, stamp_ns: int, value: FrameT) -> None:
        """Adds a value."""
        self._values.append((stamp_ns, value))

    def clear(self) -> None:
        """Forgets all values."""
        self._values.clear()

    def at(self, stamp_ns: int) -> FrameT | None:
        """Returns the value nearest to a time, or None when none is near enough."""
        nearest, least_ns = None, self._tolerance_ns + 1
        for value_ns, value in self._values:
            off_ns = value_ns - stamp_ns if value_ns > stamp_ns else stamp_ns - value_ns
            if off_ns < least_ns:
                nearest, least_ns = value, off_ns
        return nearest
