"""What of a feature map is worth foreseeing: all of it, its principal channels, or only where something is.

Shape suffixes: B = any batch, E = channels, C = channels kept, H and W = rows and columns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from world_model.errors import ConfigError
from world_model.models.world_action import COMPRESSIONS

_LEAST_SPREAD = 1e-4


class FeatureCompressor(nn.Module):
    """Feature maps [B, E, H, W] to targets [B, C, H/stride, W/stride].

    ``full`` keeps every channel, ``projected`` the first principal components of the channels (fitted once, then
    fixed: a projection that learnt from the forecasting loss would learn to be constant), ``occupancy`` one channel
    that says how strongly each cell responds, 0..1.

    Args:
        kind: ``full | projected | occupancy``.
        channels: E.
        projected: C of ``projected``.
        stride: Cells averaged to one along each side.

    Raises:
        ConfigError: An unknown kind, or sizes that do not fit.
    """

    def __init__(self, kind: str, channels: int, projected: int = 32, stride: int = 1) -> None:
        super().__init__()
        if kind not in COMPRESSIONS:
            raise ConfigError(f"compression is {kind!r}, expected one of {COMPRESSIONS}")
        if stride < 1 or projected < 1 or projected > channels:
            raise ConfigError(f"stride is {stride} and projected {projected}, expected 1 or more, at most {channels}")
        self.kind = kind
        self.stride = stride
        self.out_channels = {"full": channels, "projected": projected, "occupancy": 1}[kind]
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("basis", torch.eye(projected, channels))
        self.register_buffer("level", torch.tensor([0.0, 1.0]))

    mean: Tensor
    basis: Tensor
    level: Tensor

    @torch.no_grad()
    def fit(self, map_BEHW: Tensor) -> FeatureCompressor:
        """Take mean, principal channels and typical strength from example maps.

        The components are those of the maps' spatial means, so that averaging a compressed map gives the principal
        components of the pooled embedding.
        """
        pooled_BE = map_BEHW.mean((2, 3))
        self.mean.copy_(pooled_BE.mean(0))
        _, _, rows = torch.linalg.svd(pooled_BE - self.mean, full_matrices=False)
        kept = min(len(rows), len(self.basis))
        self.basis[:kept].copy_(rows[:kept])
        strength = self._strength(map_BEHW)
        self.level.copy_(torch.stack([strength.mean(), strength.std().clamp(min=_LEAST_SPREAD)]))
        return self

    def forward(self, map_BEHW: Tensor) -> Tensor:
        """Return the compressed maps."""
        if self.kind == "projected":
            centred = map_BEHW - self.mean[:, None, None]
            map_BEHW = torch.einsum("ce,behw->bchw", self.basis, centred)
        elif self.kind == "occupancy":
            map_BEHW = torch.sigmoid((self._strength(map_BEHW) - self.level[0]) / self.level[1])
        return torch.nn.functional.avg_pool2d(map_BEHW, self.stride) if self.stride > 1 else map_BEHW

    def compress_pooled(self, embedding_BE: Tensor) -> Tensor:
        """Return what the spatial mean of ``projected`` maps would be, from embeddings: [B, C]."""
        return (embedding_BE - self.mean) @ self.basis.T

    def _strength(self, map_BEHW: Tensor) -> Tensor:
        return map_BEHW.square().mean(1, keepdim=True).sqrt()
