"""The losses of a recurrent state-space model as pure functions.

Shape suffixes: X = frames of all sequences.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


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
