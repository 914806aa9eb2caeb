"""The forecast at any horizon without memory, and how the slow visual history enters it.

All latents in here are normalised (zero mean, unit variance per dimension).
Shape suffixes: B = batch, H = horizons, D = latent size, F = hidden size, N = visual history values.
"""

import torch
from torch import Tensor, nn

from world_model.runtime.conditioning import HORIZON_LOG_SPAN, HORIZON_UNIT_S, MOTION_FEATURES

HORIZON_FEATURES = 3


def horizon_features(horizon_BH: Tensor, unit_s: float = HORIZON_UNIT_S, log_span: float = HORIZON_LOG_SPAN) -> Tensor:
    """Return a smooth code of the time ahead, [B, H, HORIZON_FEATURES].

    A scale of the input that trained weights have taken in, whatever an artifact's own step is.

    Args:
        horizon_BH: Times ahead [s].
        unit_s: The time whose logarithm is 0 [s].
        log_span: What logarithms are divided by: two seconds come to about 1.
    """
    return torch.stack([horizon_BH, torch.sqrt(horizon_BH), torch.log(horizon_BH / unit_s) / log_span], dim=-1)


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
        result: Tensor = z_BD.unsqueeze(1) + torch.matmul(code_BHC, linear_BCD) + bent_BHD
        return result


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
