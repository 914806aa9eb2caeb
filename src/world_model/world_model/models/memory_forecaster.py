"""The forecast with memories: copied, corrected and gated.

All latents in here are normalised (zero mean, unit variance per dimension).
Shape suffixes: B = batch, H = horizons, K = neighbours, D = latent size, F = hidden size, W = width of a token.
"""

from typing import Any

import torch
from torch import Tensor, nn

from world_model.models.forecaster import HORIZON_FEATURES, motion_code
from world_model.models.views import ViewWarp, local_linear_weights
from world_model.runtime.conditioning import ANTICIPATED_FEATURES, APPEARANCE_FEATURES, MOTION_FEATURES
from world_model.runtime.tensors import Retrieved

# What artifacts of format 2, and checkpoints of their time, call layers.
_FORMER_LAYERS = {
    "twins": "appearance",
    "follow_mix": "successor_mix",
    "spot_score": "anticipated_score",
    "follow_score": "successor_score",
    "follow_carry": "successor_carry",
}


class AppearanceReader(nn.Module):
    """Compares the present with memories that resemble it: what differs now, and how far the pose is off."""

    def __init__(self, latent_dim: int, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(APPEARANCE_FEATURES + 2 * latent_dim + 1, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.score = nn.Linear(width, 1)
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, z_BD: Tensor, retrieved: Retrieved) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return tokens [B, K, W], present minus remembered [B, D], pose offset [B, 3], weight of any memory [B, 1]."""
        latent_BKD, feature_BKF = retrieved.appearance_latent, retrieved.appearance_feature
        change_BKD = z_BD.unsqueeze(1) - latent_BKD
        distance_BK1 = change_BKD.square().mean(dim=2, keepdim=True)
        token_BKW = self.net(torch.cat([feature_BKF, latent_BKD, change_BKD, torch.sqrt(distance_BK1 + 1e-6)], dim=2))
        score_BK = self.score(token_BKW).squeeze(2) - 4.0 * distance_BK1.squeeze(2)
        score_BK = torch.where(retrieved.appearance_valid, score_BK, torch.full_like(score_BK, -1e4))
        nothing_B1 = self.nothing.expand(z_BD.size(0), 1) - 4.0
        weight_BK = torch.softmax(torch.cat([score_BK, nothing_B1], dim=1), dim=1)[:, :-1]
        weight_BK1 = weight_BK.unsqueeze(2)
        change_BD = (weight_BK1 * change_BKD).sum(dim=1)
        offset_B3 = (weight_BK1 * feature_BKF[:, :, :3]).sum(dim=1)
        return token_BKW, change_BD, offset_B3, weight_BK.sum(dim=1, keepdim=True)


class MemoryForecaster(nn.Module):
    """Copies what was seen where the robot will be, corrects it, and gates it by how well it fits.

    Anticipated-pose neighbours are memories near the expected pose: their values are interpolated there. Appearance
    neighbours are memories that resemble the present: their successors at the horizon are candidates too, and what
    differs between them and the present (light, moved things, a pose that is off) corrects both.
    """

    def __init__(self, latent_dim: int, hidden_dim: int, width: int) -> None:
        super().__init__()
        self.appearance = AppearanceReader(latent_dim, width)
        self.token_in = nn.Linear(ANTICIPATED_FEATURES + 3 + 2 * latent_dim, width)
        self.around_in = nn.Linear(2 * latent_dim + 4 + HORIZON_FEATURES + MOTION_FEATURES, width)
        self.token_mix = nn.Linear(2 * width, width)
        self.successor_mix = nn.Linear(width + 2 * latent_dim + HORIZON_FEATURES, width)
        self.anticipated_score = nn.Linear(width, 1)
        self.successor_score = nn.Linear(width, 1)
        self.relocate = nn.Parameter(torch.full((3,), 0.1))
        self.sharpness = nn.Parameter(torch.tensor([3.0, 3.0, 3.0]))
        self.blur = nn.Parameter(torch.full((3,), 0.5))
        self.ridge = nn.Parameter(torch.full((3,), -4.0))
        self.warp = ViewWarp(latent_dim, 2 * width)
        self.token_correction = nn.Linear(width, latent_dim)
        self.successor_carry = nn.Linear(latent_dim, latent_dim, bias=False)
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
        for layer in (self.carry, self.successor_carry, self.correction, self.token_correction):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.correction.bias)
        nn.init.zeros_(self.token_correction.bias)
        self.register_load_state_dict_pre_hook(_rename_former)  # type: ignore[no-untyped-call]

    def forward(
        self, hidden_BF: Tensor, z_BD: Tensor, base_BHD: Tensor, motion_BHM: Tensor, code_BHC: Tensor, found: Retrieved
    ) -> tuple[Tensor, Tensor]:
        """Return the forecast [B, H, D] and how much the memories had to say [B, H]; ``base_BHD`` is without them."""
        reader_BKW, change_BD, off_B3, seen_B1 = self.appearance(z_BD, found)
        horizons = code_BHC.size(1)
        change_BHD = change_BD.unsqueeze(1).expand(-1, horizons, -1)
        off_BH3 = off_B3.unsqueeze(1).expand(-1, horizons, -1)
        seen_BH1 = seen_B1.unsqueeze(1).expand(-1, horizons, -1)
        around_BHW = self.around_in(
            torch.cat([base_BHD, change_BHD, off_BH3, seen_BH1, code_BHC, motion_code(motion_BHM)], dim=2)
        )
        # Appearance says how far this session's poses are off from the remembered ones: shift the offsets by a share.
        offset_BHK3 = found.anticipated_feature[..., :3] - (self.relocate * off_BH3).unsqueeze(2)
        token_BHKW, pooled_BHW, count_BH1 = self._anticipated_tokens(base_BHD, around_BHW, offset_BHK3, found)
        nearness_BHK = (self._closeness(motion_BHM).unsqueeze(2) * offset_BHK3.square()).sum(dim=3)
        moved_BKD = z_BD.unsqueeze(1) - found.appearance_latent
        successor_BHKW = self._successor_tokens(base_BHD, code_BHC, reader_BKW, moved_BKD, found.successor_latent)
        valid = torch.cat([found.anticipated_valid, found.successor_valid], dim=2)
        weight = self._weights(token_BHKW, nearness_BHK, successor_BHKW, valid)

        value_BHKD = self.warp(found.anticipated_latent, offset_BHK3) + self.token_correction(token_BHKW)
        followed_BHKD = found.successor_latent + self.successor_carry(moved_BKD).unsqueeze(1)
        copied_BHD = self._copy(weight, offset_BHK3, value_BHKD, followed_BHKD) + self.carry(change_BHD)
        told = [
            hidden_BF.unsqueeze(1).expand(-1, horizons, -1),
            (weight.unsqueeze(3) * torch.cat([token_BHKW, successor_BHKW], dim=2)).sum(dim=2),
            pooled_BHW,
            copied_BHD,
            copied_BHD - base_BHD,
            change_BHD,
            z_BD.unsqueeze(1).expand_as(base_BHD),
            code_BHC,
            fit(weight, value_BHKD, copied_BHD, nearness_BHK, found.anticipated_valid),
            seen_BH1,
            count_BH1 / value_BHKD.size(2),
        ]
        return self._gated(self.fix(torch.cat(told, dim=2)), copied_BHD, base_BHD, valid.any(dim=2))

    def _closeness(self, motion_BHM: Tensor) -> Tensor:
        """Return how much squared offsets count, [B, H, 3]: the less, the less sure it is where the robot will be."""
        sharp_3 = nn.functional.softplus(self.sharpness).square()
        variance_BH3 = (nn.functional.softplus(self.blur) * motion_BHM[..., 4:]).square()
        return sharp_3 / (1.0 + sharp_3 * variance_BH3)

    def _anticipated_tokens(
        self, base_BHD: Tensor, around_BHW: Tensor, offset_BHK3: Tensor, retrieved: Retrieved
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return a token per neighbour [B, H, K, W], their mean [B, H, W] and how many are real [B, H, 1]."""
        latent_BHKD, feature_BHKF = retrieved.anticipated_latent, retrieved.anticipated_feature
        token = torch.cat([feature_BHKF, offset_BHK3, latent_BHKD, latent_BHKD - base_BHD.unsqueeze(2)], dim=3)
        token_BHKW = nn.functional.silu(self.token_in(token) + around_BHW.unsqueeze(2))
        valid_BHK1 = retrieved.anticipated_valid.unsqueeze(3).to(token_BHKW.dtype)
        count_BH1 = valid_BHK1.sum(dim=2)
        pooled_BHW = (token_BHKW * valid_BHK1).sum(dim=2) / count_BH1.clamp(min=1.0)
        mixed = torch.cat([token_BHKW, pooled_BHW.unsqueeze(2).expand_as(token_BHKW)], dim=3)
        return nn.functional.silu(self.token_mix(mixed)), pooled_BHW, count_BH1

    def _successor_tokens(
        self, base_BHD: Tensor, code_BHC: Tensor, reader_BKW: Tensor, moved_BKD: Tensor, successor_BHKD: Tensor
    ) -> Tensor:
        """Return a token per appearance neighbour's successor, [B, H, K, W]."""
        token = torch.cat(
            [
                reader_BKW.unsqueeze(1).expand(-1, code_BHC.size(1), -1, -1),
                moved_BKD.unsqueeze(1).expand_as(successor_BHKD),
                successor_BHKD - base_BHD.unsqueeze(2),
                code_BHC.unsqueeze(2).expand(-1, -1, reader_BKW.size(1), -1),
            ],
            dim=3,
        )
        return nn.functional.silu(self.successor_mix(token))

    def _weights(self, token_BHKW: Tensor, nearness_BHK: Tensor, successor_BHKW: Tensor, valid: Tensor) -> Tensor:
        """Return the share of each anticipated-pose neighbour, then of each successor; 0 where not real."""
        anticipated_BHK = self.anticipated_score(token_BHKW).squeeze(3) - nearness_BHK
        successor_BHK = self.successor_score(successor_BHKW).squeeze(3) - 2.0
        score = torch.cat([anticipated_BHK, successor_BHK], dim=2)
        return torch.softmax(torch.where(valid, score, torch.full_like(score, -1e4)), dim=2) * valid.to(score.dtype)

    def _copy(self, weight: Tensor, offset_BHK3: Tensor, value_BHKD: Tensor, followed_BHKD: Tensor) -> Tensor:
        """Return what neighbours and successors say together, [B, H, D]; ``weight`` is of both, in that order."""
        neighbours = value_BHKD.size(2)
        ridge_3 = nn.functional.softplus(self.ridge)
        weight_BHK = local_linear_weights(weight[..., :neighbours], offset_BHK3, ridge_3)
        copied_BHD = (weight_BHK.unsqueeze(3) * value_BHKD).sum(dim=2)
        return copied_BHD + (weight[..., neighbours:].unsqueeze(3) * followed_BHKD).sum(dim=2)

    def _gated(self, fix_BHX: Tensor, copied_BHD: Tensor, base_BHD: Tensor, any_BH: Tensor) -> tuple[Tensor, Tensor]:
        """Return the forecast and how much memories say in it, from what is to be corrected."""
        gate_BHD = torch.tanh(self.alpha) * torch.sigmoid(self.gate(fix_BHX))
        changed_BHD = base_BHD + gate_BHD * (copied_BHD + self.correction(fix_BHX) - base_BHD)
        said_BH = gate_BHD.mean(dim=2).clamp(0.0, 1.0) * any_BH.to(base_BHD.dtype)
        return torch.where(any_BH.unsqueeze(2), changed_BHD, base_BHD), said_BH


def _rename_former(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give the weights of a former artifact or checkpoint today's names, before a module takes them."""
    for former, name in _FORMER_LAYERS.items():
        for key in [key for key in state if key.startswith(f"{prefix}{former}.")]:
            state[f"{prefix}{name}.{key.removeprefix(f'{prefix}{former}.')}"] = state.pop(key)


def fit(weight: Tensor, value_BHKD: Tensor, copied_BHD: Tensor, nearness_BHK: Tensor, valid_BHK: Tensor) -> Tensor:
    """Return how well neighbours fit, [B, H, 3]: their spread, the nearest one's distance, their share."""
    weight_BHK = weight[..., : value_BHKD.size(2)]
    nearest_BHK = torch.where(valid_BHK, nearness_BHK, torch.full_like(nearness_BHK, 100.0))
    nearest_BH1 = torch.sqrt(nearest_BHK.min(dim=2)[0].unsqueeze(2) + 1e-6)
    spread_BH1 = spread(weight_BHK, value_BHKD, copied_BHD)
    return torch.cat([spread_BH1, nearest_BH1, weight_BHK.sum(dim=2, keepdim=True)], dim=2)


def spread(weight_BHK: Tensor, value_BHKD: Tensor, mean_BHD: Tensor) -> Tensor:
    """Return how far weighted values lie from their mean, [B, H, 1]."""
    square_BHD = (weight_BHK.unsqueeze(3) * (value_BHKD - mean_BHD.unsqueeze(2)).square()).sum(dim=2)
    return torch.sqrt(square_BHD.mean(dim=2, keepdim=True) + 1e-6)
