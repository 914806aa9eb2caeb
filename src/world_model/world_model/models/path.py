"""Where the robot is about to go, beyond what the present action says, and how surely: drivers follow corridors.

Shape suffixes: B = batch, H = horizons, D = latent size, A = action size, P = state size, 3 = (forward, left, turn).
"""

import torch
from torch import Tensor, nn

from world_model.models.forecaster import HORIZON_FEATURES

# Of the expected motion only the displacement and whether it is known are read: how sure it is, is said here.
_MOTION_READ = 4
# Displacements err by about this much after a second: (forward, left, turn), scaled.
ERROR_SCALE = (0.1, 0.1, 0.2)


class PathForesight(nn.Module):
    """Corrects the displacement expected from holding the present action by what usually follows such views.

    It also says how far the corrected displacement may be off: little in a corridor, much before a junction.

    Args:
        latent_dim: D.
        action_dim: A.
        state_dim: Size of its own recurrent state.
    """

    def __init__(self, latent_dim: int, action_dim: int, state_dim: int = 64) -> None:
        super().__init__()
        self.state_dim = state_dim
        self.cell = nn.GRUCell(latent_dim + action_dim, state_dim)
        size = state_dim + latent_dim + action_dim + _MOTION_READ + HORIZON_FEATURES
        self.motion_read = _MOTION_READ
        last = nn.Linear(128, 6)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.error_scale: Tensor
        self.caution: Tensor
        self.register_buffer("error_scale", torch.tensor(ERROR_SCALE))
        # Factor on the standard errors, measured where nothing was learned: where it was, all fits better.
        self.register_buffer("caution", torch.ones(3))
        self.net = nn.Sequential(nn.Linear(size, 128), nn.SiLU(), nn.Dropout(0.1), nn.Linear(128, 128), nn.SiLU(), last)

    def step(self, z_BD: Tensor, a_BA: Tensor, state_BP: Tensor) -> Tensor:
        """Return the state after one more latent and action."""
        result: Tensor = self.cell(torch.cat([z_BD, a_BA], dim=1), state_BP)
        return result

    def forward(self, state_BP: Tensor, z_BD: Tensor, a_BA: Tensor, motion_BHM: Tensor, code_BHC: Tensor) -> Tensor:
        """Return what to add to the expected displacement and its standard error then, [B, H, 6], scaled like it."""
        present_BX = torch.cat([state_BP, z_BD, a_BA], dim=1)
        present_BHX = present_BX.unsqueeze(1).expand(-1, code_BHC.size(1), -1)
        said_BH6 = self.net(torch.cat([present_BHX, motion_BHM[..., : self.motion_read], code_BHC], dim=2))
        # The first code is the time ahead: nothing can change in no time. The second is its root.
        change_BH3 = said_BH6[..., :3] * code_BHC[..., :1]
        std_BH3 = torch.exp(said_BH6[..., 3:].clamp(-4.0, 3.0)) * code_BHC[..., 1:2] * self.error_scale * self.caution
        return torch.cat([change_BH3, std_BH3], dim=2)
