"""What belongs to a frame: its pose, its action, whether to wait for them a little longer, and the pose that follows.

One class for the live node and for whoever replays a recording in its order of arrival (``wm_core.alignment.replay``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from wm_core.alignment.continuity import Jump, Kind, PoseContinuity
from wm_core.alignment.expected import ExpectedPoses, Motion
from wm_core.alignment.tracks import NOT_TOLD, ActionTrack, AlignedAction, AlignedPose, PoseStatus, PoseTrack
from wm_core.timeline import NS_PER_S

FrameT = TypeVar("FrameT")
_TOLD_AHEAD = frozenset({PoseStatus.PREDICTED, PoseStatus.EXTRAPOLATED})
_CLOCKS_DIFFER_NS = 2 * NS_PER_S
_MOST_UNMEASURED = 200
_MOST_JUMPS = 20


def awaits_measured(status: int, *, are_coming: bool) -> bool:
    """Return whether a state is to have a measured pose before it is kept.

    Args:
        status: Of the pose that it went out with, a ``PoseStatus``.
        are_coming: Whether measured poses came of late. A slow localisation's come later than any is expected for, and
            in time all the same; one that has stopped is not waited for.
    """
    return status in _TOLD_AHEAD or (status == PoseStatus.TOO_OLD and are_coming)


@dataclass(frozen=True, kw_only=True)
class Waits:
    """How long is waited for what belongs to a frame, and how old it may be [s].

    Attributes:
        pose_wait_s: Longest wait for a measured pose, on a steady clock; 0: the expected one does.
        action_wait_s: Longest wait for an action that comes with the frame.
        pose_max_age_s: Furthest that a pose is extrapolated.
        action_max_age_s: Longest that an action holds without another.
    """

    pose_wait_s: float = 0.0
    action_wait_s: float = 0.005
    pose_max_age_s: float = 0.25
    action_max_age_s: float = 0.5


@dataclass(frozen=True)
class Aligned(Generic[FrameT]):
    """A frame with the pose and action at its stamp."""

    frame: FrameT
    stamp_ns: int
    pose: AlignedPose
    action: AlignedAction


class FrameAligner(Generic[FrameT]):
    """Gives each frame the pose and action known at its stamp, at once, and later the measured pose, if one comes.

    What is given depends on what was told before and on the steady times told with frames, and on nothing else. A frame
    is held back until its action, and if so wished its measured pose, is there; frames keep their order. Nothing is
    waited for that does not come: without any recent action (or pose) the frame goes out at once.

    Args:
        action_dim: Values per action A.
        step_s: Step of the model [s]; an action up to half of it after a frame counts as taken at the frame.
        motion: Says where the robot is expected to be before a pose is measured; ``None``: where it moved to so far.
        waits: How long is waited.

    Attributes:
        frame_id: What poses are told in; poses of two frames never mix.
        jumps: Jumps of the poses that nobody took note of yet, oldest first.
    """

    def __init__(self, action_dim: int, step_s: float, motion: Motion | None, waits: Waits | None = None) -> None:
        waits = waits or Waits()
        self._poses = PoseTrack(max_age_s=waits.pose_max_age_s)
        self._actions = ActionTrack(action_dim, waits.action_max_age_s, tolerance_s=step_s / 2)
        self._expected = ExpectedPoses(self._poses, self._actions, motion, step_s)
        self._waits_for_pose = waits.pose_wait_s > 0
        self._wait_ns = int(max(waits.pose_wait_s, waits.action_wait_s) * NS_PER_S)
        self._tolerance_ns = int(step_s / 2 * NS_PER_S)
        self._waiting: deque[tuple[FrameT, int, int]] = deque()
        self._unmeasured: deque[int] = deque(maxlen=_MOST_UNMEASURED)
        self._continuity = PoseContinuity()
        self.frame_id = ""
        self.jumps: deque[Jump] = deque(maxlen=_MOST_JUMPS)

    def restart(self) -> list[Aligned[FrameT]]:
        """Forget poses and actions, of which another timeline knows nothing; return the frames that still waited."""
        waiting = [self._aligned(frame, stamp_ns) for frame, stamp_ns, _ in self._waiting]
        self._waiting.clear()
        self._unmeasured.clear()
        self._expected.clear()
        self._continuity.clear()
        self._actions.clear()
        return waiting

    def pose(
        self,
        stamp_ns: int,
        position: np.ndarray,
        quaternion: np.ndarray,
        errors: tuple[float, float] = NOT_TOLD,
        frame_id: str = "",
        arrival_ns: int = 0,
    ) -> bool:
        """Take a measured pose, as ``PoseTrack.insert``; one told in another frame ends what was before.

        Poses of an odometry that began again are carried on in the frame of before; one that jumps is left out until
        another agrees (``jumps``).

        Raises:
            AlignmentError: As ``PoseTrack.insert``.
        """
        if self.frame_id not in ("", frame_id):
            self._expected.clear()
            self._continuity.clear()
        self.frame_id = frame_id
        if not (np.isfinite(position).all() and np.isfinite(quaternion).all()):
            return self._expected.insert(stamp_ns, position, quaternion, errors, arrival_ns)
        before = copy(self._continuity)
        carried = self._continuity.take(stamp_ns, np.asarray(position, float), np.asarray(quaternion, float))
        if carried is None:
            return True
        if carried.jump is not None:
            self.jumps.append(carried.jump)
            if carried.jump.kind is not Kind.RESTARTED:
                self._expected.clear()
        taken = self._expected.insert(stamp_ns, carried.position, carried.quaternion, errors, arrival_ns)
        if not taken:
            self._continuity = before
        return taken

    def action(self, stamp_ns: int, values: np.ndarray, arrival_ns: int = 0) -> bool:
        """Take an action, as ``ActionTrack.insert``.

        Raises:
            AlignmentError: As ``ActionTrack.insert``.
        """
        return self._actions.insert(stamp_ns, values, arrival_ns)

    def frame(self, frame: FrameT, stamp_ns: int, steady_ns: int) -> None:
        """Take a frame received at ``steady_ns``."""
        self._waiting.append((frame, stamp_ns, steady_ns + self._wait_ns))

    def ready(self, steady_ns: int) -> Iterator[Aligned[FrameT]]:
        """Yield the frames that need not or may not wait any longer, oldest first."""
        while self._waiting:
            frame, stamp_ns, deadline_ns = self._waiting[0]
            if steady_ns < deadline_ns and self._is_awaited(stamp_ns):
                return
            self._waiting.popleft()
            self._unmeasured.append(stamp_ns)
            yield self._aligned(frame, stamp_ns)

    def measured(self) -> Iterator[tuple[int, AlignedPose]]:
        """Yield stamp and measured pose of the frames that lie between two poses by now, oldest first."""
        newest_ns = self._poses.newest_ns
        while self._unmeasured and newest_ns is not None and self._unmeasured[0] <= newest_ns:
            stamp_ns = self._unmeasured.popleft()
            pose = self._poses.at(stamp_ns)
            if pose.status is PoseStatus.INTERPOLATED:
                yield stamp_ns, pose

    def next_deadline_ns(self) -> int | None:
        """Return when the oldest waiting frame goes out at the latest, on the steady clock."""
        return self._waiting[0][2] if self._waiting else None

    def _aligned(self, frame: FrameT, stamp_ns: int) -> Aligned[FrameT]:
        return Aligned(frame, stamp_ns, self._expected.at(stamp_ns), self._actions.at(stamp_ns))

    def _is_awaited(self, stamp_ns: int) -> bool:
        """Return whether a frame's pose or action may still come: a stream is behind the frame, but alive.

        A stream counts as alive while its newest is less than a second older. An action up to the tolerance before a
        frame is its own: no later one is waited for.
        """
        if self._waits_for_pose and _may_come(self._poses.newest_ns, stamp_ns, 0):
            return True
        return _may_come(self._actions.newest_ns, stamp_ns, self._tolerance_ns)


def _may_come(newest_ns: int | None, stamp_ns: int, tolerance_ns: int) -> bool:
    return newest_ns is not None and tolerance_ns < stamp_ns - newest_ns < NS_PER_S


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
