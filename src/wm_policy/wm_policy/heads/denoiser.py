"""The network that diffusion and flow share: a noisy chunk, a time and a condition in, a chunk out.

Shape suffixes: B = batch, C = condition size, K = steps of a chunk, A = action size, H = hidden size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_FASTEST = 1000.0


class Denoiser(nn.Module):
    """Residual blocks on the whole chunk, each scaled and shifted by time and condition.

    Args:
        condition_dim: C.
        action_dim: A.
        chunk: K.
        hidden: H.
        blocks: Residual blocks.

    Source: Perez et al. 2018, "FiLM"; the conditioning of Chi et al. 2023, "Diffusion Policy".
    """

    frequency_F: Tensor

    def __init__(self, condition_dim: int, action_dim: int, chunk: int, hidden: int = 256, blocks: int = 3) -> None:
        super().__init__()
        self.shape = (chunk, action_dim)
        frequency_F = torch.exp(torch.linspace(0.0, math.log(_FASTEST), 32))
        self.register_buffer("frequency_F", frequency_F)
        self.context = nn.Sequential(nn.Linear(condition_dim + 64, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.enter = nn.Linear(chunk * action_dim, hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden, elementwise_affine=False) for _ in range(blocks))
        self.films = nn.ModuleList(nn.Linear(hidden, 2 * hidden) for _ in range(blocks))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.SiLU(), nn.Linear(2 * hidden, hidden))
            for _ in range(blocks)
        )
        self.leave = nn.Linear(hidden, chunk * action_dim)

    def forward(self, noisy_BKA: Tensor, time_B: Tensor, condition_BC: Tensor) -> Tensor:
        """Return a chunk [B, K, A].

        Args:
            noisy_BKA: What is known of the chunk.
            time_B: 0..1.
            condition_BC: What is known besides.
        """
        angle_BF = time_B.unsqueeze(1) * self.frequency_F
        code_BF = torch.cat([angle_BF.sin(), angle_BF.cos()], dim=1)
        context_BH = nn.functional.silu(self.context(torch.cat([condition_BC, code_BF], dim=1)))
        x_BH = self.enter(noisy_BKA.flatten(1))
        for norm, film, block in zip(self.norms, self.films, self.blocks):
            scale_BH, shift_BH = film(context_BH).chunk(2, dim=1)
            x_BH = x_BH + block(norm(x_BH) * (1.0 + scale_BH) + shift_BH)
        result: Tensor = self.leave(x_BH).unflatten(1, self.shape)
        return result
