"""Attention that every part shares: plain products and a softmax, so that every exporter knows it.

Shape suffixes: B = batch, Q = queries, N = tokens, D = token size, H = heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wm_policy.errors import InputError

_NEVER = -1e4


class Attention(nn.Module):
    """Queries look at tokens; those that are not known are not seen.

    Args:
        dim: D.
        heads: H.
        context_dim: Size of the tokens looked at; default: D.

    Raises:
        InputError: ``dim`` does not divide by the heads.
    """

    def __init__(self, dim: int, heads: int = 4, context_dim: int | None = None) -> None:
        super().__init__()
        if dim % heads:
            raise InputError(f"size {dim} does not divide by {heads} heads")
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(context_dim or dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(
        self, query_BQD: Tensor, token_BND: Tensor, known_BN: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """Return what each query found, [B, Q, D]; without any known token a mean of all, of no meaning.

        Args:
            query_BQD: Who looks.
            token_BND: What is looked at.
            known_BN: Which of it is seen; default: all.
            causal: Let each query see only tokens up to its own place; there are as many of both then.
        """
        query_BHQd = self._split(self.query(query_BQD))
        key_BND, value_BND = self.key_value(token_BND).chunk(2, dim=-1)
        score_BHQN: Tensor = query_BHQd @ self._split(key_BND).transpose(2, 3) * (query_BHQd.size(-1) ** -0.5)
        if known_BN is not None:
            score_BHQN = score_BHQN.masked_fill(~known_BN[:, None, None, :], _NEVER)
        if causal:
            future_QN = torch.ones(score_BHQN.shape[-2:], dtype=torch.bool, device=score_BHQN.device).triu(1)
            score_BHQN = score_BHQN.masked_fill(future_QN, _NEVER)
        found_BHQd = score_BHQN.softmax(dim=-1) @ self._split(value_BND)
        result: Tensor = self.out(found_BHQd.transpose(1, 2).flatten(2))
        return result

    def _split(self, value_BXD: Tensor) -> Tensor:
        result: Tensor = value_BXD.unflatten(2, (self.heads, -1)).transpose(1, 2)
        return result


class Block(nn.Module):
    """A transformer layer: attention among tokens, or from them to others, then a network on each.

    Args:
        dim: D.
        heads: H.
        context_dim: Size of the tokens looked at, where they are others; default: D.
    """

    def __init__(self, dim: int, heads: int = 4, context_dim: int | None = None) -> None:
        super().__init__()
        self.norm, self.after = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, context_dim)
        self.network = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(
        self,
        token_BQD: Tensor,
        context_BND: Tensor | None = None,
        known_BN: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Return the tokens, changed by what they saw, [B, Q, D]; see ``Attention.forward``."""
        normed_BQD = self.norm(token_BQD)
        context_BND = normed_BQD if context_BND is None else context_BND
        token_BQD = token_BQD + self.attention(normed_BQD, context_BND, known_BN, causal)
        result: Tensor = token_BQD + self.network(self.after(token_BQD))
        return result


class ZeroGate(nn.Module):
    """``h' = where(valid, h + tanh(alpha) * proj(r), h)`` with alpha = 0: fresh, it changes no bit of h.

    Args:
        dim: Size of h.
        context_dim: Size of r.
    """

    def __init__(self, dim: int, context_dim: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(()))
        self.project = nn.Linear(context_dim, dim)

    def forward(self, h_BD: Tensor, r_BC: Tensor, valid_B: Tensor) -> Tensor:
        """Return h', [B, D]."""
        result: Tensor = torch.where(valid_B.unsqueeze(1), h_BD + torch.tanh(self.alpha) * self.project(r_BC), h_BD)
        return result
