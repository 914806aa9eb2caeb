"""Where the robot is about to go, beyond what the present action says: drivers follow corridors and tracks.

Shape suffixes: B = batch, H = horizons, D = latent size, A = action size, P = state size, 3 = (forward, left, turn).
"""

import torch
from torch import Tensor, nn

from world_model.conditioning import MOTION_FEATURES
from world_model.models.forecaster import HORIZON_FEATURES


class PathForesight(nn.Module):
    """Corrects the displacement expected from holding the present action by what usually follows such views.

    Args:
        latent_dim: D.
        action_dim: A.
        state_dim: Size of its own recurrent state.
    """

    def __init__(self, latent_dim: int, action_dim: int, state_dim: int = 64) -> None:
        super().__init__()
        self.state_dim = state_dim
        self.cell = nn.GRUCell(latent_dim + action_dim, state_dim)
        size = state_dim + latent_dim + action_dim + MOTION_FEATURES + HORIZON_FEATURES
        last = nn.Linear(128, 3)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.net = nn.Sequential(nn.Linear(size, 128), nn.SiLU(), nn.Dropout(0.1), nn.Linear(128, 128), nn.SiLU(), last)

    def step(self, z_BD: Tensor, a_BA: Tensor, state_BP: Tensor) -> Tensor:
        """Return the state after one more latent and action."""
        return self.cell(torch.cat([z_BD, a_BA], dim=1), state_BP)

    def forward(self, state_BP: Tensor, z_BD: Tensor, a_BA: Tensor, motion_BHM: Tensor, code_BHC: Tensor) -> Tensor:
        """Return what to add to the expected displacement, [B, H, 3], growing with the time ahead."""
        present_BX = torch.cat([state_BP, z_BD, a_BA], dim=1)
        present_BHX = present_BX.unsqueeze(1).expand(-1, code_BHC.size(1), -1)
        change_BH3 = self.net(torch.cat([present_BHX, motion_BHM, code_BHC], dim=2))
        # The first code is the time ahead: nothing can change in no time.
        return change_BH3 * code_BHC[..., :1]
