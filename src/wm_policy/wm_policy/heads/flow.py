"""Flow matching: a straight way from noise to the chunk, walked in 10 steps.

Shape suffixes: B = batch, C = condition size, K = steps of a chunk, A = action size.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from wm_policy.heads.base import CHUNK, ActionHead, masked_mean
from wm_policy.heads.denoiser import Denoiser
from wm_policy.shapes import check_counts


class FlowHead(ActionHead):
    """A chunk out of noise along a learned velocity, told by where the way is expected to end.

    Args:
        condition_dim: C.
        action_dim: A.
        chunk: K.
        steps: Of Euler's method.
        hidden: Size of the network.

    Raises:
        InputError: A size is no whole number above 0.

    Source: Lipman et al. 2023, "Flow Matching for Generative Modeling"; Liu et al. 2023, "Rectified Flow".
    """

    takes_noise: ClassVar[bool] = True

    def __init__(
        self, condition_dim: int, action_dim: int, chunk: int = CHUNK, steps: int = 10, hidden: int = 256
    ) -> None:
        super().__init__(condition_dim, action_dim, chunk)
        check_counts(steps=steps, hidden=hidden)
        self.steps = steps
        self.denoiser = Denoiser(condition_dim, action_dim, chunk, hidden)

    def losses(self, condition_BC: Tensor, action_BKA: Tensor, valid_BK: Tensor | None = None) -> dict[str, Tensor]:
        """Return the squared error of the velocity at a random time as ``action``."""
        clean_BKA = self.known_actions(condition_BC, action_BKA, valid_BK)
        noise_BKA = torch.randn_like(clean_BKA)
        time_B = torch.rand(len(clean_BKA), device=clean_BKA.device).to(clean_BKA)
        time_B11 = time_B[:, None, None]
        found_BKA = self.denoiser((1.0 - time_B11) * noise_BKA + time_B11 * clean_BKA, time_B, condition_BC)
        # The error of the velocity is that of the end over the time left, which has no bound at the end itself.
        weight_B11 = (1.0 - time_B11).clamp(min=1.0 / self.steps) ** -2
        return {"action": masked_mean(weight_B11 * (found_BKA - clean_BKA).square(), valid_BK) / self.steps}

    def forward(self, condition_BC: Tensor, noise_BKA: Tensor | None = None) -> Tensor:
        """Return the chunk that this noise becomes."""
        chunk_BKA = self.noise_or_zeros(condition_BC, noise_BKA)
        for step in range(self.steps):
            time_B = torch.full_like(condition_BC[:, 0], step / self.steps)
            end_BKA = self.denoiser(chunk_BKA, time_B, condition_BC)
            # Velocity times step: the way left, over the steps left.
            chunk_BKA = chunk_BKA + (end_BKA - chunk_BKA) / (self.steps - step)
        return chunk_BKA
