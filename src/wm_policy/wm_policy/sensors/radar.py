"""Radar, as a map of returns or as points.

Shape suffixes: B = batch, C = channels, H W = rows and columns, N = points, D = token size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wm_policy.errors import InputError

POINT_NUMBERS = 5


class RadarEncoder(nn.Module):
    """A map [B, C, H, W], or points [B, N, 5]: x, y [m], vx, vy [m/s], rcs [dBsm], to one token.

    Args:
        dim: D.
        channels: C of maps.
    """

    def __init__(self, dim: int = 128, channels: int = 1) -> None:
        super().__init__()
        self.dim, self.channels = dim, channels
        self.map = nn.Sequential(
            nn.Conv2d(channels, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(64, dim, 3, 2, 1),
        )
        self.point = nn.Sequential(nn.Linear(POINT_NUMBERS, 64), nn.ReLU(), nn.Linear(64, dim))

    def forward(self, radar: Tensor, known_BN: Tensor | None = None) -> Tensor:
        """Return a token [B, 1, D].

        Args:
            radar: Map or points.
            known_BN: Which points there are, bool; default: all. Where there is none the token says nothing.

        Raises:
            InputError: Neither of both shapes.
        """
        if radar.dim() == 4 and radar.size(1) == self.channels:
            return torch.as_tensor(self.map(radar)).mean(dim=(2, 3)).unsqueeze(1)
        if radar.dim() != 3 or radar.size(2) != POINT_NUMBERS:
            expected = f"[B, {self.channels}, H, W] or [B, N, {POINT_NUMBERS}]"
            raise InputError(f"radar has shape {list(radar.shape)}, expected {expected}")
        if not radar.size(1):
            return radar.new_zeros(len(radar), 1, self.dim)
        found_BND = self.point(radar)
        if known_BN is None:
            return torch.as_tensor(found_BND).amax(dim=1, keepdim=True)
        largest_B1D = found_BND.masked_fill(~known_BN.unsqueeze(-1), -1e6).amax(dim=1, keepdim=True)
        return torch.where(known_BN.any(dim=1)[:, None, None], largest_B1D, torch.zeros_like(largest_B1D))
