"""Trains the path foresight: where drives go on to, beyond holding the present action.

It comes before the rest, because it decides at which poses the memory is asked.

Shape suffixes: B = sequences, L = frames, T = frames of a drive, H = horizons, D = latent size, 3 = displacement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from world_model.conditioning import MOTION_FEATURES
from world_model.models.forecaster import horizon_features
from world_model.models.transition import Transition

# Errors of this size count alike: metres ahead and aside, radians.
_SCALE_3 = (0.1, 0.1, 0.2)
_SEQUENCE = 24
_BURN_IN = 4


@dataclass(frozen=True)
class PathData:
    """One drive: latents, actions, held displacement (scaled) [T, H, 3] and what it missed [T, H, 3] (NaN: unknown)."""

    latent_TD: np.ndarray
    action_TA: np.ndarray
    moved_TH3: np.ndarray
    missed_TH3: np.ndarray


def missed_displacement(pose_T4: np.ndarray, moved_TH3: np.ndarray, steps: Sequence[int]) -> np.ndarray:
    """Return true minus expected displacement in the present frame, [T, H, 3], NaN where the future is not known."""
    count = len(pose_T4)
    missed_TH3 = np.full(moved_TH3.shape, np.nan)
    for column, step in enumerate(steps):
        rows = np.arange(count - step)
        delta = pose_T4[rows + step] - pose_T4[rows]
        cosine, sine = np.cos(pose_T4[rows, 3]), np.sin(pose_T4[rows, 3])
        forward = delta[:, 0] * cosine + delta[:, 1] * sine
        left = delta[:, 1] * cosine - delta[:, 0] * sine
        truth = np.stack([forward, left, delta[:, 3]], axis=1)
        difference = truth - moved_TH3[rows, column]
        difference[:, 2] = (difference[:, 2] + np.pi) % (2 * np.pi) - np.pi
        missed_TH3[rows, column] = difference
    return missed_TH3


def train_path(
    model: Transition,
    data: Sequence[PathData],
    horizons_s: Sequence[float],
    *,
    steps: int = 1500,
    batch: int = 48,
    seed: int = 0,
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> None:
    """Train ``model.path`` in place, and nothing else.

    Args:
        model: Transition with its statistics set.
        data: Drives.
        horizons_s: Times ahead [s].
        steps: Optimiser steps.
        batch: Sequences per step.
        seed: Of the draws.
        progress: Called with step and loss.
    """
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(model.path.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=max(steps, 10), pct_start=0.1)
    code_1HC = horizon_features(torch.tensor([list(horizons_s)], dtype=torch.float32))
    scale_3 = torch.tensor(_SCALE_3)
    model.path.train()
    for step in range(steps):
        latent_BLD, action_BLA, moved_BLH3, missed_BLH3 = _draw(data, batch, rng)
        change_BLH3 = _run(model, latent_BLD, action_BLA, moved_BLH3, code_1HC)
        # Far horizons are allowed larger misses, or nothing else would be learned.
        allowed_H1 = torch.sqrt(code_1HC[0, :, :1].clamp(min=0.05))
        # Masked before the difference: what is not a number would spoil the gradient even where it is left out.
        known_BLH3 = torch.isfinite(missed_BLH3)
        error = (change_BLH3 - torch.where(known_BLH3, missed_BLH3, change_BLH3.detach())) / scale_3 / allowed_H1
        error = error[:, _BURN_IN:]
        loss = torch.nn.functional.huber_loss(error, torch.zeros_like(error))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.path.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 99:
            progress(step + 1, float(loss.detach()))
    model.path.eval()


@torch.inference_mode()
def path_corrections(
    model: Transition, latent_TD: np.ndarray, action_TA: np.ndarray, moved_TH3: np.ndarray, horizons_s: Sequence[float]
) -> np.ndarray:
    """Return what the trained path foresight adds along one drive, [T, H, 3], scaled like ``moved_TH3``."""
    code_1HC = horizon_features(torch.tensor([list(horizons_s)], dtype=torch.float32))
    tensors = (torch.from_numpy(np.array(a, np.float32))[None] for a in (latent_TD, action_TA, moved_TH3))
    latent_1TD, action_1TA, moved_1TH3 = tensors
    return _run(model, latent_1TD, action_1TA, moved_1TH3, code_1HC)[0].numpy()


def _run(model: Transition, latent_BLD: Tensor, action_BLA: Tensor, moved_BLH3: Tensor, code_1HC: Tensor) -> Tensor:
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
    change_XH3 = model.path(state_XP, z_BLD.flatten(0, 1), a_BLA.flatten(0, 1), motion_XHM, code_XHC)
    return change_XH3.unflatten(0, z_BLD.shape[:2])


def _draw(data: Sequence[PathData], batch: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
    parts = []
    for index in rng.integers(len(data), size=batch):
        drive = data[index]
        start = int(rng.integers(max(len(drive.latent_TD) - _SEQUENCE, 1)))
        window = slice(start, start + _SEQUENCE)
        parts.append([array[window] for array in (drive.latent_TD, drive.action_TA, drive.moved_TH3, drive.missed_TH3)])
    return tuple(torch.from_numpy(np.stack(column).astype(np.float32)) for column in zip(*parts))
