"""When frames, poses and actions of an episode arrived.

Shape suffixes: T = frames, N = poses, M = actions, A = action size, 4 = (x, y, z, yaw).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wm_core.alignment import ActionEvent, FrameEvent, PoseEvent
from wm_core.se3 import quaternion_of

_POSE = [("arrival", "i8"), ("stamp", "i8"), ("position", "f8", 3), ("quaternion", "f8", 4), ("errors", "f8", 2)]
_BEFORE_NS, _AFTER_NS = 5_000_000_000, 2_000_000_000
"""What arrived so long before a cut part or after it still matters to it: poses are kept so long, and waited for."""


@dataclass(frozen=True)
class Arrivals:
    """Poses and actions of one episode with their times of arrival [ns], on the clock that frames arrived by.

    Attributes:
        frame_T2: When each frame arrived, and what the recorder's clock said then, int64.
        pose_N: Structured: arrival, stamp, position, quaternion, errors (NaN: not told), frame (number of its name).
        action_M: Structured: arrival, stamp (0: it carries none), clock, values.
    """

    frame_T2: np.ndarray
    pose_N: np.ndarray
    action_M: np.ndarray

    @classmethod
    def of(
        cls, frames: Sequence[FrameEvent], poses: Sequence[PoseEvent], actions: Sequence[ActionEvent], action_dim: int
    ) -> Arrivals:
        """Return what arrived as arrays; actions of another length than ``action_dim`` are left out.

        Args:
            frames: In the order of their arrival.
            poses: In any order.
            actions: In any order.
            action_dim: A.
        """
        clock_T = [frame.arrival_ns if frame.clock_ns is None else frame.clock_ns for frame in frames]
        frame_T2 = np.array([(frame.arrival_ns, clock) for frame, clock in zip(frames, clock_T)], np.int64)
        numbers: dict[str, int] = {}
        said = [
            (p.arrival_ns, p.stamp_ns, p.position, p.quaternion, p.errors, numbers.setdefault(p.frame_id, len(numbers)))
            for p in poses
        ]
        pose_N = np.array(said, np.dtype([*_POSE, ("frame", "i4")]))
        fitting = [a for a in actions if np.shape(a.values) == (action_dim,)]
        done = [
            (a.arrival_ns, a.stamp_ns, a.arrival_ns if a.clock_ns is None else a.clock_ns, tuple(a.values.tolist()))
            for a in fitting
        ]
        kind = [("arrival", "i8"), ("stamp", "i8"), ("clock", "i8"), ("values", "f4", (action_dim,))]
        action_M = np.array(done, np.dtype(kind))
        return cls(frame_T2.reshape(-1, 2), pose_N, action_M)

    def poses(self) -> Iterator[PoseEvent]:
        """Yield the poses."""
        for row in self.pose_N:
            arrival, stamp, position, quaternion, errors, frame = row.tolist()
            yield PoseEvent(arrival, stamp, tuple(position), tuple(quaternion), str(frame), tuple(errors))

    def actions(self) -> Iterator[ActionEvent]:
        """Yield the actions."""
        for row in self.action_M:
            yield ActionEvent(int(row["arrival"]), np.array(row["values"]), int(row["stamp"]), int(row["clock"]))

    def frames(self, stamp_T: np.ndarray) -> list[FrameEvent]:
        """Return the frames of these stamps."""
        times = zip(self.frame_T2.tolist(), np.asarray(stamp_T).tolist())
        return [FrameEvent(arrival, stamp, clock) for (arrival, clock), stamp in times]

    def rows(self, kept: slice) -> Arrivals:
        """Return what belongs to some of the frames: poses and actions from a little before to a little after them."""
        frame_T2 = self.frame_T2[kept]
        if not len(frame_T2):
            return Arrivals(frame_T2, self.pose_N[:0], self.action_M[:0])
        first, last = int(frame_T2[0, 0]) - _BEFORE_NS, int(frame_T2[-1, 0]) + _AFTER_NS
        parts = [each[(each["arrival"] >= first) & (each["arrival"] <= last)] for each in (self.pose_N, self.action_M)]
        return Arrivals(frame_T2, *parts)

    def within(self, first_ns: int, end_ns: int) -> Arrivals:
        """Return these frames with what arrived in [first_ns, end_ns): before and after it is another timeline."""
        parts = [
            each[(each["arrival"] >= first_ns) & (each["arrival"] < end_ns)] for each in (self.pose_N, self.action_M)
        ]
        return Arrivals(self.frame_T2, *parts)

    def delayed(self, stamp_T: np.ndarray, delay_s: float) -> Arrivals:
        """Return the same with each pose so long after its stamp, as if poses and frames were sent by one clock.

        Args:
            stamp_T: Of the frames.
            delay_s: By how much a pose arrives later than a frame of the same stamp would [s].
        """
        usual_ns = usual_offset_ns(np.asarray(stamp_T), self.frame_T2[:, 0])
        pose_N = self.pose_N.copy()
        pose_N["arrival"] = pose_N["stamp"] + usual_ns + round(delay_s * 1e9)
        return replace(self, pose_N=pose_N)


def usual_offset_ns(stamp_T: np.ndarray, arrival_T: np.ndarray) -> int:
    """Return by how much frames usually arrive after their stamps [ns]; clocks may differ."""
    return int(np.median(arrival_T - stamp_T)) if len(stamp_T) else 0


def at_frames(stamp_T: np.ndarray, pose_T4: np.ndarray, action_TA: np.ndarray, std_T2: np.ndarray | None) -> Arrivals:
    """Return arrivals of an episode that has none: each pose and action arrives with its frame.

    Args:
        stamp_T: Of the frames.
        pose_T4: Their poses, NaN where there is none.
        action_TA: Their actions, NaN where there is none.
        std_T2: Standard errors of the poses, or ``None``.
    """
    stamps = np.asarray(stamp_T).tolist()
    poses, actions = [], []
    for row, ns in enumerate(stamps):
        x, y, z, yaw = (float(value) for value in pose_T4[row])
        if np.isfinite(pose_T4[row]).all():
            errors = (np.nan, np.nan) if std_T2 is None else (float(std_T2[row, 0]), float(std_T2[row, 1]))
            poses.append(PoseEvent(ns, ns, (x, y, z), quaternion_of(yaw), errors=errors))
        if np.isfinite(action_TA[row]).all():
            actions.append(ActionEvent(ns, np.asarray(action_TA[row]), ns))
    return Arrivals.of([FrameEvent(ns, ns) for ns in stamps], poses, actions, action_TA.shape[1])
