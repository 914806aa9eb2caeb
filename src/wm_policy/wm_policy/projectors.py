"""Vision tokens brought to another size, and to another number.

Shape suffixes: B = batch, N = tokens, Q = tokens that come out, D = token size, O = size that comes out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wm_policy.layers import Attention, Block


class MlpProjector(nn.Module):
    """Two layers on each token.

    Args:
        dim: D.
        out_dim: O.
    """

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(dim, out_dim), nn.GELU(), nn.Linear(out_dim, out_dim))

    def forward(self, token_BND: Tensor, known_BN: Tensor | None = None) -> Tensor:
        """Return as many tokens, [B, N, O]."""
        result: Tensor = self.network(token_BND)
        return result


class AttentionPooling(nn.Module):
    """Learned queries that look at the tokens once: 196 tokens become 64.

    Args:
        dim: D.
        out_dim: O.
        queries: Q.
        heads: Of the attention.
    """

    def __init__(self, dim: int, out_dim: int, queries: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.query = nn.Parameter(0.02 * torch.randn(queries, out_dim))
        self.attention = Attention(out_dim, heads, dim)
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, token_BND: Tensor, known_BN: Tensor | None = None) -> Tensor:
        """Return tokens [B, Q, O]; those that are not known are not looked at."""
        query_BQO = self.query.expand(token_BND.size(0), -1, -1)
        result: Tensor = self.norm(self.attention(query_BQO, token_BND, known_BN))
        return result


class Perceiver(nn.Module):
    """Learned latents that look at the tokens, layer after layer.

    Args:
        dim: D.
        out_dim: O.
        latents: Q.
        layers: Times they look.
        heads: Of the attention.

    Source: Jaegle et al. 2021, "Perceiver"; the resampler of Alayrac et al. 2022, "Flamingo".
    """

    def __init__(self, dim: int, out_dim: int, latents: int = 64, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.latent = nn.Parameter(0.02 * torch.randn(latents, out_dim))
        self.look = nn.ModuleList(Block(out_dim, heads, dim) for _ in range(layers))
        self.think = nn.ModuleList(Block(out_dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, token_BND: Tensor, known_BN: Tensor | None = None) -> Tensor:
        """Return tokens [B, Q, O]; those that are not known are not looked at."""
        latent_BQO = self.latent.expand(token_BND.size(0), -1, -1)
        for look, think in zip(self.look, self.think):
            latent_BQO = think(look(latent_BQO, token_BND, known_BN))
        result: Tensor = self.norm(latent_BQO)
        return result
