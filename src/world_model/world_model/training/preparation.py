"""Episodes made ready for the transition, in parallel, and what evaluation later compares with."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from world_model.data.encoding import ridge_features
from world_model.data.episodes import EpisodeSet
from world_model.data.known import known_of
from world_model.data.pixel_space import fit_pixel_space
from world_model.models.transition import Transition
from world_model.runtime.artifact_folder import REFERENCE_NAME
from world_model.runtime.motion import MotionModel
from world_model.training.clips import latents_of
from world_model.training.config import TrainConfig
from world_model.training.crew import Crew
from world_model.training.sequences import ExtraErrors, TrainingSequence, build_sequence
from world_model.training.stages import Stages, model_step_s, sample_images, sample_rows

_RIDGE = 1e-3
_Job = tuple[str, np.ndarray]


def make_sequences(
    config: TrainConfig,
    episodes: EpisodeSet,
    names: Sequence[str],
    stages: Stages,
    crew: Crew,
    limit_s: float = math.inf,
) -> list[TrainingSequence]:
    """Return two sequences per episode: with the recorded future actions, and with the last action held.

    Args:
        config: The run.
        episodes: Where the episodes are.
        names: Which of them.
        stages: What came before.
        crew: Who makes them.
        limit_s: No episode is begun after this time, but one for each process; those not begun are left out [s].
    """
    known = {**stages.latents, **stages.held_out}
    jobs = [
        (name, known[name] if name in known else latents_of(stages.encoder, episodes.episode(name), config.model))
        for name in names
    ]
    work = partial(_make_pair, config, episodes.path, stages.motion, stages.transition)
    pairs = crew.map(work, jobs, limit_s=limit_s, at_least=crew.workers)
    return [sequence for pair in pairs if pair is not None for sequence in pair]


def fit_ridge(sequences: Sequence[TrainingSequence], steps: Sequence[int]) -> np.ndarray:
    """Return the regression baseline's weights per horizon, [H, F, D]."""
    weights = []
    for step in steps:
        seen = [e.measured_T[:-step] & e.measured_T[step:] for e in sequences]
        feature_NF = np.concatenate(
            [ridge_features(e.latent_TD, e.action_TA)[:-step][rows] for e, rows in zip(sequences, seen)]
        )
        target_ND = np.concatenate([e.latent_TD[step:][rows] for e, rows in zip(sequences, seen)])
        gram_FF = feature_NF.T.astype(np.float64) @ feature_NF
        gram_FF += _RIDGE * len(feature_NF) * np.eye(len(gram_FF))
        weights.append(np.linalg.solve(gram_FF, feature_NF.T @ target_ND))
    return np.stack(weights).astype(np.float32)


def write_reference(
    path: Path,
    config: TrainConfig,
    episodes: EpisodeSet,
    names: Sequence[str],
    latents: dict[str, np.ndarray],
    sequences: Sequence[TrainingSequence],
) -> None:
    """Write what evaluation compares with: the fixed pixel space and the regression weights."""
    latent_ND = np.concatenate([latents[name][sample_rows(episodes.episode(name), len(names))] for name in names])
    space = fit_pixel_space(sample_images(episodes, names), latent_ND)
    space.save(
        path / REFERENCE_NAME, ridge=fit_ridge(sequences, config.horizons), ridge_steps=np.array(config.horizons)
    )


def _make_pair(
    config: TrainConfig, data: Path, motion: MotionModel, transition: Transition, job: _Job
) -> tuple[TrainingSequence, TrainingSequence]:
    name, latent_TD = job
    episodes = EpisodeSet(data)
    episode, step_s = episodes.episode(name), model_step_s(config, episodes)
    known = known_of(episode, motion, step_s) if config.poses_as_known else None
    make = partial(build_sequence, episode, latent_TD, motion, config.retrieval, config.horizons, step_s, known=known)
    recorded = make(path=transition, known_future=True, extra=extra_errors(config, name))
    return recorded, make(path=transition)


def extra_errors(config: TrainConfig, name: str) -> ExtraErrors | None:
    """Return how much worse the expected pose is made while the actions are known: of every second episode."""
    seed = zlib.crc32(name.encode()) + config.seed
    rng = np.random.default_rng(seed)
    if not (config.extra_error_m or config.extra_error_rad) or rng.random() < 0.5:
        return None
    # Small errors are what sensors have; large ones are a warning example.
    forward, left, turn = rng.random(3) ** 2
    return ExtraErrors(
        (config.extra_error_m * forward, config.extra_error_m * left, config.extra_error_rad * turn), seed
    )
