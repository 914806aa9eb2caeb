"""Episodes turned into what the transition is trained on: latents, expected motion, and what the memory would answer.

The retrieval is the predictor's: same spacing, same motion model, same requests; a test holds both together.

Shape suffixes: T = frames, H = horizons, K = memories, D = latent size, A = action size, 3 = (x, y, yaw).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.signal import lfilter

from wm_core.memory.keyframes import REVISIT_RADIUS_M, REVISIT_YAW_RAD, Spacing
from wm_core.memory.reference_batch import StateColumns, StateTable, nearest_states, remember
from wm_core.memory.successors import STEP_S, nearest_usable
from world_model.data.episodes import Episode
from world_model.data.known import Known
from world_model.data.rates import on_step
from world_model.models.transition import Transition
from world_model.runtime.conditioning import (
    Retrieval,
    anticipated_features,
    appearance_features,
    motion_features,
    offsets_in_frame,
)
from world_model.runtime.motion import MotionModel, expected_error, pose_error
from world_model.training.displacement import expected_motion, pose_or_none
from world_model.training.path_stage import path_corrections


@dataclass(frozen=True)
class TrainingSequence:
    """One episode on the model's steps, ready to be sampled. Index arrays are -1 where there is no memory.

    ``measured_T`` tells the rows that a frame shows from those that lie between frames.
    """

    name: str
    latent_TD: np.ndarray
    action_TA: np.ndarray
    stamp_T: np.ndarray
    pose_T4: np.ndarray
    motion_THM: np.ndarray
    expected_TH3: np.ndarray
    table: StateTable
    anticipated_index_THK: np.ndarray
    anticipated_feature_THKF: np.ndarray
    appearance_index_TK: np.ndarray
    appearance_feature_TKF: np.ndarray
    successor_latent_HND: np.ndarray
    successor_valid_HN: np.ndarray
    revisit_T: np.ndarray
    measured_T: np.ndarray


def state_table(
    episode: Episode,
    latent_TD: np.ndarray,
    spacing: Spacing | None = None,
    *,
    step_s: float = STEP_S,
    horizons_s: Sequence[float] | None = None,
) -> StateTable:
    """Return what the memory has kept of an episode when it is over.

    Args:
        episode: Aligned episode.
        latent_TD: Its latents.
        spacing: Which states are kept; default: as everywhere.
        step_s: Step of the model [s].
        horizons_s: Horizons of the successors [s]; default: one step and 1 s.
    """
    keep = partial(remember, spacing=spacing, step_s=step_s, horizons_s=horizons_s)
    stamp_T, pose_T4 = np.asarray(episode.stamp_T), np.asarray(episode.pose_T4)
    action_TA = np.asarray(episode.action_TA)
    table = keep(stamp_T, pose_T4, latent_TD, action_TA)
    if len(table):
        return table
    # One state without a pose, which no query finds, keeps every array indexable.
    table = keep(stamp_T[:1], np.zeros((1, 4)), latent_TD[:1], action_TA[:1])
    return replace(table, pose_N4=np.full((1, 4), np.nan))


@dataclass(frozen=True)
class ExtraErrors:
    """How much worse than it is the expected pose is made, so that the network learns what to do when it is bad.

    Attributes:
        std_3: Standard errors added after a second: (forward [m], left [m], turn [rad]).
        seed: Of the errors.
    """

    std_3: tuple[float, float, float]
    seed: int

    def told(self, steps: Sequence[int], step_s: float) -> np.ndarray:
        """Return the standard errors added at each horizon; some of them is there at once, the rest grows with time."""
        share_H = 0.3 + 0.7 * np.sqrt(np.array(steps) * step_s)
        result: np.ndarray = share_H[:, None] * np.array(self.std_3)
        return result

    def added(
        self, moved_TH3: np.ndarray, std_TH3: np.ndarray, steps: Sequence[int], step_s: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return displacements with these errors added, and standard errors that tell of them, [T, H, 3] each."""
        extra_H3 = self.told(steps, step_s)
        moved_TH3 = moved_TH3 + extra_H3 * self.draw(len(moved_TH3), step_s)[:, None]
        return moved_TH3, np.sqrt(std_TH3**2 + extra_H3**2)

    def draw(self, count: int, step_s: float, correlation_s: float = 0.5) -> np.ndarray:
        """Return errors of unit variance that change slowly along an episode, [T, 3]."""
        kick_T3 = np.random.default_rng(self.seed).normal(size=(count, 3))
        keep = np.exp(-step_s / correlation_s)
        kick_T3[1:] *= np.sqrt(1.0 - keep**2)
        result: np.ndarray = lfilter([1.0], [1.0, -keep], kick_T3, axis=0)
        return result


def build_sequence(
    episode: Episode,
    latent_TD: np.ndarray,
    motion: MotionModel,
    retrieval: Retrieval,
    steps: Sequence[int],
    step_s: float,
    *,
    known: Known | None = None,
    path: Transition | None = None,
    known_future: bool = False,
    extra: ExtraErrors | None = None,
    table: StateTable | None = None,
) -> TrainingSequence:
    """Return an episode, on the model's step, with all that its memory of what was really seen would have answered.

    Args:
        episode: Aligned episode.
        latent_TD: Its latents.
        motion: Motion model.
        retrieval: Which memories are asked for.
        steps: Horizons in steps.
        step_s: Step of the model [s].
        known: What the graph knew of the poses at each frame, and what its memory kept; default: the measured poses.
        path: Network whose path foresight corrects the expected motion where the future is not known.
        known_future: See ``expected_motion``.
        extra: Errors added to the expected pose.
        table: What the memory has kept; default: of steps and 1 s ahead.
    """
    if table is None:
        table = state_table(kept_poses(episode, known), latent_TD, step_s=step_s)
    stepped = on_step(told_poses(episode, known), latent_TD, step_s)
    episode, latent_TD = stepped.episode, stepped.latent_TD
    moved_TH3, smooth_T3, known_T = expected_motion(episode, motion, steps, step_s, known_future)
    horizons_s = [step * step_s for step in steps]
    std_TH3, own_TH3 = expected_error(motion, horizons_s), _pose_errors(moved_TH3, episode)
    if path is not None and not known_future:
        moved_TH3, std_TH3 = _foreseen(path, episode, latent_TD, moved_TH3, horizons_s, retrieval)
    std_TH3 = np.hypot(std_TH3, np.zeros_like(moved_TH3) if own_TH3 is None else own_TH3)
    if extra is not None:
        moved_TH3, std_TH3 = extra.added(moved_TH3, std_TH3, steps, step_s)
    stamp_T, action_TA = np.array(episode.stamp_T), np.array(episode.action_TA)
    pose_T3 = np.where(known_T[:, None], smooth_T3, np.nan)
    motion_THM = motion_features(np.where(known_T[:, None, None], moved_TH3, np.nan), std_TH3, retrieval)
    expected_TH3 = _moved(pose_T3, moved_TH3)
    return TrainingSequence(
        episode.name,
        latent_TD,
        action_TA,
        stamp_T,
        np.asarray(episode.pose_T4),
        motion_THM,
        expected_TH3,
        table,
        *_anticipated(table, expected_TH3, stamp_T, retrieval),
        *_appearance(table, pose_T3, latent_TD, stamp_T, action_TA, retrieval),
        *_successors(table, horizons_s, step_s),
        revisits(table, pose_T3, stamp_T, retrieval.exclude_recent_s),
        stepped.measured_T,
    )


def told_poses(episode: Episode, known: Known | None) -> Episode:
    """Return an episode with the poses that were known at its frames; without that, the measured ones it has."""
    if known is None:
        return episode
    std_T2 = known.std_T2 if np.isfinite(known.std_T2).any() else None
    return replace(episode, pose_T4=known.pose_T4, pose_std_T2=std_T2, arrivals=None)


def kept_poses(episode: Episode, known: Known | None) -> Episode:
    """Return an episode with the poses that its states were kept with; without that, the measured ones it has."""
    if known is None:
        return episode
    return replace(episode, pose_T4=known.kept_T4, pose_std_T2=None, arrivals=None)


def _pose_errors(moved_TH3: np.ndarray, episode: Episode) -> np.ndarray | None:
    """Return the standard errors of expected poses that come of those of the present ones, [T, H, 3]; None: not told.

    As the predictor has them (``pose_error``), of all frames.
    """
    if episode.pose_std_T2 is None:
        return None
    rows = zip(moved_TH3, np.asarray(episode.pose_T4), np.asarray(episode.pose_std_T2)[:, [0, 0, 1]])
    return np.stack([pose_error(moved_H3, pose_or_none(pose_4), std_3) for moved_H3, pose_4, std_3 in rows])


def _foreseen(
    path: Transition,
    episode: Episode,
    latent_TD: np.ndarray,
    moved_TH3: np.ndarray,
    horizons_s: Sequence[float],
    retrieval: Retrieval,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the displacement as path foresight corrects it, and its standard error, [T, H, 3] each."""
    scale_3 = retrieval.scale_3
    said_TH6 = path_corrections(path, latent_TD, np.asarray(episode.action_TA), moved_TH3 / scale_3, horizons_s)
    return moved_TH3 + said_TH6[..., :3] * scale_3, said_TH6[..., 3:] * scale_3


def revisits(table: StateColumns, pose_T3: np.ndarray, stamp_T: np.ndarray, exclude_recent_s: float) -> np.ndarray:
    """Return for each frame whether a state stored long enough before lies within 1 m and 30 degrees, bool [T]."""
    found = nearest_states(
        table,
        pose_T3,
        stamp_T,
        1,
        radius_m=REVISIT_RADIUS_M,
        yaw_tolerance_rad=REVISIT_YAW_RAD,
        yaw_weight_m=1.0,
        exclude_recent_s=exclude_recent_s,
    )
    return found.index_QK[:, 0] >= 0


def _search(
    table: StateTable,
    pose_T3: np.ndarray,
    stamp_T: np.ndarray,
    retrieval: Retrieval,
    latent_TD: np.ndarray | None,
) -> np.ndarray:
    return nearest_states(
        table,
        pose_T3,
        stamp_T,
        retrieval.anticipated_k if latent_TD is None else retrieval.appearance_k,
        radius_m=retrieval.radius_m,
        yaw_tolerance_rad=retrieval.yaw_tolerance_rad,
        yaw_weight_m=retrieval.yaw_weight_m,
        exclude_recent_s=retrieval.exclude_recent_s,
        latent_QD=latent_TD,
        chunk=256,
    ).index_QK


def _moved(pose_T3: np.ndarray, moved_TH3: np.ndarray) -> np.ndarray:
    cosine_T1, sine_T1 = np.cos(pose_T3[:, 2:]), np.sin(pose_T3[:, 2:])
    x_TH = pose_T3[:, :1] + moved_TH3[..., 0] * cosine_T1 - moved_TH3[..., 1] * sine_T1
    y_TH = pose_T3[:, 1:2] + moved_TH3[..., 0] * sine_T1 + moved_TH3[..., 1] * cosine_T1
    return np.stack([x_TH, y_TH, pose_T3[:, 2:] + moved_TH3[..., 2]], axis=-1)


def _anticipated(
    table: StateTable, expected_TH3: np.ndarray, stamp_T: np.ndarray, retrieval: Retrieval
) -> tuple[np.ndarray, np.ndarray]:
    """Return the anticipated-pose neighbours [T, H, K], -1 where there is none, and their features [T, H, K, F]."""
    columns = [_search(table, pose_T3, stamp_T, retrieval, None) for pose_T3 in np.moveaxis(expected_TH3, 1, 0)]
    index_THK = np.stack(columns, axis=1)
    memory_THK3 = table.pose_N4[index_THK][..., [0, 1, 3]]
    age_s_THK = (stamp_T[:, None, None] - table.stamp_N[index_THK]) * 1e-9
    feature = anticipated_features(offsets_in_frame(memory_THK3, expected_TH3), age_s_THK, retrieval)
    return index_THK, np.where((index_THK >= 0)[..., None], feature, 0.0).astype(np.float32)


def _appearance(
    table: StateTable,
    pose_T3: np.ndarray,
    latent_TD: np.ndarray,
    stamp_T: np.ndarray,
    action_TA: np.ndarray,
    retrieval: Retrieval,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the appearance neighbours [T, K], -1 where there is none, and their features [T, K, F]."""
    index_TK = _search(table, pose_T3, stamp_T, retrieval, latent_TD)
    memory_TK3 = table.pose_N4[index_TK][..., [0, 1, 3]]
    age_s_TK = (stamp_T[:, None] - table.stamp_N[index_TK]) * 1e-9
    difference_TK = np.linalg.norm(table.action_NA[index_TK] - action_TA[:, None], axis=2)
    feature = appearance_features(offsets_in_frame(memory_TK3, pose_T3), age_s_TK, difference_TK, retrieval)
    return index_TK, np.where((index_TK >= 0)[..., None], feature, 0.0).astype(np.float32)


def _successors(table: StateTable, horizons_s: Sequence[float], step_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Return each state's successor at each horizon [H, N, D] and whether it has one [H, N]."""
    count, size = table.latent_ND.shape
    latent_HND = np.zeros((len(horizons_s), count, size), np.float32)
    valid_HN = np.zeros((len(horizons_s), count), bool)
    for row, horizon_s in enumerate(horizons_s):
        column_N, valid_HN[row] = nearest_usable(table.successor_dt_NH, horizon_s, step_s)
        latent_HND[row] = table.successor_NHD[np.arange(count), column_N]
    return latent_HND, valid_HN
