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
from world_model.models.transition import Transition
from world_model.runtime.conditioning import Retrieval, motion_features, offsets_in_frame, spot_features, twin_features
from world_model.runtime.motion import MotionModel, MotionTracker, expected_error
from world_model.training.motion_fit import pose_or_none
from world_model.training.path_stage import path_corrections


@dataclass(frozen=True)
class TrainingSequence:
    """One episode, ready to be sampled. Index arrays are -1 where there is no memory."""

    name: str
    latent_TD: np.ndarray
    action_TA: np.ndarray
    stamp_T: np.ndarray
    pose_T4: np.ndarray
    motion_THM: np.ndarray
    expected_TH3: np.ndarray
    table: StateTable
    spot_index_THK: np.ndarray
    spot_feature_THKF: np.ndarray
    twin_index_TK: np.ndarray
    twin_feature_TKF: np.ndarray
    follow_latent_HND: np.ndarray
    follow_valid_HN: np.ndarray
    revisit_T: np.ndarray


def expected_motion(
    episode: Episode, model: MotionModel, steps: Sequence[int], step_s: float, known_future: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return displacements [T, H, 3] in the present frame, smoothed present poses [T, 3], and what is known [T].

    Args:
        episode: Aligned episode.
        model: Motion model.
        steps: Horizons in steps.
        step_s: Time between frames [s].
        known_future: Use the recorded actions that follow instead of holding the present one.
    """
    tracker = MotionTracker(model, step_s, episode.action_TA.shape[1])
    moved_TH3 = np.zeros((len(episode), len(steps), 3))
    pose_T3 = np.full((len(episode), 3), np.nan)
    known_T = np.zeros(len(episode), bool)
    rows = [step - 1 for step in steps]
    for t in range(len(episode)):
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


def with_pose_errors(
    table: StateTable, noise_m: float, noise_rad: float, seed: int, correlation_s: float = 0.3
) -> StateTable:
    """Return the states with poses that err for fractions of a second, as those of another visit would."""
    rng = np.random.default_rng(seed)
    count = len(table)
    elapsed_s_N = np.diff(table.stamp_N, prepend=table.stamp_N[:1]) * 1e-9
    keep_N = np.exp(-elapsed_s_N / correlation_s)
    kick_N4 = rng.normal(size=(count, 4)) * [noise_m, noise_m, 0.0, noise_rad]
    error_N4 = np.zeros((count, 4))
    error_N4[0] = kick_N4[0]
    for row in range(1, count):
        error_N4[row] = keep_N[row] * error_N4[row - 1] + np.sqrt(1.0 - keep_N[row] ** 2) * kick_N4[row]
    return replace(table, pose_N4=table.pose_N4 + error_N4)


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
        return share_H[:, None] * np.array(self.std_3)

    def draw(self, count: int, step_s: float, correlation_s: float = 0.5) -> np.ndarray:
        """Return errors of unit variance that change slowly along an episode, [T, 3]."""
        kick_T3 = np.random.default_rng(self.seed).normal(size=(count, 3))
        keep = np.exp(-step_s / correlation_s)
        kick_T3[1:] *= np.sqrt(1.0 - keep**2)
        return lfilter([1.0], [1.0, -keep], kick_T3, axis=0)


def build_sequence(
    episode: Episode,
    latent_TD: np.ndarray,
    motion: MotionModel,
    retrieval: Retrieval,
    steps: Sequence[int],
    step_s: float,
    *,
    path: Transition | None = None,
    known_future: bool = False,
    practice_gap_s: float = 0.0,
    table: StateTable | None = None,
    extra: ExtraErrors | None = None,
) -> TrainingSequence:
    """Return an episode with everything its memory would have answered, frame by frame.

    Args:
        episode: Aligned episode.
        latent_TD: Its latents.
        motion: Motion model.
        retrieval: Which memories are asked for.
        steps: Horizons in steps.
        step_s: Time between frames [s].
        path: Network whose path foresight corrects the expected motion where the future is not known.
        known_future: See ``expected_motion``.
        practice_gap_s: See ``TrainConfig``.
        table: What is remembered; default: what this episode leaves behind.
        extra: Errors added to the expected pose.
    """
    moved_TH3, smooth_T3, known_T = expected_motion(episode, motion, steps, step_s, known_future)
    scale_3, horizons_s = retrieval.scale_3, [step * step_s for step in steps]
    std_TH3 = np.broadcast_to(expected_error(motion, horizons_s), moved_TH3.shape)
    if path is not None and not known_future:
        said_TH6 = path_corrections(path, latent_TD, np.asarray(episode.action_TA), moved_TH3 / scale_3, horizons_s)
        moved_TH3, std_TH3 = moved_TH3 + said_TH6[..., :3] * scale_3, said_TH6[..., 3:] * scale_3
    if extra is not None:
        extra_H3 = extra.told(steps, step_s)
        moved_TH3 = moved_TH3 + extra_H3 * extra.draw(len(episode), step_s)[:, None]
        std_TH3 = np.sqrt(std_TH3**2 + extra_H3**2)
    table = table or state_table(episode, latent_TD, step_s=step_s)
    stamp_T = np.asarray(episode.stamp_T)
    pose_T4 = np.asarray(episode.pose_T4)
    pose_T3 = np.where(known_T[:, None], smooth_T3, np.nan)
    expected_TH3 = _moved(pose_T3, moved_TH3)
    spot_THK = np.full((len(episode), len(steps), retrieval.spot_k), -1, np.int64)
    for column in range(len(steps)):
        ahead_ns = round(steps[column] * step_s * 1e9) if practice_gap_s else 0
        spot_THK[:, column] = _search(
            table, expected_TH3[:, column], stamp_T + ahead_ns, retrieval, None, practice_gap_s
        )
    twin_TK = _search(table, pose_T3, stamp_T, retrieval, latent_TD, practice_gap_s)
    spot_feature = _spot_features(table, spot_THK, expected_TH3, stamp_T, retrieval)
    twin_feature = _twin_features(table, twin_TK, pose_T3, stamp_T, np.asarray(episode.action_TA), retrieval)
    follow_HND, follow_valid_HN = _followers(table, horizons_s, step_s)
    motion_THM = motion_features(np.where(known_T[:, None, None], moved_TH3, np.nan), std_TH3, retrieval)
    return TrainingSequence(
        episode.name,
        latent_TD,
        np.array(episode.action_TA),
        np.array(episode.stamp_T),
        pose_T4,
        motion_THM,
        expected_TH3,
        table,
        spot_THK,
        spot_feature,
        twin_TK,
        twin_feature,
        follow_HND,
        follow_valid_HN,
        revisits(table, pose_T3, np.asarray(episode.stamp_T), retrieval.exclude_recent_s),
    )


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
    practice_gap_s: float,
) -> np.ndarray:
    return nearest_states(
        table,
        pose_T3,
        np.asarray(stamp_T),
        retrieval.spot_k if latent_TD is None else retrieval.twin_k,
        radius_m=retrieval.radius_m,
        yaw_tolerance_rad=retrieval.yaw_tolerance_rad,
        yaw_weight_m=retrieval.yaw_weight_m,
        exclude_recent_s=practice_gap_s or retrieval.exclude_recent_s,
        both_ways=practice_gap_s > 0,
        latent_QD=latent_TD,
        chunk=256,
    ).index_QK


def _moved(pose_T3: np.ndarray, moved_TH3: np.ndarray) -> np.ndarray:
    cosine_T1, sine_T1 = np.cos(pose_T3[:, 2:]), np.sin(pose_T3[:, 2:])
    x_TH = pose_T3[:, :1] + moved_TH3[..., 0] * cosine_T1 - moved_TH3[..., 1] * sine_T1
    y_TH = pose_T3[:, 1:2] + moved_TH3[..., 0] * sine_T1 + moved_TH3[..., 1] * cosine_T1
    return np.stack([x_TH, y_TH, pose_T3[:, 2:] + moved_TH3[..., 2]], axis=-1)


def _spot_features(
    table: StateTable, index_THK: np.ndarray, expected_TH3: np.ndarray, stamp_T: np.ndarray, retrieval: Retrieval
) -> np.ndarray:
    memory_THK3 = table.pose_N4[index_THK][..., [0, 1, 3]]
    age_s_THK = _age_s(stamp_T[:, None, None], table.stamp_N[index_THK], retrieval)
    feature = spot_features(offsets_in_frame(memory_THK3, expected_TH3), age_s_THK, retrieval)
    return np.where((index_THK >= 0)[..., None], feature, 0.0).astype(np.float32)


def _twin_features(
    table: StateTable,
    index_TK: np.ndarray,
    pose_T3: np.ndarray,
    stamp_T: np.ndarray,
    action_TA: np.ndarray,
    retrieval: Retrieval,
) -> np.ndarray:
    memory_TK3 = table.pose_N4[index_TK][..., [0, 1, 3]]
    age_s_TK = _age_s(stamp_T[:, None], table.stamp_N[index_TK], retrieval)
    difference_TK = np.linalg.norm(table.action_NA[index_TK] - action_TA[:, None], axis=2)
    feature = twin_features(offsets_in_frame(memory_TK3, pose_T3), age_s_TK, difference_TK, retrieval)
    return np.where((index_TK >= 0)[..., None], feature, 0.0).astype(np.float32)


def _age_s(stamp: np.ndarray, memory: np.ndarray, retrieval: Retrieval) -> np.ndarray:
    """Return ages; in practice within one episode they may be less than any real one, and then count as the least."""
    return np.maximum((stamp - memory) * 1e-9, retrieval.exclude_recent_s)


def _followers(table: StateTable, horizons_s: Sequence[float], step_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Return each state's successor at each horizon [H, N, D] and whether it has one [H, N]."""
    count, size = table.latent_ND.shape
    latent_HND = np.zeros((len(horizons_s), count, size), np.float32)
    valid_HN = np.zeros((len(horizons_s), count), bool)
    for row, horizon_s in enumerate(horizons_s):
        column_N, valid_HN[row] = nearest_usable(table.successor_dt_NH, horizon_s, step_s)
        latent_HND[row] = table.successor_NHD[np.arange(count), column_N]
    return latent_HND, valid_HN
