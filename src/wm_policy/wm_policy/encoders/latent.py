"""The robot's own latent as a token, and a feature grid as many.

Shape suffixes: B = batch, N = cells of a grid, D = latent size.
"""

from __future__ import annotations

from torch import Tensor, nn

from wm_policy.errors import InputError
from wm_policy.shapes import check_counts


class LatentEncoder(nn.Module):
    """Hands on what the robot's encoder made.

    Args:
        dim: D.

    Raises:
        InputError: It is no whole number above 0.
    """

    def __init__(self, dim: int = 32) -> None:
        super().__init__()
        check_counts(dim=dim)
        self.dim = dim

    def forward(self, latent: Tensor) -> Tensor:
        """Return tokens [B, N, D] of a latent [B, D] or a grid of features [B, ..., D].

        Raises:
            InputError: Another size than D, or no batch.
        """
        if not isinstance(latent, Tensor) or latent.dim() < 2 or latent.size(-1) != self.dim:
            found = list(latent.shape) if isinstance(latent, Tensor) else type(latent).__name__
            raise InputError(f"latent has shape {found}, expected [B, {self.dim}] or [B, ..., {self.dim}]")
        return latent.unsqueeze(1) if latent.dim() == 2 else latent.flatten(1, -2)
