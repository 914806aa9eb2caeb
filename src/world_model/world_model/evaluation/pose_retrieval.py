"""The baseline to beat without learning: what was seen before at the place where the robot will be.

Shape suffixes: T = frames of an episode, W = windows, F = future ticks, E = embedding size, S = steps ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wm_core.memory.keyframes import REVISIT_RADIUS_M, REVISIT_YAW_RAD
from wm_core.memory.reference_batch import StateColumns, nearest_states
from wm_core.se2 import Pose2
from world_model.data.episodes import Episode
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.motion import MotionModel, MotionTracker


@dataclass(frozen=True)
class Expectation:
    """How the memory is asked.

    Attributes:
        motion: Motion model fitted at ``step_s``.
        step_s: Step of the motion model [s].
        settings: Radius, yaw and age limits.
    """

    motion: MotionModel
    step_s: float
    settings: Retrieval


@dataclass(frozen=True)
class Retrieved:
    """What the memory says of each window.

    Attributes:
        embedding: [W, F, E], NaN where nothing was found.
        revisit: bool [W, F]; something older was seen within 1 m and 30 degrees of where the robot really came to be.
    """

    embedding: np.ndarray
    revisit: np.ndarray


def forecast_poses(
    episode: Episode, rows_W: np.ndarray, horizons_s: Sequence[float], motion: MotionModel, step_s: float
) -> np.ndarray:
    """Return where the robot is expected after each horizon with its last action held, [W, F, 3]; NaN if unknown."""
    steps = [round(horizon_s / step_s) for horizon_s in horizons_s]
    tracker = MotionTracker(motion, step_s, episode.action_TA.shape[1])
    wanted = {int(row): position for position, row in enumerate(rows_W)}
    pose_WF3 = np.full((len(rows_W), len(steps), 3), np.nan)
    for row in range(len(episode)):
        pose_4, action_A = episode.pose_T4[row], episode.action_TA[row]
        pose = Pose2(*pose_4.tolist()) if np.isfinite(pose_4).all() else None
        tracker.update(int(episode.stamp_T[row]), pose, action_A if np.isfinite(action_A).all() else None)
        if row not in wanted or pose is None:
            continue
        moved_S3 = tracker.displacements(max(steps))
        if moved_S3 is not None:
            for column, step in enumerate(steps):
                there = pose.moved(moved_S3[step - 1])
                pose_WF3[wanted[row], column] = (there.x, there.y, there.yaw)
    return pose_WF3


def retrieve(
    episode: Episode,
    embedding_TE: np.ndarray,
    rows_W: np.ndarray,
    horizons_s: Sequence[float],
    expect: Expectation,
    neighbours: int = 1,
) -> Retrieved:
    """Return the mean embedding of the earlier frames nearest in pose to where the robot will be.

    Args:
        episode: Dense frames with poses.
        embedding_TE: Their embeddings.
        rows_W: The frames from which is foreseen.
        horizons_s: Times ahead [s].
        expect: Where to look.
        neighbours: Frames averaged.
    """
    table, settings = _remember(episode, embedding_TE), expect.settings
    expected_WF3 = forecast_poses(episode, rows_W, horizons_s, expect.motion, expect.step_s)
    found_WFE = np.full((*expected_WF3.shape[:2], embedding_TE.shape[1]), np.nan, np.float32)
    revisit_WF = np.zeros(expected_WF3.shape[:2], bool)
    stamp_W = episode.stamp_T[rows_W]
    for column, horizon_s in enumerate(horizons_s):
        near = nearest_states(
            table,
            expected_WF3[:, column],
            stamp_W,
            neighbours,
            radius_m=settings.radius_m,
            yaw_tolerance_rad=settings.yaw_tolerance_rad,
            yaw_weight_m=settings.yaw_weight_m,
            exclude_recent_s=settings.exclude_recent_s,
        ).index_QK
        for window, indices in enumerate(near):
            if indices[0] >= 0:
                found_WFE[window, column] = table.latent_ND[indices[indices >= 0]].mean(0)
        revisit_WF[:, column] = _revisits(episode, table, rows_W, horizon_s, settings)
    return Retrieved(found_WFE, revisit_WF)


def _remember(episode: Episode, embedding_TE: np.ndarray) -> StateColumns:
    usable_T = np.isfinite(episode.pose_T4).all(1)
    return StateColumns(episode.stamp_T[usable_T], episode.pose_T4[usable_T], embedding_TE[usable_T])


def _revisits(
    episode: Episode, table: StateColumns, rows_W: np.ndarray, horizon_s: float, settings: Retrieval
) -> np.ndarray:
    stamp_T, wanted_W = np.asarray(episode.stamp_T), episode.stamp_T[rows_W] + round(horizon_s * 1e9)
    after_W = np.clip(np.searchsorted(stamp_T, wanted_W), 1, len(stamp_T) - 1)
    nearer_W = wanted_W - stamp_T[after_W - 1] <= stamp_T[after_W] - wanted_W
    reached_W = np.where(nearer_W, after_W - 1, after_W)
    near = nearest_states(
        table,
        episode.pose_T4[reached_W][:, [0, 1, 3]],
        episode.stamp_T[rows_W],
        1,
        radius_m=REVISIT_RADIUS_M,
        yaw_tolerance_rad=REVISIT_YAW_RAD,
        yaw_weight_m=settings.yaw_weight_m,
        exclude_recent_s=settings.exclude_recent_s,
    )
    return near.index_QK[:, 0] >= 0
