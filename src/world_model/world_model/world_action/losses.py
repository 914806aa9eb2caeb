"""How far forecasts are from what was seen; kept outside the models."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from world_model.errors import ConfigError

NORMS = ("l1", "l2")


def forecast_loss(
    foreseen_BF: Tensor, target_BF: Tensor, valid_BF: Tensor, norm: str = "l1", weight_F: Sequence[float] | None = None
) -> Tensor:
    """Return the mean error of the forecasts that have a target.

    Args:
        foreseen_BF: [B, F, ...].
        target_BF: Same shape; no gradient flows into it.
        valid_BF: Which forecasts have a target, bool [B, F].
        norm: ``l1`` or ``l2``.
        weight_F: Weight of each future tick; all alike by default.

    Raises:
        ConfigError: An unknown norm, or weights of another number than F.
    """
    if norm not in NORMS:
        raise ConfigError(f"norm is {norm!r}, expected one of {NORMS}")
    difference = foreseen_BF - target_BF.detach()
    error_BF = (difference.abs() if norm == "l1" else difference.square()).flatten(2).mean(2)
    weight_BF = valid_BF.to(error_BF.dtype)
    if weight_F is not None:
        if len(weight_F) != error_BF.shape[1]:
            raise ConfigError(f"{len(weight_F)} weights for {error_BF.shape[1]} future ticks")
        weight_BF = weight_BF * torch.tensor(weight_F, dtype=error_BF.dtype, device=error_BF.device)
    return (error_BF * weight_BF).sum() / weight_BF.sum().clamp(min=1e-6)
