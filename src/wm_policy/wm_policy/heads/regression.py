"""Heads that give one answer: the mean of what was done, or a mean and how far from it.

Between two ways that are equally good they go straight on; use one that draws where that matters.

Shape suffixes: B = batch, C = condition size, K = steps of a chunk, A = action size.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from wm_policy.heads.base import CHUNK, ActionHead, masked_mean, mlp

LOG_STD_LEAST, LOG_STD_MOST = -20.0, 2.0


class MlpHead(ActionHead):
    """Two hidden layers of 256 and a chunk, by squared error.

    Args:
        condition_dim: C.
        action_dim: A.
        chunk: K.
        hidden: Size of each hidden layer.
    """

    def __init__(
        self, condition_dim: int, action_dim: int, chunk: int = CHUNK, hidden: tuple[int, ...] = (256, 256)
    ) -> None:
        super().__init__(condition_dim, action_dim, chunk)
        self.network = mlp([condition_dim, *hidden, chunk * action_dim])

    def forward(self, condition_BC: Tensor, noise_BKA: Tensor | None = None) -> Tensor:
        """Return the chunk; noise changes nothing."""
        self.check(condition_BC=condition_BC, noise_BKA=noise_BKA)
        result: Tensor = self.network(condition_BC).unflatten(1, (self.chunk, self.action_dim))
        return result

    def losses(self, condition_BC: Tensor, action_BKA: Tensor, valid_BK: Tensor | None = None) -> dict[str, Tensor]:
        """Return the squared error as ``action``."""
        known_BKA = self.known_actions(condition_BC, action_BKA, valid_BK)
        return {"action": masked_mean((self(condition_BC) - known_BKA).square(), valid_BK)}


class GaussianHead(ActionHead):
    """A mean and a standard deviation of each action, by likelihood; the logarithm of the latter lies in -20..2.

    Args:
        condition_dim: C.
        action_dim: A.
        chunk: K.
        hidden: Size of each hidden layer.
    """

    takes_noise: ClassVar[bool] = True

    def __init__(
        self, condition_dim: int, action_dim: int, chunk: int = CHUNK, hidden: tuple[int, ...] = (256, 256)
    ) -> None:
        super().__init__(condition_dim, action_dim, chunk)
        self.network = mlp([condition_dim, *hidden, chunk * action_dim * 2])

    def distribution(self, condition_BC: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the standard deviation, [B, K, A] each."""
        both_BKA2 = self.network(condition_BC).unflatten(1, (self.chunk, self.action_dim, 2))
        return both_BKA2[..., 0], both_BKA2[..., 1].clamp(LOG_STD_LEAST, LOG_STD_MOST)

    def forward(self, condition_BC: Tensor, noise_BKA: Tensor | None = None) -> Tensor:
        """Return the mean plus so many standard deviations as the noise says."""
        noise_BKA = self.noise_or_zeros(condition_BC, noise_BKA)
        mean_BKA, log_std_BKA = self.distribution(condition_BC)
        return mean_BKA + log_std_BKA.exp() * noise_BKA

    def losses(self, condition_BC: Tensor, action_BKA: Tensor, valid_BK: Tensor | None = None) -> dict[str, Tensor]:
        """Return the negative log-likelihood per action as ``action``."""
        known_BKA = self.known_actions(condition_BC, action_BKA, valid_BK)
        mean_BKA, log_std_BKA = self.distribution(condition_BC)
        off_BKA = (known_BKA - mean_BKA) * torch.exp(-log_std_BKA)
        nll_BKA = 0.5 * off_BKA.square() + log_std_BKA + 0.5 * math.log(2.0 * math.pi)
        return {"action": masked_mean(nll_BKA, valid_BK)}
