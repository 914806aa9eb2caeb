"""Losses as pure functions, each with a name of its own.

Shape suffixes: B = batch, H = horizons, D = latent size; images are [B, 3, S, S] in 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional


def horizon_weights(count: int, last_over_first: float) -> Tensor:
    """Return weights [count] that grow geometrically from the first to the last and average 1."""
    if count == 1:
        return torch.ones(1)
    weight_H = torch.logspace(0.0, 1.0, count, base=max(last_over_first, 1e-6))
    return weight_H / weight_H.mean()


def prediction_loss(predicted_BHD: Tensor, target_BHD: Tensor, variance_D: Tensor, weight_H: Tensor) -> Tensor:
    """Return the mean squared error over the variance of each dimension, weighted by horizon: the NMSE itself."""
    error_BH = ((predicted_BHD - target_BHD).square() / variance_D).mean(dim=2)
    return (error_BH * weight_H).mean()


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


def balanced_kl(posterior_logits: Tensor, prior_logits: Tensor, share: float = 0.8, free_nats: float = 1.0) -> Tensor:
    """Return the KL divergence between categorical posterior and prior [..., groups, classes], balanced.

    The prior is drawn to the posterior with weight ``share``, the posterior to the prior with the rest, and what
    lies below ``free_nats`` costs nothing more.

    Source: DreamerV2/V3 (Hafner et al.), KL balancing and free bits.
    """

    def kl(first: Tensor, second: Tensor) -> Tensor:
        first_log, second_log = first.log_softmax(-1), second.log_softmax(-1)
        value = (first_log.exp() * (first_log - second_log)).sum(-1).sum(-1)
        return value.clamp(min=free_nats).mean()

    return share * kl(posterior_logits.detach(), prior_logits) + (1 - share) * kl(
        posterior_logits, prior_logits.detach()
    )


def reward_loss(expected_X: Tensor, reward_X: Tensor) -> Tensor:
    """Return the mean squared error over the frames whose reward is known (not NaN), 0 where none is."""
    known_X = torch.isfinite(reward_X)
    # Replaced before the difference: what is not a number would spoil the gradient even where it is left out.
    error_X = expected_X - torch.where(known_X, reward_X, expected_X.detach())
    return error_X.square().sum() / known_X.sum().clamp(min=1)


def goes_on_loss(logit_X: Tensor, goes_on_X: Tensor) -> Tensor:
    """Return the cross-entropy of whether an episode goes on (1) or ends (0) over the frames where it is known."""
    known_X = torch.isfinite(goes_on_X)
    truth_X = torch.where(known_X, goes_on_X, torch.zeros_like(goes_on_X))
    cost_X = functional.binary_cross_entropy_with_logits(logit_X, truth_X, reduction="none")
    return (cost_X * known_X).sum() / known_X.sum().clamp(min=1)


def total(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the weighted sum of named terms; a term without a weight counts once."""
    values: Sequence[Tensor] = [weights.get(name, 1.0) * value for name, value in terms.items()]
    return torch.stack(list(values)).sum()
