"""Diffusion: learned on 100 noise levels, drawn in 10 by DDIM; the schedulers are those of diffusers.

Shape suffixes: B = batch, C = condition size, K = steps of a chunk, A = action size.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor

from wm_policy.errors import InputError
from wm_policy.heads.base import CHUNK, ActionHead, masked_mean
from wm_policy.heads.denoiser import Denoiser
from wm_policy.shapes import check_counts


class DiffusionHead(ActionHead):
    """A chunk out of noise.

    Args:
        condition_dim: C.
        action_dim: A.
        chunk: K, the horizon.
        steps: Noise levels in training.
        sampled: Of them visited when a chunk is drawn.
        hidden: Size of the network.

    Raises:
        InputError: A size is no whole number above 0, or more are visited than there are.

    Source: Chi et al. 2023, "Diffusion Policy"; Song et al. 2021, "Denoising Diffusion Implicit Models".
    """

    takes_noise: ClassVar[bool] = True

    def __init__(
        self,
        condition_dim: int,
        action_dim: int,
        chunk: int = CHUNK,
        steps: int = 100,
        sampled: int = 10,
        hidden: int = 256,
    ) -> None:
        super().__init__(condition_dim, action_dim, chunk)
        check_counts(steps=steps, sampled=sampled, hidden=hidden)
        if sampled > steps:
            raise InputError(f"sampled is {sampled}, expected no more than the {steps} steps")
        self.steps = steps
        self.denoiser = Denoiser(condition_dim, action_dim, chunk, hidden)
        # Of a chunk at full noise nothing else is left to predict: the noise itself would be off by its scale.
        self._scheduler = DDIMScheduler(
            num_train_timesteps=steps, beta_schedule="squaredcos_cap_v2", prediction_type="sample", clip_sample=True
        )
        self._scheduler.set_timesteps(sampled)

    def losses(self, condition_BC: Tensor, action_BKA: Tensor, valid_BK: Tensor | None = None) -> dict[str, Tensor]:
        """Return the squared error of the chunk found at a random noise level as ``action``."""
        clean_BKA = self.known_actions(condition_BC, action_BKA, valid_BK)
        level_B = torch.randint(self.steps, (len(clean_BKA),), device=clean_BKA.device)
        noisy_BKA = self._scheduler.add_noise(clean_BKA, torch.randn_like(clean_BKA), level_B)
        found_BKA = self.denoiser(noisy_BKA, level_B.to(clean_BKA) / self.steps, condition_BC)
        return {"action": masked_mean((found_BKA - clean_BKA).square(), valid_BK)}

    def forward(self, condition_BC: Tensor, noise_BKA: Tensor | None = None) -> Tensor:
        """Return the chunk that this noise becomes."""
        chunk_BKA = self.noise_or_zeros(condition_BC, noise_BKA)
        for level in self._scheduler.timesteps.tolist():
            time_B = torch.full_like(condition_BC[:, 0], level / self.steps)
            found_BKA = self.denoiser(chunk_BKA, time_B, condition_BC)
            chunk_BKA = self._scheduler.step(found_BKA, level, chunk_BKA, return_dict=False)[0]
        return chunk_BKA
