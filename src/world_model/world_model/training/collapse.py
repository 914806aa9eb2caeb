"""Watch for collapse: embeddings that say the same of everything are easy to foresee and good for nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Spread:
    """How much a batch of embeddings varies.

    Attributes:
        variance: Mean variance of a dimension.
        rank: Effective number of dimensions in use: the exponential of the entropy of the normalised singular values.
    """

    variance: float
    rank: float


def spread(embedding_BE: Tensor) -> Spread:
    """Return variance and effective rank of embeddings [B, E].

    Raises:
        ValueError: Fewer than two embeddings.
    """
    if len(embedding_BE) < 2:
        raise ValueError(f"{len(embedding_BE)} embeddings, expected two or more")
    centred = embedding_BE.detach().double() - embedding_BE.detach().double().mean(0)
    values = torch.linalg.svdvals(centred)
    total = values.sum()
    if total <= 1e-12:
        return Spread(0.0, 0.0)
    share = values[values > 0] / total
    return Spread(float(centred.square().mean()), float(torch.exp(-(share * share.log()).sum())))


class CollapseWatch:
    """Compare the spread of embeddings with what it was at the start.

    Args:
        first: Spread before training.
        least_share: Part of the first variance and rank below which the encoder counts as collapsed.
    """

    def __init__(self, first: Spread, least_share: float = 0.1) -> None:
        self._first = first
        self._least_share = least_share

    def verdict(self, now: Spread) -> str | None:
        """Return what collapsed, or None."""
        if now.variance < self._least_share * self._first.variance:
            return f"variance of the embeddings fell from {self._first.variance:.3g} to {now.variance:.3g}"
        if now.rank < self._least_share * self._first.rank:
            return f"effective rank of the embeddings fell from {self._first.rank:.1f} to {now.rank:.1f}"
        return None
