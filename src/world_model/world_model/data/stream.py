"""Frames, poses and actions in their order of arrival, aligned exactly as the live node aligns them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from wm_core.alignment import NOT_TOLD, ActionStatus, ActionTrack, PoseTrack, is_worth_waiting
from wm_core.errors import AlignmentError

# latent_publisher's default: how long a frame's pose is waited for.
POSE_WAIT_S = 0.02
# Half a step, as in latent_publisher and as ActionTrack's own.
_ACTION_TOLERANCE_NS = 25_000_000
# latent_publisher's ArrivalClock: from here on the frames are stamped by another clock than the recorder's.
_CLOCKS_DIFFER_NS = 2_000_000_000


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
class Aligned:
    """Poses (x, y, z, yaw) and actions at the frames' stamps, NaN where there is none: [T, 4], [T, A].

    ``pose_std_T2`` are the poses' standard errors (x and y [m], yaw [rad]), NaN where not told, ``None`` where none is.
    ``pose_faults`` and ``action_faults`` count what could not be used, by reason.
    """

    pose_T4: np.ndarray
    action_TA: np.ndarray
    pose_faults: Counter[str] = field(default_factory=Counter)
    action_faults: Counter[str] = field(default_factory=Counter)
    pose_std_T2: np.ndarray | None = None


def align(
    frame_stamp_T: np.ndarray,
    frame_arrival_T: np.ndarray,
    poses: Iterable[PoseEvent],
    actions: Iterable[ActionEvent],
    action_dim: int,
    pose_wait_s: float = POSE_WAIT_S,
    restart_ns: Sequence[int] = (),
    frame_clock_T: np.ndarray | None = None,
) -> Aligned:
    """Return what the live node would have given each frame, had it run while the events arrived.

    Args:
        frame_stamp_T: Stamps, int64 ns.
        frame_arrival_T: When each frame was there, int64 ns, ascending.
        poses: In any order.
        actions: In any order; those of another length or not finite are left out, as the node drops them.
        action_dim: A.
        pose_wait_s: Poses that arrive this much after the frame still count [s].
        restart_ns: When frames arrived whose stamps began a new timeline: what was gathered before is dropped.
        frame_clock_T: What the recorder's clock said when each frame was there, where that is not steady, int64 ns.
    """
    replay = _Replay(poses, actions, action_dim, restart_ns)
    pose_T4 = np.full((len(frame_stamp_T), 4), np.nan)
    action_TA = np.full((len(frame_stamp_T), action_dim), np.nan, np.float32)
    std_T2 = np.full((len(frame_stamp_T), 2), np.nan)
    wait_ns = int(pose_wait_s * 1e9)
    clock_T = frame_arrival_T if frame_clock_T is None else frame_clock_T
    rows = zip(frame_stamp_T.tolist(), frame_arrival_T.tolist(), clock_T.tolist())
    for row, (stamp_ns, arrival_ns, clock_ns) in enumerate(rows):
        replay.advance(arrival_ns)
        replay.note_clock(stamp_ns - clock_ns)
        # What belongs to the next timeline must not reach a frame of this one.
        ends_ns = next((ns for ns in restart_ns if ns > arrival_ns), arrival_ns + wait_ns + 1)
        replay.wait(stamp_ns, min(arrival_ns + wait_ns, ends_ns - 1))
        pose, action = replay.poses.at(stamp_ns), replay.actions.at(stamp_ns)
        if pose.position is not None and pose.quaternion is not None:
            pose_T4[row] = (*pose.position, yaw_of_record(pose.quaternion))
            std_T2[row] = pose.errors
        if action.status is ActionStatus.HELD:
            action_TA[row] = action.values
    told = std_T2 if np.isfinite(std_T2).any() else None
    return Aligned(pose_T4, action_TA, replay.pose_faults, replay.action_faults, told)


def yaw_of_record(quaternion: np.ndarray | tuple[float, ...]) -> float:
    """Return the yaw [rad] of a quaternion x, y, z, w."""
    x, y, z, w = (float(value) for value in quaternion)
    return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


class _Replay:
    """Poses and actions as they arrive, and the tracks that the node would have."""

    def __init__(
        self, poses: Iterable[PoseEvent], actions: Iterable[ActionEvent], action_dim: int, restart_ns: Sequence[int]
    ) -> None:
        self.poses, self.actions = PoseTrack(), ActionTrack(action_dim)
        self.pose_faults, self.action_faults = Counter[str](), Counter[str]()
        events: list[PoseEvent | ActionEvent | int] = [*restart_ns, *poses, *actions]
        # A restart comes before what arrives at the same time.
        self._events = sorted(events, key=lambda event: event if isinstance(event, int) else event.arrival_ns)
        self._next, self._offset_ns, self._frame_id = 0, 0, ""

    def advance(self, until_ns: int) -> None:
        """Takes what arrived until a time."""
        while self._next < len(self._events) and self._arrival(self._next) <= until_ns:
            self._next += 1
            self._take(self._events[self._next - 1])

    def wait(self, stamp_ns: int, deadline_ns: int) -> None:
        """Takes what arrives until a deadline, as long as a frame's pose or action may be among it."""
        while is_worth_waiting(self.poses, self.actions, stamp_ns, _ACTION_TOLERANCE_NS):
            if self._next >= len(self._events) or self._arrival(self._next) > deadline_ns:
                return
            self.advance(self._arrival(self._next))

    def _arrival(self, row: int) -> int:
        event = self._events[row]
        return event if isinstance(event, int) else event.arrival_ns

    def note_clock(self, offset_ns: int) -> None:
        """Learns how far the frames' clock is off the recorder's; what has no stamp is timed by the frames' then."""
        self._offset_ns = offset_ns if abs(offset_ns) > _CLOCKS_DIFFER_NS else 0

    def _take(self, event: PoseEvent | ActionEvent | int) -> None:
        if isinstance(event, int):
            self.poses.clear()
            self.actions.clear()
        elif isinstance(event, PoseEvent):
            if self._frame_id not in ("", event.frame_id):  # as the node: poses of two frames never mix
                self.poses.clear()
            self._frame_id = event.frame_id
            try:
                pose = np.array(event.position), np.array(event.quaternion)
                taken = self.poses.insert(event.stamp_ns, *pose, event.errors)
            except AlignmentError:
                self.pose_faults["pose-not-finite"] += 1
            else:
                self.pose_faults += Counter({"pose-ahead": 0 if taken else 1})
        else:
            taken_ns = event.arrival_ns if event.clock_ns is None else event.clock_ns
            try:
                self.actions.insert(event.stamp_ns or taken_ns + self._offset_ns, event.values)
            except AlignmentError:
                self.action_faults["action-length" if np.isfinite(event.values).all() else "action-not-finite"] += 1
