"""Frames, poses and actions in their order of arrival, aligned exactly as the live graph aligns them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from wm_core.alignment import ActionEvent, FrameAligner, FrameEvent, Jump, PoseEvent, Replay
from world_model.data.arrivals import Arrivals, usual_offset_ns
from world_model.data.known import gathered

__all__ = ["ActionEvent", "Aligned", "PoseEvent", "align", "delayed"]

# Half of it is what an action may come after its frame; poses and actions are not the model's business here.
_STEP_S = 0.05


@dataclass(frozen=True)
class Aligned:
    """Poses (x, y, z, yaw) and actions at the frames' stamps, NaN where there is none: [T, 4], [T, A].

    ``pose_std_T2`` are the poses' standard errors (x and y [m], yaw [rad]), NaN where not told, ``None`` where none is.
    ``pose_faults`` and ``action_faults`` count what could not be used, by reason. ``arrivals`` tell when all of it was
    there; ``None`` where nobody knows. ``jumps`` are those of the poses.
    """

    pose_T4: np.ndarray
    action_TA: np.ndarray
    pose_faults: Counter[str] = field(default_factory=Counter)
    action_faults: Counter[str] = field(default_factory=Counter)
    pose_std_T2: np.ndarray | None = None
    arrivals: Arrivals | None = None
    jumps: tuple[Jump, ...] = ()


def align(
    frame_stamp_T: np.ndarray,
    frame_arrival_T: np.ndarray,
    poses: Iterable[PoseEvent],
    actions: Iterable[ActionEvent],
    action_dim: int,
    restart_ns: Sequence[int] = (),
    frame_clock_T: np.ndarray | None = None,
) -> Aligned:
    """Return what the live graph would have kept of each frame, had it run while the events arrived.

    Poses are the measured ones, as the memory joins them, and actions those that ``/latent/state`` would have told.
    What was expected of a pose before it was measured depends on a model: ``world_model.data.arrivals.replayed``.

    Args:
        frame_stamp_T: Stamps, int64 ns.
        frame_arrival_T: When each frame was there, int64 ns, ascending.
        poses: In any order.
        actions: In any order; those of another length or not finite are left out, as the node drops them.
        action_dim: A.
        restart_ns: When frames arrived whose stamps began a new timeline: what was gathered before is dropped.
        frame_clock_T: What the recorder's clock said when each frame was there, where that is not steady, int64 ns.
    """
    clock_T = frame_arrival_T if frame_clock_T is None else frame_clock_T
    times = zip(frame_arrival_T.tolist(), frame_stamp_T.tolist(), clock_T.tolist())
    frames, poses, actions = [FrameEvent(*each) for each in times], list(poses), list(actions)
    aligner: FrameAligner[int] = FrameAligner(action_dim, _STEP_S, None)
    replay = Replay(frames, poses, actions, aligner, restart_ns)
    known, action_TA = gathered(replay, len(frames), action_dim)
    told = known.kept_std_T2 if np.isfinite(known.kept_std_T2).any() else None
    arrivals = Arrivals.of(frames, poses, actions, action_dim) if poses else None
    return Aligned(
        known.kept_T4, action_TA, replay.pose_faults, replay.action_faults, told, arrivals, tuple(replay.jumps)
    )


def delayed(
    poses: Iterable[PoseEvent], frame_stamp_T: np.ndarray, frame_arrival_T: np.ndarray, delay_s: float
) -> list[PoseEvent]:
    """Return poses that arrived so long after their stamps, whenever they did.

    Args:
        poses: In any order.
        frame_stamp_T: Stamps of the frames, int64 ns.
        frame_arrival_T: When they were there, int64 ns: a frame and a pose of one stamp are of one moment.
        delay_s: By how much a pose arrives later than a frame of the same stamp would [s].
    """
    usual_ns = usual_offset_ns(frame_stamp_T, frame_arrival_T) + round(delay_s * 1e9)
    return [replace(pose, arrival_ns=pose.stamp_ns + usual_ns) for pose in poses]
