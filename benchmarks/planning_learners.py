"""What steering learns from drives alone: a cloned policy, and an inverse model that is told the time left.

Both read the latent now and the goal's; what was seen later on the same drive stands for a goal. Drives go round
buildings that evaluation never sees.

Shape suffixes: T = frames, P = pairs, D = latent size, A = action size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from wm_sim import DEFAULT_CHANGES, simulate
from world_model.training.config import StageConfig, TrainConfig
from world_model.training.loop import Loop, run_stage
from world_model.training.report import QUIET

FIRST_SEED, DRIVE_S, LONGEST_S, WIDTH, STEPS, BATCH = 100, 60.0, 25.0, 128, 1500, 256
# Times left count in this unit.
_TIME_UNIT_S = 10.0


class Steering(nn.Module):
    """A small network from the latent now, the goal's, and maybe the time left, to an action.

    Args:
        latent_dim: D.
        action_dim: A.
        reads_time: Whether it is told the time left.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, latent_dim: int, action_dim: int, *, reads_time: bool) -> None:
        super().__init__()
        self.reads_time = reads_time
        size = 2 * latent_dim + int(reads_time)
        self.net = nn.Sequential(
            nn.Linear(size, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, action_dim)
        )
        self.register_buffer("mean", torch.zeros(action_dim))
        self.register_buffer("std", torch.ones(action_dim))

    def forward(self, now_BD: Tensor, goal_BD: Tensor, left_s_B: Tensor) -> Tensor:
        """Return actions, [B, A]."""
        given = [now_BD, goal_BD, *([left_s_B[:, None] / _TIME_UNIT_S] if self.reads_time else [])]
        result: Tensor = self.net(torch.cat(given, dim=1)) * self.std + self.mean
        return result


class SteeringLoss(nn.Module):
    """Squared error of the action, each over its spread.

    Args:
        steering: What is trained.
    """

    def __init__(self, steering: Steering) -> None:
        super().__init__()
        self.steering = steering

    def forward(self, now_BD: Tensor, goal_BD: Tensor, left_s_B: Tensor, action_BA: Tensor) -> dict[str, Tensor]:
        """Return the named loss."""
        missed = (self.steering(now_BD, goal_BD, left_s_B) - action_BA) / self.steering.std
        return {"action": missed.square().mean()}


Drive = tuple[np.ndarray, np.ndarray]
"""Latents [T, D] and actions [T, A] of one drive, a step apart."""


def recorded(encode: Callable[[np.ndarray], np.ndarray], seed: int) -> Drive:
    """Return a drive round the building of a seed, frame by frame.

    Args:
        encode: From a picture to a latent [D].
        seed: From ``FIRST_SEED`` on.
    """
    steps = simulate(seed, DRIVE_S, image_size=(64, 64), changes=DEFAULT_CHANGES)
    pairs = [(encode(step.image_HWC), step.action_A) for step in steps]
    return np.stack([latent for latent, _ in pairs]), np.stack([action for _, action in pairs])


def drawn(data: Sequence[Drive], step_s: float, seed: int) -> Callable[[], list[Tensor]]:
    """Return what draws batches: now, a goal up to ``LONGEST_S`` later on the same drive, the time left, the action."""
    rng, furthest = np.random.default_rng(seed), round(LONGEST_S / step_s)
    latent, action = (torch.from_numpy(np.stack(values)) for values in zip(*data))

    def draw() -> list[Tensor]:
        drive = rng.integers(0, len(data), BATCH)
        now = rng.integers(0, latent.shape[1] - 1, BATCH)
        later = np.minimum(now + rng.integers(1, furthest, BATCH), latent.shape[1] - 1)
        left_s = torch.from_numpy((later - now) * step_s).float()
        return [latent[drive, now], latent[drive, later], left_s, action[drive, now]]

    return draw


def train(data: Sequence[Drive], step_s: float, *, reads_time: bool, seed: int = 0, steps: int = STEPS) -> Steering:
    """Return a network trained on drives.

    Args:
        data: The drives, all of one length.
        step_s: Time between their frames [s].
        reads_time: Whether it is told the time left.
        seed: Of its weights and of the draws.
        steps: Optimiser steps.
    """
    torch.manual_seed(seed)
    steering = Steering(data[0][0].shape[1], data[0][1].shape[1], reads_time=reads_time)
    actions = np.concatenate([action for _, action in data])
    steering.mean.copy_(torch.from_numpy(actions.mean(0)))
    steering.std.copy_(torch.from_numpy(actions.std(0) + 1e-3))
    settings = StageConfig(steps=steps, batch=BATCH, learning_rate=2e-3, weight_decay=1e-3)
    loop = Loop(TrainConfig(seed=seed), settings, steering, SteeringLoss(steering), None, weights={})
    run_stage(loop, lambda start: drawn(data, step_s, start), seed, "steering", QUIET)
    return steering
