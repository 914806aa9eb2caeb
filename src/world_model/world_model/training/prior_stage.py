"""Trains a prior: a forecast for robots that fit projections of their own, in one basis that none of them fitted.

Each robot's latents are turned into directions of the features that are common to all, in that robot's own unit and
around its own mean: what is learned from many robots then means the same on a robot never seen.

Shape suffixes: T = frames, N = rows, F = numbers of a feature, D = a robot's latent size, Z = common directions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wm_core.projection import Projection
from world_model.data.episodes import Episode, EpisodeSet
from world_model.data.rates import on_step
from world_model.errors import DataError
from world_model.export.prior import write_prior
from world_model.models.factory import make_transition
from world_model.models.forecaster import horizon_features
from world_model.models.transition import Transition
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.conditioning import offsets_in_frame
from world_model.runtime.fitting import FRAMES, gathered
from world_model.runtime.prior import BASIS, KEPT, LARGEST, turning
from world_model.training.config import TrainConfig
from world_model.training.loop import Draw, Loop, one_cycle, run_stage
from world_model.training.losses import horizon_weights, prediction_loss
from world_model.training.report import QUIET, Report
from world_model.training.stages import set_statistics

_ACTIONS = 2
_JUDGED = 4096
# One of eight normal numbers lies below.
_UNKNOWN = -1.15


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
    code_TF = network.encode_all(episode.image_TSSC)
    collector, _ = gathered(network.space, zip(code_TF, episode.stamp_T.tolist()), frames)
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


class Rows(NamedTuple):
    """What a prior learns from: the present of many frames and what followed, [N, ...].

    Attributes:
        latent_NZ: The present in the common directions.
        change_NZ: By how much it changed in the last step.
        moved_NH3: Where the robot was later, in its frame: forward, left [m], turn [rad].
        target_NHZ: What it saw then; NaN where nothing was seen.
    """

    latent_NZ: np.ndarray
    change_NZ: np.ndarray
    moved_NH3: np.ndarray
    target_NHZ: np.ndarray


def rows_of(robot: OneRobot, basis_ZF: np.ndarray, steps: Sequence[int], step_s: float) -> Rows:
    """Return the frames of one robot, on steps of the model, whose pose is known then and later.

    Args:
        robot: What it saw.
        basis_ZF: Common directions.
        steps: Horizons in steps.
        step_s: Step of the model [s].
    """
    stepped = on_step(robot.episode, robot.turned(basis_ZF), step_s)
    latent_TZ, pose_T4, seen_T = stepped.latent_TD, np.asarray(stepped.episode.pose_T4), stepped.measured_T
    row_N = np.arange(1, len(latent_TZ) - max(steps))
    row_N = row_N[seen_T[row_N] & np.isfinite(pose_T4[row_N]).all(axis=1)]
    later_NH = row_N[:, None] + np.array(steps)
    moved_NH3 = offsets_in_frame(pose_T4[later_NH][..., [0, 1, 3]], pose_T4[row_N][:, [0, 1, 3]])
    target_NHZ = np.where(seen_T[later_NH][..., None], latent_TZ[later_NH], np.float32(np.nan))
    change_NZ = latent_TZ[row_N] - latent_TZ[row_N - 1]
    return Rows(latent_TZ[row_N], change_NZ, moved_NH3.astype(np.float32), target_NHZ)


class PriorLosses(nn.Module):
    """The forecast without memory with its loss around it; expected motion errs as a robot's own model does.

    Args:
        model: With its statistics set; of it only ``blind`` learns.
        config: The run.
        step_s: Step of the model [s].
        variance: The unit of errors, of all directions alike.
    """

    def __init__(self, model: Transition, config: TrainConfig, step_s: float, variance: float) -> None:
        super().__init__()
        self.model, self._config, self._variance = model, config, variance
        self._horizon_H = torch.tensor(config.horizons) * step_s
        self._weight_H = horizon_weights(len(config.horizons), config.horizon_weight)

    def forward(
        self, latent_BZ: Tensor, change_BZ: Tensor, moved_BH3: Tensor, target_BHZ: Tensor, draw_BH6: Tensor
    ) -> dict[str, Tensor]:
        """Return the error of the forecast; ``draw_BH6`` are normal numbers that its motion errs by."""
        model, count = self.model, len(latent_BZ)
        z_BZ = (latent_BZ - model.latent_mean) / model.latent_std
        motion_BHM = self._motion(moved_BH3, draw_BH6)
        code_BHC = horizon_features(self._horizon_H.expand(count, -1))
        hidden_BF, a_BA = latent_BZ.new_zeros(count, model.context.hidden_dim), latent_BZ.new_zeros(count, _ACTIONS)
        said_BHZ = model.blind(hidden_BF, z_BZ, change_BZ / model.latent_std, a_BA, motion_BHM, code_BHC)
        said_BHZ = said_BHZ * model.latent_std + model.latent_mean
        variance_Z = torch.full_like(model.latent_std, self._variance)
        return {"prediction": prediction_loss(said_BHZ, target_BHZ, variance_Z, self._weight_H)}

    def _motion(self, moved_BH3: Tensor, draw_BH6: Tensor) -> Tensor:
        """Return motion as it would be expected, with its standard error; of one in eight nothing is known."""
        most_3 = torch.tensor([self._config.extra_error_m, self._config.extra_error_m, self._config.extra_error_rad])
        grown_H1 = (0.3 + 0.7 * torch.sqrt(self._horizon_H))[:, None]
        std_BH3 = grown_H1 * most_3 * draw_BH6[:, :1, :3].square()
        known_B11 = (draw_BH6[:, :1, 5:] > _UNKNOWN).to(moved_BH3.dtype)
        expected_BH3 = moved_BH3 + std_BH3 * draw_BH6[:, :1, 3:].flip(2)
        return torch.cat([expected_BH3, torch.ones_like(moved_BH3[..., :1]), std_BH3], dim=2) * known_B11


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
    keep_to_the_present(model)
    variance = float(np.concatenate(latents).var(axis=0).mean())
    losses = PriorLosses(model, config, step_s, variance)
    learned, judging = (
        _columns([rows_of(robot, basis_ZF, config.horizons, step_s) for robot in each]) for each in (robots, held_out)
    )
    report.say(f"{len(learned[0])} frames, and {len(judging[0]) if judging else 0} to validate on")
    loop = Loop(config, config.optimiser, model, losses, out / "prior_run", schedule=one_cycle)
    run_stage(loop, partial(_draws, learned, config.optimiser.batch), config.seed, "prior", report)
    with torch.no_grad():
        errors = losses(*_draws(judging or learned, _JUDGED, config.seed)())
    return model.eval(), {name: float(value) for name, value in errors.items()}


@torch.no_grad()
def keep_to_the_present(model: Transition) -> None:
    """Let neither context nor memories say anything: neither was worth its time on robots that were not trained on."""
    for parameter in model.context.parameters():
        parameter.zero_()
    for branch in (model.context, model.memory, model.path, model.history):
        branch.requires_grad_(False)


def _columns(rows: Sequence[Rows]) -> list[Tensor]:
    return [torch.from_numpy(np.concatenate(column)) for column in zip(*rows)]


def _draws(columns: Sequence[Tensor], batch: int, seed: int) -> Draw:
    generator = torch.Generator().manual_seed(seed)

    def draw() -> list[Tensor]:
        row_B = torch.randint(len(columns[0]), (batch,), generator=generator)
        noise = torch.randn(batch, columns[2].size(1), 6, generator=generator)
        return [*(column[row_B] for column in columns), noise]

    return draw


def run_prior(config: TrainConfig, data: Path, out: Path, report: Report = QUIET) -> None:
    """Train a prior as configured and write it to ``out/prior``.

    Raises:
        ArtifactError: The artifact that ``config.features`` names is missing, or makes no features.
        DataError: No training episodes.
    """
    started, artifact = time.monotonic(), load_artifact(config.features)
    feature_id = artifact.features().space.feature_id
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    model, losses = train_prior(config, data, out, artifact, report)
    manifest = EpisodeSet(data).manifest
    account = {
        "config": config.to_json(),
        "data": {"source": manifest.source, "episodes": sorted(manifest.episodes)},
        "seconds": round(time.monotonic() - started),
        "last_losses": {name: round(value, 5) for name, value in losses.items()},
    }
    write_prior(out / "prior", model, feature_id, account)
    report.say(f"prior of features {feature_id} in {out / 'prior'}")
