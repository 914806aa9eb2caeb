"""What the graph knew of each frame of an episode when its state went out, and what its memory kept of it.

The live node's own aligner and the memory's own join, driven by what arrived (``wm_core.alignment.Replay``).

Shape suffixes: T = frames, A = action size, 4 = (x, y, z, yaw), 2 = (position, yaw).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wm_core.alignment import AlignedPose, FrameAligner, Motion, PoseStatus, Replay, Told
from wm_core.se3 import yaw_of
from world_model.data.arrivals import Arrivals, at_frames
from world_model.data.episodes import Episode
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.pose_ahead import PoseAhead


@dataclass(frozen=True)
class Known:
    """What the graph knew of each frame when its state went out, and what its memory kept. NaN: nothing.

    Attributes:
        pose_T4: Poses that were known: expected ones until they are measured.
        std_T2: Their standard errors, of x and y [m] and of the yaw [rad]; NaN: not told.
        status_T: How they came about, ``PoseStatus``.
        kept_T4: Poses that the memory keeps states with: measured ones.
        kept_std_T2: Their standard errors.
        late: How many states were to have a measured pose that did not come in time.
        order: Frames in the order of events: ``row`` when it is told, ``~row`` when the memory takes it.
    """

    pose_T4: np.ndarray
    std_T2: np.ndarray
    status_T: np.ndarray
    kept_T4: np.ndarray
    kept_std_T2: np.ndarray
    late: int
    order: tuple[int, ...]

    @classmethod
    def at_once(cls, pose_T4: np.ndarray, std_T2: np.ndarray | None) -> Known:
        """Return poses that were there with their frames."""
        count = len(pose_T4)
        pose_T4 = np.asarray(pose_T4, float)
        std_T2 = np.full((count, 2), np.nan) if std_T2 is None else np.asarray(std_T2, float)
        is_known_T = np.isfinite(pose_T4).all(axis=1)
        status_T = np.where(is_known_T, PoseStatus.INTERPOLATED, PoseStatus.ABSENT)
        order = tuple(each for row in range(count) for each in (row, ~row))
        return cls(pose_T4, std_T2, status_T, pose_T4, std_T2, 0, order)

    def with_noise(self, noise_T4: np.ndarray) -> Known:
        """Return the same with errors added to all poses, [T, 4]."""
        return replace(self, pose_T4=self.pose_T4 + noise_T4, kept_T4=self.kept_T4 + noise_T4)


def replayed(
    arrivals: Arrivals, stamp_T: np.ndarray, action_dim: int, step_s: float, motion: Motion | None
) -> tuple[Known, np.ndarray]:
    """Return what the graph knew while an episode arrived, and the actions of the frames [T, A], NaN: none.

    Args:
        arrivals: Of the episode.
        stamp_T: Of its frames.
        action_dim: A.
        step_s: Step of the model [s].
        motion: Fresh; says where the robot is expected to be before a pose is measured.
    """
    aligner: FrameAligner[int] = FrameAligner(action_dim, step_s, motion)
    return gathered(
        Replay(arrivals.frames(stamp_T), arrivals.poses(), arrivals.actions(), aligner), len(stamp_T), action_dim
    )


def gathered(replay: Replay, count: int, action_dim: int) -> tuple[Known, np.ndarray]:
    """Return what a replay of so many frames tells, as arrays, and the actions [T, A]."""
    pose_T4, kept_T4 = np.full((count, 4), np.nan), np.full((count, 4), np.nan)
    std_T2, kept_std_T2 = np.full((count, 2), np.nan), np.full((count, 2), np.nan)
    status_T, action_TA = np.zeros(count, np.int64), np.full((count, action_dim), np.nan, np.float32)
    order: list[int] = []
    late = 0
    for each in replay:
        if isinstance(each, Told):
            order.append(each.row)
            status_T[each.row] = each.pose.status
            pose_T4[each.row], std_T2[each.row] = _row(each.pose)
            if each.action.values is not None:
                action_TA[each.row] = each.action.values
        else:
            order.append(~each.row)
            late += each.is_late
            if each.pose is not None:
                kept_T4[each.row], kept_std_T2[each.row] = _row(each.pose)
    return Known(pose_T4, std_T2, status_T, kept_T4, kept_std_T2, late, tuple(order)), action_TA


def _row(pose: AlignedPose) -> tuple[np.ndarray, np.ndarray]:
    if pose.position is None or pose.quaternion is None:
        return np.full(4, np.nan), np.full(2, np.nan)
    return np.array((*pose.position, yaw_of(pose.quaternion))), np.array(pose.errors)


def known_of(episode: Episode, model: MotionModel, step_s: float) -> Known:
    """Return what the graph knew of an episode; of one without arrivals, that poses were there with their frames.

    Args:
        episode: Aligned episode.
        model: What says where the robot is expected to be: the artifact's, as in the node.
        step_s: Step of the model [s].
    """
    if episode.arrivals is None:
        return Known.at_once(np.asarray(episode.pose_T4), episode.pose_std_T2)
    action_dim = episode.action_TA.shape[1]
    motion = PoseAhead(model, step_s, action_dim)
    return replayed(episode.arrivals, np.asarray(episode.stamp_T), action_dim, step_s, motion)[0]


def with_pose_delay(episode: Episode, delay_s: float) -> Episode:
    """Return an episode whose poses arrived so long after their stamps, whenever they did.

    Args:
        episode: Aligned episode; without arrivals, a pose was measured at each frame that has one.
        delay_s: By how much a pose arrives later than a frame of the same stamp would [s].
    """
    stamp_T = np.asarray(episode.stamp_T)
    arrivals = episode.arrivals
    if arrivals is None:
        arrivals = at_frames(stamp_T, np.asarray(episode.pose_T4), np.asarray(episode.action_TA), episode.pose_std_T2)
    return replace(episode, arrivals=arrivals.delayed(stamp_T, delay_s))
