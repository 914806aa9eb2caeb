"""What remembered views look like from a pose nearby, one by one and fitted together.

Shape suffixes: K = views, D = latent size, 3 = (forward, left, turn), scaled; ... = any leading dimensions.
"""

import torch
from torch import Tensor, nn


def local_linear_weights(weight_K: Tensor, offset_K3: Tensor, ridge_3: Tensor) -> Tensor:
    """Return weights [..., K] that fit a plane through weighted neighbours and read it at offset zero.

    The weighted mean reads a slope wrongly when the neighbours lie to one side; the ridge keeps directions in which
    they do not spread from being extrapolated.

    Args:
        weight_K: Non-negative weights that sum to at most 1, [..., K].
        offset_K3: Where each neighbour lies, seen from where the value is wanted, [..., K, 3].
        ridge_3: Added to the weighted variance of each direction.

    Source: locally weighted linear regression, in its equivalent-kernel form.
    """
    total = weight_K.sum(dim=-1, keepdim=True).clamp(min=1e-6)
    share_K = weight_K / total
    mean_3 = (share_K.unsqueeze(-1) * offset_K3).sum(dim=-2)
    centred_K3 = offset_K3 - mean_3.unsqueeze(-2)
    weighted_K3 = share_K.unsqueeze(-1) * centred_K3
    x, y, t = centred_K3[..., 0], centred_K3[..., 1], centred_K3[..., 2]
    wx, wy, wt = weighted_K3[..., 0], weighted_K3[..., 1], weighted_K3[..., 2]
    a = (wx * x).sum(-1) + ridge_3[0]
    b = (wy * y).sum(-1) + ridge_3[1]
    c = (wt * t).sum(-1) + ridge_3[2]
    d, e, f = (wx * y).sum(-1), (wx * t).sum(-1), (wy * t).sum(-1)
    # Inverse of the symmetric 3x3 matrix [[a, d, e], [d, b, f], [e, f, c]] times the mean offset, written out so that
    # it exports everywhere.
    determinant = a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)
    m0, m1, m2 = mean_3[..., 0], mean_3[..., 1], mean_3[..., 2]
    s0 = (b * c - f * f) * m0 + (e * f - d * c) * m1 + (d * f - e * b) * m2
    s1 = (e * f - d * c) * m0 + (a * c - e * e) * m1 + (d * e - a * f) * m2
    s2 = (d * f - e * b) * m0 + (d * e - a * f) * m1 + (a * b - d * d) * m2
    slope_3 = torch.stack([s0, s1, s2], dim=-1) / determinant.unsqueeze(-1)
    return weight_K * (1.0 - (centred_K3 * slope_3.unsqueeze(-2)).sum(dim=-1))


class ViewWarp(nn.Module):
    """What a remembered view looks like from a pose nearby.

    A turn shifts the picture and a step scales it. Over a fraction of a fine pattern's wavelength that is a linear map
    of the latent, further away it is not: a small residual network reads the latent together with the offset as
    values, sines and cosines, and what it adds vanishes with the offset.
    """

    def __init__(self, latent_dim: int, width: int = 128) -> None:
        super().__init__()
        self.enter = nn.Linear(latent_dim + 12, width)
        self.hidden = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width)])
        self.leave = nn.Linear(width, latent_dim)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, latent_KD: Tensor, offset_K3: Tensor) -> Tensor:
        """Return the latents [..., K, D] as seen from offset zero; a fifth of the length scale (0.2 rad) is far."""
        near_K3 = 5.0 * offset_K3
        wave_K6 = torch.cat([torch.sin(2.0 * near_K3), torch.cos(2.0 * near_K3)], dim=-1)
        code_KW = nn.functional.silu(self.enter(torch.cat([latent_KD, near_K3, wave_K6, near_K3.abs()], dim=-1)))
        for layer in self.hidden:
            code_KW = code_KW + nn.functional.silu(layer(code_KW))
        distance_K1 = torch.sqrt(near_K3.square().sum(dim=-1, keepdim=True) + 1e-6) - 1e-3
        result: Tensor = latent_KD + torch.tanh(distance_K1) * self.leave(code_KW)
        return result
