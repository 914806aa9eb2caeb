"""What the forecasts are compared with: a copy of the encoder that the loss can never train."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from world_model.errors import ConfigError
from world_model.models.world_action import WorldActionEncoder, pool_views

TARGETS = ("frozen", "ema")


class TargetEncoder(nn.Module):
    """A frozen copy of a trained encoder, or one that follows it slowly (exponential moving average).

    Either way it runs without gradient, and the loss cannot reach it.

    Args:
        encoder: The encoder to copy. For ``frozen`` it must be trained: a copy of an untrained one would have the
            predictor foresee noise.
        kind: ``frozen | ema``.
        momentum: First and last momentum of ``ema``; in between a cosine.
        steps: Updates over which the momentum rises.

    Raises:
        ConfigError: An unknown kind, or a momentum outside 0..1.
    """

    done: Tensor

    def __init__(
        self,
        encoder: WorldActionEncoder,
        kind: str = "frozen",
        momentum: tuple[float, float] = (0.99, 1.0),
        steps: int = 1000,
    ) -> None:
        super().__init__()
        if kind not in TARGETS:
            raise ConfigError(f"target is {kind!r}, expected one of {TARGETS}")
        if not 0.0 <= momentum[0] <= momentum[1] <= 1.0:
            raise ConfigError(f"momentum is {momentum}, expected two values in 0..1 that do not fall")
        self.kind = kind
        self._momentum = momentum
        self._steps = max(steps, 1)
        # A buffer, so that a checkpoint knows how far the momentum has risen.
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))
        self.copy = copy.deepcopy(encoder).requires_grad_(False)

    @property
    def momentum(self) -> float:
        """Momentum of the next update."""
        part = min(int(self.done) / self._steps, 1.0)
        first, last = self._momentum
        return last - (last - first) * (1.0 + math.cos(math.pi * part)) / 2.0

    @torch.no_grad()
    def update(self, encoder: WorldActionEncoder) -> None:
        """Follow the encoder by one step; a frozen target stays as it is."""
        if self.kind == "frozen":
            return
        for mine, theirs in zip(self.copy.parameters(), encoder.parameters()):
            mine.lerp_(theirs, 1.0 - self.momentum)
        for kept, now in zip(self.copy.buffers(), encoder.buffers()):
            kept.copy_(now)
        self.done += 1

    @torch.no_grad()
    def maps(self, image_BVHWC: Tensor) -> Tensor:
        """Return feature maps per view [B, V, E, h, w]."""
        return self.copy.maps(image_BVHWC)

    @torch.no_grad()
    def forward(self, image_BVHWC: Tensor, valid_BV: Tensor) -> Tensor:
        """Return target embeddings [B, E]."""
        return pool_views(self.copy.maps(image_BVHWC), valid_BV)
