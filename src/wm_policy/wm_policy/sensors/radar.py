"""Radar, as a map of returns or as points.

Shape suffixes: B = batch, C = channels, H W = rows and columns, N = points, D = token size.
"""

from __future__ import annotations

from torch import Tensor, nn

from wm_policy.errors import InputError
from wm_policy.sensors.points import largest, those_there
from wm_policy.shapes import check_counts, check_shape

POINT_NUMBERS = 5


class RadarEncoder(nn.Module):
    """A map [B, C, H, W], or points [B, N, 5]: x, y [m], vx, vy [m/s], rcs [dBsm], to one token.

    Args:
        dim: D.
        channels: C of maps.

    Raises:
        InputError: A size is no whole number above 0.
    """

    def __init__(self, dim: int = 128, channels: int = 1) -> None:
        super().__init__()
        check_counts(dim=dim, channels=channels)
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
            known_BN: Which points there are, bool; default: all whose numbers are finite. Where there is none the token
                says nothing.

        Raises:
            InputError: Neither of both shapes, or points that are known of a map.
        """
        if not isinstance(radar, Tensor):
            raise InputError(f"radar is a {type(radar).__name__}, expected a tensor")
        if radar.dim() == 4 and radar.size(1) == self.channels:
            if known_BN is not None:
                raise InputError("known_BN says which points there are, but radar is a map")
            found_BD: Tensor = self.map(radar).mean(dim=(2, 3))
            return found_BD.unsqueeze(1)
        if radar.dim() != 3 or radar.size(2) != POINT_NUMBERS:
            expected = f"[B, {self.channels}, H, W] or [B, N, {POINT_NUMBERS}]"
            raise InputError(f"radar has shape {list(radar.shape)}, expected {expected}")
        if known_BN is not None:
            check_shape("known_BN", known_BN, "BN", {"B": radar.size(0), "N": radar.size(1)})
        point_BN5, known_BN = those_there(radar, known_BN)
        return largest(self.point(point_BN5), known_BN).unsqueeze(1)
