"""Losses as pure functions, each with a name of its own.

Shape suffixes: B = batch, H = horizons, F = future ticks, D = latent size; images are [B, 3, S, S] in 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from world_model.errors import ConfigError

NORMS = ("l1", "l2")


def horizon_weights(count: int, last_over_first: float) -> Tensor:
    """Return weights [count] that grow geometrically from the first to the last and average 1."""
    if count == 1:
        return torch.ones(1)
    weight_H = torch.logspace(0.0, 1.0, count, base=max(last_over_first, 1e-6))
    return weight_H / weight_H.mean()


def prediction_loss(predicted_BHD: Tensor, target_BHD: Tensor, variance_D: Tensor, weight_H: Tensor) -> Tensor:
    """Return the mean squared error over the variance of each dimension, weighted by horizon: the NMSE itself.

    A target that is not a number was not seen and does not count.
    """
    known_BH = torch.isfinite(target_BHD).all(dim=2)
    target_BHD = torch.where(known_BH.unsqueeze(2), target_BHD, predicted_BHD.detach())
    error_BH = ((predicted_BHD - target_BHD).square() / variance_D).mean(dim=2)
    return (error_BH * weight_H).sum() / known_BH.sum().clamp(min=1)


def reconstruction_loss(decoded_B3SS: Tensor, image_B3SS: Tensor) -> Tensor:
    """Return the mean absolute error of the pictures."""
    return (decoded_B3SS - image_B3SS).abs().mean()


def magnitude_loss(latent_BD: Tensor) -> Tensor:
    """Return the mean squared latent, which shrinks latents towards zero."""
    return latent_BD.square().mean()


def variance_loss(latent_BD: Tensor, least_std: float = 1.0) -> Tensor:
    """Return how far each dimension's spread stays below ``least_std``, which prevents collapse.

    Source: VICReg (Bardes et al. 2022), variance term.
    """
    std_D = torch.sqrt(latent_BD.var(dim=0) + 1e-4)
    return torch.relu(least_std - std_D).mean()


def covariance_loss(latent_BD: Tensor) -> Tensor:
    """Return the mean squared covariance between different dimensions, which keeps them from saying the same.

    Source: VICReg (Bardes et al. 2022), covariance term.
    """
    centred_BD = latent_BD - latent_BD.mean(dim=0)
    covariance_DD = centred_BD.T @ centred_BD / max(len(latent_BD) - 1, 1)
    off_DD = covariance_DD - torch.diag(torch.diag(covariance_DD))
    return off_DD.square().sum() / latent_BD.size(1)


def forecast_loss(foreseen_BF: Tensor, target_BF: Tensor, valid_BF: Tensor, norm: str = "l1") -> Tensor:
    """Return the mean error of the forecasts that have a target, all ticks alike.

    Args:
        foreseen_BF: [B, F, ...].
        target_BF: Same shape; no gradient flows into it.
        valid_BF: Which forecasts have a target, bool [B, F].
        norm: ``l1`` or ``l2``.

    Raises:
        ConfigError: An unknown norm.
    """
    if norm not in NORMS:
        raise ConfigError(f"norm is {norm!r}, expected one of {NORMS}")
    difference = foreseen_BF - target_BF.detach()
    error_BF = (difference.abs() if norm == "l1" else difference.square()).flatten(2).mean(2)
    weight_BF = valid_BF.to(error_BF.dtype)
    return (error_BF * weight_BF).sum() / weight_BF.sum().clamp(min=1e-6)


def total(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the weighted sum of named terms; a term without a weight counts once."""
    values: Sequence[Tensor] = [weights.get(name, 1.0) * value for name, value in terms.items()]
    return torch.stack(list(values)).sum()
