"""Trains the path foresight: where episodes go on to, beyond holding the present action.

It comes before the rest, because it decides at which poses the memory is asked.

Shape suffixes: B = sequences, L = frames, T = frames of an episode, H = horizons, D = latent size, 3 = displacement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from world_model.models.forecaster import horizon_features
from world_model.models.path import ERROR_SCALE
from world_model.models.transition import Transition
from world_model.runtime.conditioning import MOTION_FEATURES
from world_model.training.budget import budget_of
from world_model.training.config import StageConfig, TrainConfig
from world_model.training.loop import Loop, one_cycle, run_stage
from world_model.training.report import QUIET, Report

_SEQUENCE = 24
_BURN_IN = 4
_BATCH = 48
# Weight of how well its standard errors fit, beside the errors themselves.
_SURENESS = 0.2


@dataclass(frozen=True)
class PathData:
    """Of one episode: latents, actions, held displacement (scaled) and what it missed (NaN: unknown) [T, H, 3]."""

    latent_TD: np.ndarray
    action_TA: np.ndarray
    moved_TH3: np.ndarray
    missed_TH3: np.ndarray


def train_path(
    model: Transition,
    data: Sequence[PathData],
    horizons_s: Sequence[float],
    config: TrainConfig,
    folder: Path | None = None,
    report: Report = QUIET,
) -> None:
    """Train ``model.path`` in place, and nothing else; a run that was killed goes on from its last checkpoint.

    Args:
        model: Transition with its statistics set.
        data: Episodes.
        horizons_s: Times ahead [s].
        config: The run.
        folder: Where checkpoint and log go; None keeps neither.
        report: Told after each step.
    """
    settings = StageConfig(steps=config.path_steps, batch=_BATCH, learning_rate=2e-3, weight_decay=1e-2)
    losses, budget = PathLosses(model, horizons_s), budget_of(config, "path", folder)
    loop = Loop(config, settings, model.path, losses, folder, schedule=one_cycle, budget=budget)
    run_stage(loop, lambda seed: partial(_draw, data, _BATCH, np.random.default_rng(seed)), config.seed, "path", report)


class PathLosses(nn.Module):
    """The path foresight with its losses around it: sequences in, the named terms ``path`` and ``path_error`` out.

    Args:
        model: Transition with its statistics set.
        horizons_s: Times ahead [s].
    """

    code_1HC: Tensor
    scale_3: Tensor

    def __init__(self, model: Transition, horizons_s: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("code_1HC", horizon_features(torch.tensor([list(horizons_s)], dtype=torch.float32)))
        # Errors of this size count alike: metres ahead and aside, radians.
        self.register_buffer("scale_3", torch.tensor(ERROR_SCALE))

    def forward(
        self, latent_BLD: Tensor, action_BLA: Tensor, moved_BLH3: Tensor, missed_BLH3: Tensor
    ) -> dict[str, Tensor]:
        """Return how far off the foresight is, and how well its standard errors fit."""
        said_BLH6 = _run(self.model, latent_BLD, action_BLA, moved_BLH3, self.code_1HC)
        change_BLH3, std_BLH3 = said_BLH6[..., :3], said_BLH6[..., 3:]
        # Far horizons are allowed larger misses, or nothing else would be learned.
        allowed_H1 = torch.sqrt(self.code_1HC[0, :, :1].clamp(min=0.05))
        # Masked before the difference: what is not a number would spoil the gradient even where it is left out.
        known_BLH3 = torch.isfinite(missed_BLH3)
        missed_BLH3 = torch.where(known_BLH3, missed_BLH3, change_BLH3.detach())
        error = ((change_BLH3 - missed_BLH3) / self.scale_3 / allowed_H1)[:, _BURN_IN:]
        std = (std_BLH3 / self.scale_3 / allowed_H1)[:, _BURN_IN:]
        return {
            "path": nn.functional.huber_loss(error, torch.zeros_like(error)),
            "path_error": _SURENESS * _gaussian_nll(error.detach(), std, known_BLH3[:, _BURN_IN:]),
        }


def fit_caution(model: Transition, data: Sequence[PathData], horizons_s: Sequence[float]) -> None:
    """Set by how much the standard errors are too small, at least 1, on episodes that were not learned from."""
    model.path.caution.fill_(1.0)
    squares = []
    for episode in data:
        said_TH6 = path_corrections(model, episode.latent_TD, episode.action_TA, episode.moved_TH3, horizons_s)
        missed_TH3 = episode.missed_TH3 - said_TH6[..., :3]
        squares.append(np.square(missed_TH3 / said_TH6[..., 3:])[np.isfinite(missed_TH3).all(axis=2)])
    square_N3 = np.concatenate(squares)
    if len(square_N3):
        # Far misses (a junction taken the other way) are cut: they say little of the rest.
        factor_3 = np.sqrt(np.minimum(square_N3, 25.0).mean(axis=0))
        model.path.caution.copy_(torch.from_numpy(np.maximum(factor_3, 1.0)))


def last_part(episode: PathData, share: float) -> tuple[PathData, PathData]:
    """Return an episode divided in time; the last part has this share of it."""
    cut = round(len(episode.latent_TD) * (1.0 - share))
    columns = (episode.latent_TD, episode.action_TA, episode.moved_TH3, episode.missed_TH3)
    return PathData(*(column[:cut] for column in columns)), PathData(*(column[cut:] for column in columns))


@torch.inference_mode()
def path_corrections(
    model: Transition, latent_TD: np.ndarray, action_TA: np.ndarray, moved_TH3: np.ndarray, horizons_s: Sequence[float]
) -> np.ndarray:
    """Return what the trained path foresight adds along one episode and its standard error then, [T, H, 6], scaled."""
    code_1HC = horizon_features(torch.tensor([list(horizons_s)], dtype=torch.float32))
    tensors = (torch.from_numpy(np.array(a, np.float32))[None] for a in (latent_TD, action_TA, moved_TH3))
    latent_1TD, action_1TA, moved_1TH3 = tensors
    return _run(model, latent_1TD, action_1TA, moved_1TH3, code_1HC)[0].numpy()


def _gaussian_nll(error: Tensor, std: Tensor, known: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of the errors that are known; far ones are cut: they drown the rest."""
    nll = 0.5 * (error / std).square().clamp(max=25.0) + torch.log(std)
    return torch.where(known, nll, torch.zeros_like(nll)).sum() / known.sum().clamp(min=1)


def _run(model: Transition, latent_BLD: Tensor, action_BLA: Tensor, moved_BLH3: Tensor, code_1HC: Tensor) -> Tensor:
    """Return what the path foresight adds and its standard error then, [B, L, H, 6], scaled."""
    z_BLD = (latent_BLD - model.latent_mean) / model.latent_std
    a_BLA = model.normalise_action(action_BLA)
    state_BP = torch.zeros(len(z_BLD), model.path.state_dim)
    states = []
    for frame in range(z_BLD.size(1)):
        state_BP = model.path.step(z_BLD[:, frame], a_BLA[:, frame], state_BP)
        states.append(state_BP)
    state_XP = torch.stack(states, dim=1).flatten(0, 1)
    moved_XH3 = moved_BLH3.flatten(0, 1)
    motion_XHM = torch.cat([moved_XH3, torch.ones(*moved_XH3.shape[:2], MOTION_FEATURES - 3)], dim=2)
    code_XHC = code_1HC.expand(len(state_XP), -1, -1)
    said_XH6 = model.path(state_XP, z_BLD.flatten(0, 1), a_BLA.flatten(0, 1), motion_XHM, code_XHC)
    result: Tensor = said_XH6.unflatten(0, z_BLD.shape[:2])
    return result


def _draw(data: Sequence[PathData], batch: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
    parts = []
    for index in rng.integers(len(data), size=batch):
        episode = data[index]
        start = int(rng.integers(max(len(episode.latent_TD) - _SEQUENCE, 1)))
        window = slice(start, start + _SEQUENCE)
        parts.append(
            [array[window] for array in (episode.latent_TD, episode.action_TA, episode.moved_TH3, episode.missed_TH3)]
        )
    return tuple(torch.from_numpy(np.stack(column).astype(np.float32)) for column in zip(*parts))
