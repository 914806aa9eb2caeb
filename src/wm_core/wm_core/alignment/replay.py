"""A recording as it arrived: what the graph knew of each frame at once, and what its memory kept.

The live node's own ``FrameAligner`` and the memory's own ``PoseJoin``, driven by frames, poses and actions in their
order of arrival.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wm_core.alignment.continuity import Jump
from wm_core.alignment.states import Aligned, ArrivalClock, FrameAligner, awaits_measured
from wm_core.alignment.tracks import NOT_TOLD, AlignedAction, AlignedPose, PoseStatus
from wm_core.errors import AlignmentError
from wm_core.memory.joining import JOIN_S, PoseJoin

_NEVER_NS = 2**63 - 1


@dataclass(frozen=True)
class FrameEvent:
    """A frame of time ``stamp_ns`` that was there at ``arrival_ns``, when the recorder's clock said ``clock_ns``."""

    arrival_ns: int
    stamp_ns: int
    clock_ns: int | None = None


@dataclass(frozen=True)
class PoseEvent:
    """A pose of time ``stamp_ns`` that was there at ``arrival_ns``. Quaternion x, y, z, w; told in ``frame_id``.

    ``errors`` are the standard errors of x and y [m] and of the yaw [rad], NaN where not told.
    """

    arrival_ns: int
    stamp_ns: int
    position: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]
    frame_id: str = ""
    errors: tuple[float, float] = NOT_TOLD


@dataclass(frozen=True)
class ActionEvent:
    """An action that was there at ``arrival_ns``; taken then, unless it carries a stamp of its own.

    ``clock_ns`` is what the recorder's clock said then, where that is not steady.
    """

    arrival_ns: int
    values: np.ndarray
    stamp_ns: int = 0
    clock_ns: int | None = None


@dataclass(frozen=True)
class Restart:
    """The frames' time jumped: what was gathered before is of another timeline."""

    arrival_ns: int


Event = FrameEvent | PoseEvent | ActionEvent | Restart


@dataclass(frozen=True)
class Told:
    """What was known of a frame when its state went out at ``at_ns``; ``row`` counts the frames."""

    row: int
    at_ns: int
    pose: AlignedPose
    action: AlignedAction


@dataclass(frozen=True)
class Kept:
    """A frame's state as the memory takes it at ``at_ns``: with its measured pose, or without one (``None``).

    ``is_late`` tells that it was to have one, and none came in time.
    """

    row: int
    at_ns: int
    pose: AlignedPose | None
    is_late: bool = False


class Replay:
    """Events in their order of arrival through the code of the live graph.

    Of what arrives at the same time, a restart comes first, and poses and actions come before the frame.

    Args:
        frames: In the order of their arrival; their number is their row.
        poses: In any order.
        actions: In any order.
        aligner: What the node would use; fresh.
        restarts_ns: When the frames' time jumped.
        join_s: Longest that the memory waits for a measured pose [s].

    Attributes:
        pose_faults: Poses that could not be used, by reason.
        action_faults: Actions that could not be used, by reason.
        jumps: Where the poses jumped.
    """

    def __init__(
        self,
        frames: Sequence[FrameEvent],
        poses: Iterable[PoseEvent],
        actions: Iterable[ActionEvent],
        aligner: FrameAligner[int],
        restarts_ns: Iterable[int] = (),
        join_s: float = JOIN_S,
    ) -> None:
        self._aligner = aligner
        events: list[tuple[Event, int]] = [(Restart(arrival_ns), -1) for arrival_ns in restarts_ns]
        events += [(pose, -1) for pose in poses]
        events += [(action, -1) for action in actions]
        events += [(event, row) for row, event in enumerate(frames)]
        self._events = sorted(events, key=lambda pair: pair[0].arrival_ns)
        self._join: PoseJoin[int, AlignedPose] = PoseJoin(join_s)
        self._known: dict[int, AlignedPose] = {}
        self._clock = ArrivalClock()
        self.jumps: list[Jump] = []
        self.pose_faults, self.action_faults = Counter[str](), Counter[str]()

    def __iter__(self) -> Iterator[Told | Kept]:
        """Yield what becomes known, in its order; each frame is told once and kept once."""
        for event, row in self._events:
            yield from self._pass_to(event.arrival_ns)
            if isinstance(event, PoseEvent):
                self._take_pose(event)
            elif isinstance(event, ActionEvent):
                self._take_action(event)
            elif isinstance(event, Restart):
                yield from self._out(self._aligner.restart(), event.arrival_ns)
            else:
                clock_ns = event.arrival_ns if event.clock_ns is None else event.clock_ns
                self._clock.frame(event.stamp_ns, event.arrival_ns, clock_ns)
                self._aligner.frame(row, event.stamp_ns, event.arrival_ns)
            yield from self._ready(event.arrival_ns)
        yield from self._pass_to(_NEVER_NS)
        yield from self._joined(_NEVER_NS)

    def _pass_to(self, time_ns: int) -> Iterator[Told | Kept]:
        """Let time pass: what waits no longer goes out."""
        while (deadline_ns := self._aligner.next_deadline_ns()) is not None and deadline_ns <= time_ns:
            yield from self._ready(deadline_ns)

    def _ready(self, now_ns: int) -> Iterator[Told | Kept]:
        yield from self._out(self._aligner.ready(now_ns), now_ns)
        for stamp_ns, pose in self._aligner.measured():
            self._join.pose(stamp_ns, pose, now_ns)
            yield from self._joined(now_ns)

    def _out(self, ready: Iterable[Aligned[int]], now_ns: int) -> Iterator[Told | Kept]:
        for each in ready:
            yield Told(each.frame, now_ns, each.pose, each.action)
            waits = awaits_measured(each.pose.status, are_coming=self._join.are_coming(now_ns))
            if each.pose.status is PoseStatus.INTERPOLATED:
                self._known[each.frame] = each.pose
            self._join.push(each.stamp_ns, each.frame, waits=waits, steady_ns=now_ns)
            yield from self._joined(now_ns)

    def _joined(self, now_ns: int) -> Iterator[Kept]:
        for row, pose, is_late in self._join.ready(now_ns):
            yield Kept(row, now_ns, pose or self._known.pop(row, None), is_late)

    def _take_pose(self, event: PoseEvent) -> None:
        pose = np.array(event.position), np.array(event.quaternion)
        try:
            taken = self._aligner.pose(event.stamp_ns, *pose, event.errors, event.frame_id, event.arrival_ns)
        except AlignmentError:
            self.pose_faults["pose-not-finite"] += 1
        else:
            self.pose_faults += Counter({"pose-ahead": 0 if taken else 1})
            self.jumps += self._aligner.jumps
            self._aligner.jumps.clear()

    def _take_action(self, event: ActionEvent) -> None:
        clock_ns = event.arrival_ns if event.clock_ns is None else event.clock_ns
        taken_ns = event.stamp_ns or self._clock.arrival_ns(event.arrival_ns, clock_ns)
        try:
            self._aligner.action(taken_ns, event.values, event.arrival_ns)
        except AlignmentError:
            self.action_faults["action-length" if np.isfinite(event.values).all() else "action-not-finite"] += 1
