"""A causal transformer over binned actions: one value after the other, each knowing those before.

Shape suffixes: B = batch, C = condition size, K = steps of a chunk, A = action size, L = values (K * A), H = hidden
size, V = bins.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from wm_policy.errors import InputError
from wm_policy.heads.base import CHUNK, ActionHead, masked_mean
from wm_policy.layers import Block
from wm_policy.shapes import check_counts

BINS = 256


class TransformerHead(ActionHead):
    """A chunk value by value, each drawn from 256 bins of -1..1.

    Args:
        condition_dim: C.
        action_dim: A.
        chunk: K.
        layers: Transformer layers.
        steps: Longest chunk that it has positions for.
        hidden: H.
        bins: V.

    Raises:
        InputError: A size is no whole number above 0, or the chunk is longer than ``steps``.
    """

    takes_noise: ClassVar[bool] = True

    def __init__(
        self,
        condition_dim: int,
        action_dim: int,
        chunk: int = CHUNK,
        layers: int = 4,
        steps: int = 100,
        hidden: int = 128,
        bins: int = BINS,
    ) -> None:
        super().__init__(condition_dim, action_dim, chunk)
        check_counts(layers=layers, steps=steps, hidden=hidden, bins=bins)
        if chunk > steps:
            raise InputError(f"chunk {chunk} is longer than the {steps} steps that there are positions for")
        self.bins = bins
        self.condition = nn.Linear(condition_dim, hidden)
        self.value = nn.Embedding(bins, hidden)
        self.position = nn.Parameter(0.02 * torch.randn(steps * action_dim, hidden))
        self.blocks = nn.ModuleList(Block(hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.logits = nn.Linear(hidden, bins)

    def bin_of(self, action: Tensor) -> Tensor:
        """Return the bin of each value; beyond -1..1 the outermost, of what is no number the first."""
        place = ((action + 1.0) * (0.5 * self.bins)).floor().clamp(0, self.bins - 1)
        index: Tensor = place.nan_to_num(nan=0.0).long()
        return index

    def value_of(self, index: Tensor) -> Tensor:
        """Return the middle of each bin."""
        # Whole numbers beside halves are more than 16 bits hold.
        exact = (index.to(_exact(self.position.dtype)) + 0.5) * (2.0 / self.bins) - 1.0
        result: Tensor = exact.to(self.position.dtype)
        return result

    def losses(self, condition_BC: Tensor, action_BKA: Tensor, valid_BK: Tensor | None = None) -> dict[str, Tensor]:
        """Return the cross-entropy per value as ``action``."""
        clean_BKA = self.known_actions(condition_BC, action_BKA, valid_BK)
        index_BL = self.bin_of(clean_BKA).flatten(1)
        logit_BLV = self._logits(condition_BC, index_BL[:, :-1])
        loss_BL = nn.functional.cross_entropy(logit_BLV.transpose(1, 2), index_BL, reduction="none")
        loss_BKA = loss_BL.unflatten(1, (self.chunk, self.action_dim))
        return {"action": masked_mean(torch.where(clean_BKA.isnan(), torch.nan, loss_BKA), valid_BK)}

    def forward(self, condition_BC: Tensor, noise_BKA: Tensor | None = None) -> Tensor:
        """Return the chunk whose values lie where the noise does among their probabilities; zeros: the medians.

        Where these are no numbers neither is the value, as of every other head.
        """
        noise_BL = self.noise_or_zeros(condition_BC, noise_BKA).flatten(1)
        share_BL = 0.5 * (1.0 + torch.erf(noise_BL.to(_exact(noise_BL.dtype)) / math.sqrt(2.0)))
        index_BL, lost = self.bin_of(noise_BL[:, :0]), []
        for position in range(self.chunk * self.action_dim):
            logit_BV = self._logits(condition_BC, index_BL)[:, -1]
            # A sum of 256 probabilities in 16 bits stops growing on the way.
            total_BV = logit_BV.to(_exact(logit_BV.dtype)).softmax(dim=1).cumsum(dim=1)
            share_B1 = share_BL[:, position : position + 1]
            lost.append(total_BV[:, -1:].isnan() | share_B1.isnan())
            chosen_B1 = (total_BV < share_B1).long().sum(dim=1, keepdim=True).clamp(max=self.bins - 1)
            index_BL = torch.cat([index_BL, chosen_B1], dim=1)
        value_BL = torch.where(torch.cat(lost, dim=1), torch.nan, self.value_of(index_BL))
        chunk_BKA: Tensor = value_BL.unflatten(1, (self.chunk, self.action_dim))
        return chunk_BKA

    def _logits(self, condition_BC: Tensor, index_BL: Tensor) -> Tensor:
        """Return the logits of the first value and of each that follows those given, [B, L + 1, V]."""
        token_BLH = torch.cat([self.condition(condition_BC).unsqueeze(1), self.value(index_BL)], dim=1)
        token_BLH = token_BLH + self.position[: token_BLH.size(1)]
        for block in self.blocks:
            token_BLH = block(token_BLH, causal=True)
        result: Tensor = self.logits(self.norm(token_BLH))
        return result


def _exact(dtype: torch.dtype) -> torch.dtype:
    """Return the type to count in: 32 bits at least."""
    return torch.promote_types(dtype, torch.float32)
