"""Episodes turned into samples of a policy: what it would have been told at a frame, and what was done then.

The inputs come out of the same ``Observer`` that runs on the robot; a test holds both together.

Shape suffixes: T = frames, N = samples, S = steps, A = action size, D = latent size, H = times foreseen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wm_policy.heads.trajectory import STEP_S, STEPS
from wm_policy.models.reactive import FORESEEN_S
from wm_policy.runtime.observer import Observation, Observer, ObserverSettings
from world_model.data.encoding import embed_frames, encode_episode
from world_model.data.episodes import Episode
from world_model.data.ticks import tick_rows
from world_model.errors import DataError
from world_model.evaluation.history_gate import history_along
from world_model.runtime.artifacts import Artifact
from world_model.runtime.motion import MotionModel
from world_model.training.displacement import pose_or_none

BURN_IN_S = 2.0
_NS = 1_000_000_000
_COLUMNS = ("episode_N", "stamp_N", "unit_N", "pose_N3")


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples side by side.

    Attributes:
        inputs: Name -> [N, ...], not scaled, NaN where not known.
        targets: ``path`` [N, S, 2] in units and ``path_valid`` [N, S]; ``action`` [N, S, A] as recorded and
            ``action_valid``; ``future`` [N, H, D] and ``future_valid``.
        episode_N: Number of the episode.
        stamp_N: When [ns].
        unit_N: Unit of length [m].
        pose_N3: Where the robot was (smoothed).
    """

    inputs: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]
    episode_N: np.ndarray
    stamp_N: np.ndarray
    unit_N: np.ndarray
    pose_N3: np.ndarray

    def __len__(self) -> int:
        return len(self.stamp_N)

    def rows(self, chosen_N: np.ndarray) -> Samples:
        """Return some of the samples, by numbers or by a mask."""
        return Samples(
            {name: value[chosen_N] for name, value in self.inputs.items()},
            {name: value[chosen_N] for name, value in self.targets.items()},
            *(getattr(self, name)[chosen_N] for name in _COLUMNS),
        )

    def revisits(self) -> np.ndarray:
        """Whether the place was visited before, bool [N]."""
        return np.asarray(self.inputs["memory_valid"].any(axis=1))


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """How samples are made: the policy's view of the past, its motion model, and steps of its chunks."""

    settings: ObserverSettings
    motion: MotionModel
    every: int = 5
    action_steps: int = 16
    use_history: bool = False


def samples_of(artifact: Artifact, episodes: Sequence[Episode], options: SampleOptions) -> Samples:
    """Return the samples of some episodes; each begins with an empty memory.

    Raises:
        DataError: No frame of any has a pose and a future.
    """
    parts = [_of_episode(artifact, episode, options, number) for number, episode in enumerate(episodes)]
    parts = [part for part in parts if len(part)]
    if not parts:
        raise DataError("no episode has poses for long enough to learn from")
    return joined(parts)


def joined(parts: Sequence[Samples]) -> Samples:
    """Return all samples of some, one after the other."""
    rest = [np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS]
    return Samples(
        {name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs},
        {name: np.concatenate([part.targets[name] for part in parts]) for name in parts[0].targets},
        *rest,
    )


def _of_episode(artifact: Artifact, episode: Episode, options: SampleOptions, number: int) -> Samples:
    latent_TD = encode_episode(artifact.encoder(), episode, artifact.manifest.inputs)
    pose_T4, action_TA = np.asarray(episode.pose_T4), np.asarray(episode.action_TA)
    stamp_T = np.asarray(episode.stamp_T)
    observer = Observer(options.settings, options.motion, latent_TD.shape[1], action_TA.shape[1])
    past = histories(artifact, episode, options)
    inputs, kept = [], []
    for row in range(len(episode)):
        action_A = action_TA[row] if np.isfinite(action_TA[row]).all() else None
        observer.observe(Observation(int(stamp_T[row]), latent_TD[row], pose_or_none(pose_T4[row]), action_A))
        late = stamp_T[row] - stamp_T[0] >= BURN_IN_S * _NS
        if row % options.every or not late or observer.pose_3 is None:
            continue
        inputs.append(observer.inputs() | {name: value_TX[row] for name, value_TX in past.items()})
        kept.append((row, observer.unit_m, observer.pose_3))
    rows_N = np.array([each[0] for each in kept], np.int64)
    unit_N = np.array([each[1] for each in kept])
    pose_N3 = np.array([each[2] for each in kept]).reshape(-1, 3)
    targets = _targets(episode, latent_TD, rows_N, unit_N, pose_N3, options)
    stacked = {name: np.stack([each[name] for each in inputs]) for name in inputs[0]} if inputs else {}
    return Samples(stacked, targets, np.full(len(rows_N), number), stamp_T[rows_N], unit_N, pose_N3)


def _targets(
    episode: Episode, latent_TD: np.ndarray, rows_N: np.ndarray, unit_N: np.ndarray, pose_N3: np.ndarray,
    options: SampleOptions,
) -> dict[str, np.ndarray]:  # fmt: skip
    stamp_T = np.asarray(episode.stamp_T)
    path_NS2 = future_path(episode, stamp_T[rows_N], pose_N3) / unit_N[:, None, None]
    when_NS = stamp_T[rows_N][:, None] + np.arange(options.action_steps) * round(options.settings.step_s * _NS)
    action_NSA, action_valid_NS = _at(stamp_T, np.asarray(episode.action_TA, np.float64), when_NS)
    future_NH = stamp_T[rows_N][:, None] + np.array([round(time_s * _NS) for time_s in FORESEEN_S])
    future_NHD, future_valid_NH = _at(stamp_T, latent_TD, future_NH)
    valid_NS = np.isfinite(path_NS2).all(axis=2)
    return {
        "path": np.nan_to_num(path_NS2).astype(np.float32), "path_valid": valid_NS,
        "action": np.nan_to_num(action_NSA), "action_valid": action_valid_NS,
        "future": np.nan_to_num(future_NHD).astype(np.float32), "future_valid": future_valid_NH,
    }  # fmt: skip


def future_path(episode: Episode, stamp_N: np.ndarray, pose_N3: np.ndarray) -> np.ndarray:
    """Return where the robot really came at each step, seen from some poses [m], [N, S, 2]; NaN where not known."""
    known_T = np.isfinite(episode.pose_T4).all(axis=1)
    stamp_T, pose_T4 = np.asarray(episode.stamp_T)[known_T], np.asarray(episode.pose_T4)[known_T]
    wanted_NS = stamp_N[:, None] + np.round(np.arange(1, STEPS + 1) * STEP_S * _NS).astype(np.int64)
    after_NS = np.clip(np.searchsorted(stamp_T, wanted_NS), 1, len(stamp_T) - 1)
    gap_NS = stamp_T[after_NS] - stamp_T[after_NS - 1]
    share_NS1 = ((wanted_NS - stamp_T[after_NS - 1]) / gap_NS)[..., None]
    place_NS2 = pose_T4[after_NS - 1, :2] * (1.0 - share_NS1) + pose_T4[after_NS, :2] * share_NS1
    away_NS2 = place_NS2 - pose_N3[:, None, :2]
    cosine_N1, sine_N1 = np.cos(pose_N3[:, 2:]), np.sin(pose_N3[:, 2:])
    forward_NS = away_NS2[..., 0] * cosine_N1 + away_NS2[..., 1] * sine_N1
    left_NS = away_NS2[..., 1] * cosine_N1 - away_NS2[..., 0] * sine_N1
    known_NS = (wanted_NS <= stamp_T[-1]) & (gap_NS <= 0.5 * _NS)
    return np.where(known_NS[..., None], np.stack([forward_NS, left_NS], axis=-1), np.nan)


def _at(stamp_T: np.ndarray, value_TX: np.ndarray, when_NS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values nearest to some times [N, S, X], and whether there are any within 0.1 s [N, S]."""
    after_NS = np.clip(np.searchsorted(stamp_T, when_NS), 1, len(stamp_T) - 1)
    is_before_NS = when_NS - stamp_T[after_NS - 1] <= stamp_T[after_NS] - when_NS
    row_NS = np.where(is_before_NS, after_NS - 1, after_NS)
    near_NS = np.abs(stamp_T[row_NS] - when_NS) <= 0.1 * _NS
    value_NSX = value_TX[row_NS]
    return value_NSX, near_NS & np.isfinite(value_NSX).all(axis=-1)


def histories(artifact: Artifact, episode: Episode, options: SampleOptions) -> dict[str, np.ndarray]:
    """Return the visual history at each frame [T, N] and its real entries [T, 1], as the slow branch has them.

    None where it is unused.

    Raises:
        DataError: It is to be used, and the artifact has no slow branch.
    """
    if not options.use_history:
        return {}
    sizes = artifact.manifest.world_action
    if sizes is None:
        raise DataError(f"artifact '{artifact.manifest.name}' has no slow branch: there is no visual history to read")
    stamp_T, tick_s = np.asarray(episode.stamp_T), float(sizes["tick_s"])
    rows_K = np.concatenate(tick_rows(stamp_T, tick_s))
    embedding_KE = embed_frames(artifact.world_action(), episode, rows_K)
    history_TN, count_T = history_along(stamp_T, embedding_KE, rows_K, int(sizes["history"]), tick_s)
    return {"history": history_TN, "history_count": count_T[:, None].astype(np.float32)}
