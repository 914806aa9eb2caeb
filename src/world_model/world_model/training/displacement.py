"""Where a robot was expected to be along an episode, and what that missed.

Shape suffixes: T = frames, H = horizons, A = action size, S = steps ahead, 3 = (forward, left, turn) or (x, y, yaw).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wm_core.se2 import Pose2
from world_model.data.episodes import Episode
from world_model.runtime.motion import MotionModel, MotionTracker


@dataclass(frozen=True)
class Track:
    """Aligned poses and actions of one episode: stamps [T] ns, (x, y, z, yaw) [T, 4], actions [T, A]."""

    stamp_T: np.ndarray
    pose_T4: np.ndarray
    action_TA: np.ndarray


def expected_motion(
    episode: Episode | Track, model: MotionModel, steps: Sequence[int], step_s: float, known_future: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return displacements [T, H, 3] in the present frame, smoothed present poses [T, 3], and what is known [T].

    Args:
        episode: Aligned stamps, poses and actions.
        model: Motion model.
        steps: Horizons in steps.
        step_s: Time between frames [s].
        known_future: Use the recorded actions that follow instead of holding the present one.
    """
    count = len(episode.stamp_T)
    tracker = MotionTracker(model, step_s, episode.action_TA.shape[1])
    moved_TH3 = np.zeros((count, len(steps), 3))
    pose_T3 = np.full((count, 3), np.nan)
    known_T = np.zeros(count, bool)
    rows = [step - 1 for step in steps]
    for t in range(count):
        action_A = np.asarray(episode.action_TA[t])
        tracker.update(
            int(episode.stamp_T[t]), pose_or_none(episode.pose_T4[t]), action_A if np.isfinite(action_A).all() else None
        )
        if tracker.pose is not None:
            pose_T3[t] = tracker.pose.x, tracker.pose.y, tracker.pose.yaw
        plan_SA = episode.action_TA[t + 1 : t + max(steps)] if known_future else None
        moved_S3 = tracker.displacements(max(steps), plan_SA)
        if moved_S3 is not None:
            moved_TH3[t], known_T[t] = moved_S3[rows], True
    return moved_TH3, pose_T3, known_T


def missed_displacement(
    pose_T4: np.ndarray, present_T3: np.ndarray, moved_TH3: np.ndarray, steps: Sequence[int]
) -> np.ndarray:
    """Return true minus expected displacement from the present pose, in its frame, [T, H, 3], NaN where not known."""
    count = len(pose_T4)
    missed_TH3 = np.full(moved_TH3.shape, np.nan)
    for column, step in enumerate(steps):
        rows = np.arange(count - step)
        delta = pose_T4[rows + step][:, [0, 1, 3]] - present_T3[rows]
        cosine, sine = np.cos(present_T3[rows, 2]), np.sin(present_T3[rows, 2])
        forward = delta[:, 0] * cosine + delta[:, 1] * sine
        left = delta[:, 1] * cosine - delta[:, 0] * sine
        truth = np.stack([forward, left, delta[:, 2]], axis=1)
        difference = truth - moved_TH3[rows, column]
        difference[:, 2] = (difference[:, 2] + np.pi) % (2 * np.pi) - np.pi
        missed_TH3[rows, column] = difference
    return missed_TH3


def pose_or_none(row_4: np.ndarray) -> Pose2 | None:
    """Return the pose in a row (x, y, z, yaw), or None where it is not finite."""
    return Pose2(*(float(value) for value in row_4)) if np.isfinite(row_4).all() else None
