"""The robot's own latent as a token, and a feature grid as many.

Shape suffixes: B = batch, N = cells of a grid, D = latent size.
"""

from __future__ import annotations

from torch import Tensor, nn

from wm_policy.errors import InputError


class LatentEncoder(nn.Module):
    """Hands on what the robot's encoder made.

    Args:
        dim: D.
    """

    def __init__(self, dim: int = 32) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, latent: Tensor) -> Tensor:
        """Return tokens [B, N, D] of a latent [B, D] or a grid of features [B, ..., D].

        Raises:
            InputError: Another size than D.
        """
        if latent.size(-1) != self.dim:
            raise InputError(f"latent has size {latent.size(-1)}, expected {self.dim}")
        return latent.unsqueeze(1) if latent.dim() == 2 else latent.flatten(1, -2)
