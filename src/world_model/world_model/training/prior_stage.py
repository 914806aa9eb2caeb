"""Trains a prior: a transition for robots that fit projections of their own, in one basis that none of them fitted.

Each robot's latents are turned into directions of the features that are common to all, in that robot's own unit and
around its own mean: what is learned from many robots then means the same on a robot never seen.

Shape suffixes: T = frames, N = rows, F = numbers of a feature, D = a robot's latent size, Z = common directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from wm_core.projection import Projection
from world_model.data.episodes import Episode, EpisodeSet
from world_model.errors import DataError
from world_model.models.factory import make_transition
from world_model.models.transition import Transition
from world_model.runtime.artifacts import Artifact
from world_model.runtime.fitting import FRAMES, FeatureCollector
from world_model.runtime.prior import BASIS, KEPT, LARGEST, turning
from world_model.training.config import TrainConfig
from world_model.training.distributed import TransitionRun, fit_transition
from world_model.training.motion_fit import fit_driven, with_measured_errors
from world_model.training.preparation import extra_errors
from world_model.training.report import QUIET, Report
from world_model.training.sequences import TrainingSequence, build_sequence
from world_model.training.stages import set_statistics, track_of
from world_model.training.view_stage import train_views, view_pairs

_BATCH = 256


@dataclass(frozen=True)
class OneRobot:
    """What one robot saw: its episode, features int8 [T, F] and own projection."""

    episode: Episode
    code_TF: np.ndarray
    projection: Projection

    def turned(self, basis_ZF: np.ndarray) -> np.ndarray:
        """Return what it saw in the common directions, in its own unit, float32 [T, Z]."""
        assert self.projection.variance is not None
        to_DZ, _ = turning(self.projection, basis_ZF, self.projection.variance)
        turned_TZ: np.ndarray = np.clip(self.projection.project(self.code_TF) @ to_DZ, -LARGEST, LARGEST)
        return turned_TZ


def robot_of(artifact: Artifact, episode: Episode, frames: int = FRAMES) -> OneRobot:
    """Return what an episode's robot saw, with the projection that it would fit on its first minutes.

    Raises:
        ProjectionError: Its features do not differ.
    """
    network = artifact.features()
    image_TSSC = episode.image_TSSC
    code_TF = np.concatenate(
        [network.encode(np.array(image_TSSC[row : row + _BATCH])) for row in range(0, len(image_TSSC), _BATCH)]
    )
    collector = FeatureCollector(network.space, frames)
    for code_F in code_TF:
        collector.add(code_F)
    return OneRobot(episode, code_TF, collector.fit(artifact.manifest.z_dim))


def common_basis(robots: Sequence[OneRobot], size: int) -> np.ndarray:
    """Return the directions in which robots' latents, each in its own unit, spread most, float32 [Z, F].

    In each the entry of largest magnitude is positive.

    Args:
        robots: Every one counts alike.
        size: Z.
    """
    features = robots[0].projection.space.size
    spread_FF = np.zeros((features, features))
    for robot in robots:
        latent_TD = robot.projection.project(robot.code_TF).astype(np.float64)
        components_DF = robot.projection.components.astype(np.float64)
        assert robot.projection.variance is not None
        spread_DD = latent_TD.T @ latent_TD / (len(latent_TD) * robot.projection.variance)
        spread_FF += components_DF.T @ spread_DD @ components_DF
    _, vector_FF = np.linalg.eigh(spread_FF)
    basis_ZF = vector_FF.T[::-1][:size]
    largest = np.abs(basis_ZF).argmax(axis=1)
    return np.asarray(basis_ZF * np.sign(basis_ZF[np.arange(size), largest])[:, None], np.float32)


def how_the_rest_fades(robots: Sequence[OneRobot], basis_ZF: np.ndarray) -> tuple[float, float]:
    """Return what share of what lies outside the common directions is left after a second, and the power of the time.

    As ``share ** (seconds ** power)``, from the autocorrelation after a half and a whole second.
    """
    kept_2 = np.zeros(2)
    for robot in robots:
        assert robot.projection.variance is not None
        to_DZ, back_ZD = turning(robot.projection, basis_ZF, robot.projection.variance)
        latent_TD = robot.projection.project(robot.code_TF)
        outside_TD = latent_TD - latent_TD @ to_DZ @ back_ZD
        rate_hz = (len(latent_TD) - 1) * 1e9 / float(robot.episode.stamp_T[-1] - robot.episode.stamp_T[0])
        for column, seconds in enumerate((0.5, 1.0)):
            step = round(seconds * rate_hz)
            product = float((outside_TD[step:] * outside_TD[:-step]).sum())
            kept_2[column] += product / float(np.square(outside_TD[:-step]).sum() + 1e-9) / len(robots)
    half, whole = np.clip(kept_2, 0.01, 0.99)
    return float(whole), float(np.clip(np.log2(np.log(whole) / np.log(half)), 0.3, 1.5))


def one_sequence(
    robot: OneRobot, latent_TZ: np.ndarray, config: TrainConfig, step_s: float, known_future: bool
) -> TrainingSequence:
    """Return what the memory of one robot would have answered, its motion fitted on what it did; actions are left out.

    Raises:
        DataError: It has no poses.
    """
    episode = robot.episode
    track = track_of(episode, step_s)
    horizons_s = [step * step_s for step in config.horizons]
    motion = with_measured_errors(fit_driven([track], step_s), [track], step_s, horizons_s)
    sequence = build_sequence(
        episode,
        latent_TZ,
        motion,
        config.retrieval,
        config.horizons,
        step_s,
        known_future=known_future,
        extra=extra_errors(config, episode.name) if known_future else None,
    )
    appearance_TKF = sequence.appearance_feature_TKF.copy()
    appearance_TKF[..., -1] = 0.0
    return replace(sequence, action_TA=np.zeros_like(sequence.action_TA), appearance_feature_TKF=appearance_TKF)


def train_prior(
    config: TrainConfig, data: Path, out: Path, artifact: Artifact, report: Report = QUIET
) -> tuple[Transition, dict[str, float]]:
    """Return a trained prior with its basis among its buffers, and its last losses.

    Args:
        config: The run; ``model.latent_dim`` is the number of common directions.
        data: Set of many robots, one episode each, whose frames come at the artifact's step or on other steps.
        out: Where checkpoints go.
        artifact: Whose features they are.
        report: Told what goes on.

    Raises:
        DataError: No training episodes.
    """
    episodes, step_s = EpisodeSet(data), artifact.manifest.step_s
    if not episodes.names("train"):
        raise DataError(f"{data} has no training episodes")
    robots, held_out = (
        [robot_of(artifact, episode) for episode in episodes.episodes(split)] for split in ("train", "valid")
    )
    report.say(f"encoded {len(robots)} episodes, and {len(held_out)} to validate on")
    basis_ZF = common_basis(robots, config.model.latent_dim)
    # It reads no visual history: one unit of that branch keeps it small.
    model = make_transition(config.model, artifact.manifest.action_dim, history_dim=1)
    model.register_buffer(BASIS, torch.from_numpy(basis_ZF))
    model.register_buffer(KEPT, torch.tensor(how_the_rest_fades(robots, basis_ZF)))
    latents = [robot.turned(basis_ZF) for robot in robots]
    set_statistics(model, latents, [np.zeros((1, artifact.manifest.action_dim), np.float32)])
    if config.view_steps:
        pairs = [view_pairs(robot.episode, z_TZ, config.retrieval) for robot, z_TZ in zip(robots, latents)]
        train_views(model.memory.warp, pairs, model.latent_mean, model.latent_std, config, out / "views", report)
        model.memory.warp.requires_grad_(False)
    model.path.requires_grad_(False)
    train, valid = (_sequences(each, basis_ZF, config, step_s) for each in (robots, held_out))
    report.say(f"prepared {len(train)} episodes, and {len(valid)} to validate on")
    variance_D = torch.full((config.model.latent_dim,), float(np.concatenate(latents).var(axis=0).mean()))
    run = TransitionRun(config, out / "memory", step_s, variance_D, {}, train, valid)
    return model, fit_transition(run, model, report)


def _sequences(
    robots: Sequence[OneRobot], basis_ZF: np.ndarray, config: TrainConfig, step_s: float
) -> list[TrainingSequence]:
    # The future is known of every second one: both of each would take twice as long and show little else.
    return [
        one_sequence(robot, robot.turned(basis_ZF), config, step_s, known_future=bool(number % 2))
        for number, robot in enumerate(robots)
    ]
