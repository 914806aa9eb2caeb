"""Vision tokens brought to another size, and to another number.

Shape suffixes: B = batch, N = tokens, Q = tokens that come out, D = token size, O = size that comes out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wm_policy.layers import Attention, Block
from wm_policy.shapes import check_counts, check_flags, check_shapes, only_known


class MlpProjector(nn.Module):
    """Two layers on each token.

    Args:
        dim: D.
        out_dim: O.

    Raises:
        InputError: A size is no whole number above 0.
    """

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        check_counts(dim=dim, out_dim=out_dim)
        self.dim = dim
        self.network = nn.Sequential(nn.Linear(dim, out_dim), nn.GELU(), nn.Linear(out_dim, out_dim))

    def forward(self, token_BND: Tensor, known_BN: Tensor | None = None) -> Tensor:
        """Return as many tokens, [B, N, O]; of those that are not known, of no meaning.

        Raises:
            InputError: An argument has another shape.
        """
        result: Tensor = self.network(_read(self.dim, token_BND, known_BN))
        return result


class AttentionPooling(nn.Module):
    """Learned queries that look at the tokens once: 196 tokens become 64.

    Args:
        dim: D.
        out_dim: O.
        queries: Q.
        heads: Of the attention.

    Raises:
        InputError: A size is no whole number above 0, or ``out_dim`` does not divide by the heads.
    """

    def __init__(self, dim: int, out_dim: int, queries: int = 64, heads: int = 4) -> None:
        super().__init__()
        check_counts(dim=dim, out_dim=out_dim, queries=queries, heads=heads)
        self.dim = dim
        self.query = nn.Parameter(0.02 * torch.randn(queries, out_dim))
        self.attention = Attention(out_dim, heads, dim)
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, token_BND: Tensor, known_BN: Tensor | None = None) -> Tensor:
        """Return tokens [B, Q, O]; those that are not known are not looked at.

        Raises:
            InputError: An argument has another shape.
        """
        token_BND = _read(self.dim, token_BND, known_BN)
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

    Raises:
        InputError: A size is no whole number above 0, or ``out_dim`` does not divide by the heads.

    Source: Jaegle et al. 2021, "Perceiver"; the resampler of Alayrac et al. 2022, "Flamingo".
    """

    def __init__(self, dim: int, out_dim: int, latents: int = 64, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        check_counts(dim=dim, out_dim=out_dim, latents=latents, layers=layers, heads=heads)
        self.dim = dim
        self.latent = nn.Parameter(0.02 * torch.randn(latents, out_dim))
        self.look = nn.ModuleList(Block(out_dim, heads, dim) for _ in range(layers))
        self.think = nn.ModuleList(Block(out_dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, token_BND: Tensor, known_BN: Tensor | None = None) -> Tensor:
        """Return tokens [B, Q, O]; those that are not known are not looked at.

        Raises:
            InputError: An argument has another shape.
        """
        token_BND = _read(self.dim, token_BND, known_BN)
        latent_BQO = self.latent.expand(token_BND.size(0), -1, -1)
        for look, think in zip(self.look, self.think):
            latent_BQO = think(look(latent_BQO, token_BND, known_BN))
        result: Tensor = self.norm(latent_BQO)
        return result


def _read(dim: int, token_BND: Tensor, known_BN: Tensor | None) -> Tensor:
    """Return the tokens, zeros in place of those that are not known, after a look at their shape."""
    check_shapes({"D": dim}, token_BND=token_BND, known_BN=known_BN)
    check_flags(known_BN=known_BN)
    return only_known(token_BND, known_BN)
