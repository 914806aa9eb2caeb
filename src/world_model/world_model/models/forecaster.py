"""Forecasts at any horizon: without memory, and with memories copied, corrected and gated.

All latents in here are normalised (zero mean, unit variance per dimension).
Shape suffixes: B = batch, H = horizons, K = memories, D = latent size, F = hidden size, N = visual history values.
"""

import torch
from torch import Tensor, nn

from world_model.runtime.conditioning import MOTION_FEATURES, SPOT_FEATURES, TWIN_FEATURES

HORIZON_FEATURES = 3


def horizon_features(horizon_BH: Tensor) -> Tensor:
    """Return a smooth code of the time ahead [s], [B, H, HORIZON_FEATURES]."""
    return torch.stack([horizon_BH, torch.sqrt(horizon_BH), torch.log(horizon_BH / 0.05) / 3.7], dim=-1)


def motion_code(motion_BHM: Tensor) -> Tensor:
    """Return the expected motion with its standard errors as logarithms, [B, H, MOTION_FEATURES]."""
    error_BH3 = torch.log(motion_BHM[..., 4:] + 0.01) * 0.5 + 1.0
    return torch.cat([motion_BHM[..., :4], error_BH3 * motion_BHM[..., 3:4]], dim=-1)


class BlindForecaster(nn.Module):
    """The forecast without memory: present latent plus what context, action and expected motion say."""

    def __init__(self, latent_dim: int, action_dim: int, hidden_dim: int, width: int) -> None:
        super().__init__()
        size = hidden_dim + 2 * latent_dim + action_dim + MOTION_FEATURES + HORIZON_FEATURES
        self.net = nn.Sequential(
            nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, latent_dim)
        )
        # One step ahead nearly everything is linear: each part of the horizon's code has its own linear map.
        self.linear = nn.Linear(2 * latent_dim + action_dim, HORIZON_FEATURES * latent_dim)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(
        self, hidden_BF: Tensor, z_BD: Tensor, change_BD: Tensor, a_BA: Tensor, motion_BHM: Tensor, code_BHC: Tensor
    ) -> Tensor:
        """Return the latents expected at each horizon, [B, H, D]; ``change_BD`` is by how much the last one changed."""
        linear_BX = self.linear(torch.cat([z_BD, change_BD, a_BA], dim=1))
        linear_BCD = linear_BX.unflatten(1, (code_BHC.size(2), z_BD.size(1)))
        present = torch.cat([hidden_BF, z_BD, change_BD, a_BA], dim=1)
        present_BHX = present.unsqueeze(1).expand(-1, code_BHC.size(1), -1)
        bent_BHD = self.net(torch.cat([present_BHX, motion_code(motion_BHM), code_BHC], dim=2))
        return z_BD.unsqueeze(1) + torch.matmul(code_BHC, linear_BCD) + bent_BHD


class HistoryGate(nn.Module):
    """Adds the slow visual history to the context through a gate that starts at zero."""

    def __init__(self, history_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(history_dim, hidden_dim)
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, hidden_BF: Tensor, history_BN: Tensor, count_B: Tensor) -> Tensor:
        """Return the context, changed only where the history has real entries."""
        added_BF = hidden_BF + torch.tanh(self.alpha) * self.proj(history_BN)
        return torch.where((count_B > 0).unsqueeze(1), added_BF, hidden_BF)


class TwinReader(nn.Module):
    """Compares the present with memories that resemble it: what differs now, and how far the pose is off."""

    def __init__(self, latent_dim: int, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(TWIN_FEATURES + 2 * latent_dim + 1, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.score = nn.Linear(width, 1)
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(
        self, z_BD: Tensor, twin_BKD: Tensor, feature_BKF: Tensor, valid_BK: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return tokens [B, K, W], present minus remembered [B, D], pose offset [B, 3], weight of any twin [B, 1]."""
        change_BKD = z_BD.unsqueeze(1) - twin_BKD
        distance_BK1 = change_BKD.square().mean(dim=2, keepdim=True)
        token_BKW = self.net(torch.cat([feature_BKF, twin_BKD, change_BKD, torch.sqrt(distance_BK1 + 1e-6)], dim=2))
        score_BK = self.score(token_BKW).squeeze(2) - 4.0 * distance_BK1.squeeze(2)
        score_BK = torch.where(valid_BK, score_BK, torch.full_like(score_BK, -1e4))
        nothing_B1 = self.nothing.expand(z_BD.size(0), 1) - 4.0
        weight_BK = torch.softmax(torch.cat([score_BK, nothing_B1], dim=1), dim=1)[:, :-1]
        weight_BK1 = weight_BK.unsqueeze(2)
        change_BD = (weight_BK1 * change_BKD).sum(dim=1)
        offset_B3 = (weight_BK1 * feature_BKF[:, :, :3]).sum(dim=1)
        return token_BKW, change_BD, offset_B3, weight_BK.sum(dim=1, keepdim=True)


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
        return latent_KD + torch.tanh(distance_K1) * self.leave(code_KW)


class MemoryForecaster(nn.Module):
    """Copies what was seen where the robot will be, corrects it, and gates it by how well it fits.

    Spots are memories near the expected pose: their values are interpolated there. Twins are memories that resemble
    the present: their successors at the horizon are candidates too, and what differs between the twins and the present
    (light, moved things, a pose that is off) corrects both.
    """

    def __init__(self, latent_dim: int, hidden_dim: int, width: int) -> None:
        super().__init__()
        self.twins = TwinReader(latent_dim, width)
        self.token_in = nn.Linear(SPOT_FEATURES + 3 + 2 * latent_dim, width)
        self.around_in = nn.Linear(2 * latent_dim + 4 + HORIZON_FEATURES + MOTION_FEATURES, width)
        self.token_mix = nn.Linear(2 * width, width)
        self.follow_mix = nn.Linear(width + 2 * latent_dim + HORIZON_FEATURES, width)
        self.spot_score = nn.Linear(width, 1)
        self.follow_score = nn.Linear(width, 1)
        self.relocate = nn.Parameter(torch.full((3,), 0.1))
        self.sharpness = nn.Parameter(torch.tensor([3.0, 3.0, 3.0]))
        self.blur = nn.Parameter(torch.full((3,), 0.5))
        self.ridge = nn.Parameter(torch.full((3,), -4.0))
        self.warp = ViewWarp(latent_dim, 2 * width)
        self.token_correction = nn.Linear(width, latent_dim)
        self.follow_carry = nn.Linear(latent_dim, latent_dim, bias=False)
        self.carry = nn.Linear(latent_dim, latent_dim, bias=False)
        self.fix = nn.Sequential(
            nn.Linear(hidden_dim + 2 * width + 4 * latent_dim + HORIZON_FEATURES + 5, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, 2 * width),
            nn.SiLU(),
        )
        self.correction = nn.Linear(2 * width, latent_dim)
        self.gate = nn.Linear(2 * width, latent_dim)
        self.alpha = nn.Parameter(torch.zeros(latent_dim))
        for layer in (self.carry, self.follow_carry, self.correction, self.token_correction):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.correction.bias)
        nn.init.zeros_(self.token_correction.bias)

    def forward(
        self,
        hidden_BF: Tensor,
        z_BD: Tensor,
        base_BHD: Tensor,
        motion_BHM: Tensor,
        code_BHC: Tensor,
        spot_BHKD: Tensor,
        spot_feature_BHKF: Tensor,
        spot_valid_BHK: Tensor,
        twin_BKD: Tensor,
        twin_feature_BKF: Tensor,
        twin_valid_BK: Tensor,
        follow_BHKD: Tensor,
        follow_valid_BHK: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the forecast [B, H, D] and how much the memories had to say [B, H]."""
        horizons, spots = code_BHC.size(1), spot_BHKD.size(2)
        twin_BKW, change_BD, off_B3, seen_B1 = self.twins(z_BD, twin_BKD, twin_feature_BKF, twin_valid_BK)
        change_BHD = change_BD.unsqueeze(1).expand(-1, horizons, -1)
        off_BH3 = off_B3.unsqueeze(1).expand(-1, horizons, -1)
        seen_BH1 = seen_B1.unsqueeze(1).expand(-1, horizons, -1)
        around_BHW = self.around_in(
            torch.cat([base_BHD, change_BHD, off_BH3, seen_BH1, code_BHC, motion_code(motion_BHM)], dim=2)
        )
        # The twins say how far this session's poses are off from the remembered ones: shift the offsets by a share.
        offset_BHK3 = spot_feature_BHKF[..., :3] - (self.relocate * off_BH3).unsqueeze(2)
        token_BHKW, pooled_BHW, count_BH1 = self._spot_tokens(
            base_BHD, around_BHW, offset_BHK3, spot_BHKD, spot_feature_BHKF, spot_valid_BHK
        )
        nearness_BHK = (self._closeness(motion_BHM).unsqueeze(2) * offset_BHK3.square()).sum(dim=3)
        moved_BKD = z_BD.unsqueeze(1) - twin_BKD
        follow_BHKW = self._follow_tokens(base_BHD, code_BHC, twin_BKW, moved_BKD, follow_BHKD)

        valid = torch.cat([spot_valid_BHK, follow_valid_BHK], dim=2)
        spot_score_BHK = self.spot_score(token_BHKW).squeeze(3) - nearness_BHK
        follow_score_BHK = self.follow_score(follow_BHKW).squeeze(3) - 2.0
        score = torch.cat([spot_score_BHK, follow_score_BHK], dim=2)
        weight = torch.softmax(torch.where(valid, score, torch.full_like(score, -1e4)), dim=2) * valid.to(score.dtype)

        value_BHKD = self.warp(spot_BHKD, offset_BHK3) + self.token_correction(token_BHKW)
        followed_BHKD = follow_BHKD + self.follow_carry(moved_BKD).unsqueeze(1)
        copied_BHD = self._copy(weight, offset_BHK3, value_BHKD, followed_BHKD) + self.carry(change_BHD)
        tokens = torch.cat([token_BHKW, follow_BHKW], dim=2)
        nearest_BHK = torch.where(spot_valid_BHK, nearness_BHK, torch.full_like(nearness_BHK, 100.0))
        fix_BHX = self.fix(
            torch.cat(
                [
                    hidden_BF.unsqueeze(1).expand(-1, horizons, -1),
                    (weight.unsqueeze(3) * tokens).sum(dim=2),
                    pooled_BHW,
                    copied_BHD,
                    copied_BHD - base_BHD,
                    change_BHD,
                    z_BD.unsqueeze(1).expand_as(base_BHD),
                    code_BHC,
                    spread(weight[..., :spots], value_BHKD, copied_BHD),
                    torch.sqrt(nearest_BHK.min(dim=2)[0].unsqueeze(2) + 1e-6),
                    weight[..., :spots].sum(dim=2, keepdim=True),
                    seen_BH1,
                    count_BH1 / spots,
                ],
                dim=2,
            )
        )
        gate_BHD = torch.tanh(self.alpha) * torch.sigmoid(self.gate(fix_BHX))
        changed_BHD = base_BHD + gate_BHD * (copied_BHD + self.correction(fix_BHX) - base_BHD)
        any_BH = valid.any(dim=2)
        said_BH = gate_BHD.mean(dim=2).clamp(0.0, 1.0) * any_BH.to(base_BHD.dtype)
        return torch.where(any_BH.unsqueeze(2), changed_BHD, base_BHD), said_BH

    def _closeness(self, motion_BHM: Tensor) -> Tensor:
        """Return how much squared offsets count, [B, H, 3]: the less, the less sure it is where the robot will be."""
        sharp_3 = nn.functional.softplus(self.sharpness).square()
        variance_BH3 = (nn.functional.softplus(self.blur) * motion_BHM[..., 4:]).square()
        return sharp_3 / (1.0 + sharp_3 * variance_BH3)

    def _spot_tokens(
        self,
        base_BHD: Tensor,
        around_BHW: Tensor,
        offset_BHK3: Tensor,
        spot_BHKD: Tensor,
        feature_BHKF: Tensor,
        valid_BHK: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return a token per spot [B, H, K, W], their mean [B, H, W] and how many are real [B, H, 1]."""
        token = torch.cat([feature_BHKF, offset_BHK3, spot_BHKD, spot_BHKD - base_BHD.unsqueeze(2)], dim=3)
        token_BHKW = nn.functional.silu(self.token_in(token) + around_BHW.unsqueeze(2))
        valid_BHK1 = valid_BHK.unsqueeze(3).to(token_BHKW.dtype)
        count_BH1 = valid_BHK1.sum(dim=2)
        pooled_BHW = (token_BHKW * valid_BHK1).sum(dim=2) / count_BH1.clamp(min=1.0)
        mixed = torch.cat([token_BHKW, pooled_BHW.unsqueeze(2).expand_as(token_BHKW)], dim=3)
        return nn.functional.silu(self.token_mix(mixed)), pooled_BHW, count_BH1

    def _follow_tokens(
        self, base_BHD: Tensor, code_BHC: Tensor, twin_BKW: Tensor, moved_BKD: Tensor, follow_BHKD: Tensor
    ) -> Tensor:
        """Return a token per twin's successor, [B, H, K, W]."""
        token = torch.cat(
            [
                twin_BKW.unsqueeze(1).expand(-1, code_BHC.size(1), -1, -1),
                moved_BKD.unsqueeze(1).expand_as(follow_BHKD),
                follow_BHKD - base_BHD.unsqueeze(2),
                code_BHC.unsqueeze(2).expand(-1, -1, twin_BKW.size(1), -1),
            ],
            dim=3,
        )
        return nn.functional.silu(self.follow_mix(token))

    def _copy(self, weight: Tensor, offset_BHK3: Tensor, value_BHKD: Tensor, followed_BHKD: Tensor) -> Tensor:
        """Return what spots and successors say together, [B, H, D]; ``weight`` is of the spots, then the successors."""
        spots = value_BHKD.size(2)
        ridge_3 = nn.functional.softplus(self.ridge)
        spot_weight_BHK = local_linear_weights(weight[..., :spots], offset_BHK3, ridge_3)
        copied_BHD = (spot_weight_BHK.unsqueeze(3) * value_BHKD).sum(dim=2)
        return copied_BHD + (weight[..., spots:].unsqueeze(3) * followed_BHKD).sum(dim=2)


def spread(weight_BHK: Tensor, value_BHKD: Tensor, mean_BHD: Tensor) -> Tensor:
    """Return how far weighted values lie from their mean, [B, H, 1]."""
    square_BHD = (weight_BHK.unsqueeze(3) * (value_BHKD - mean_BHD.unsqueeze(2)).square()).sum(dim=2)
    return torch.sqrt(square_BHD.mean(dim=2, keepdim=True) + 1e-6)
