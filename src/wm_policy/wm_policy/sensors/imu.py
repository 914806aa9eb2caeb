"""An inertial measurement unit's last moments.

Shape suffixes: B = batch, T = moments, D = token size, 6 = acceleration [m/s^2] and turn rate [rad/s].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wm_policy.sensors.points import those_there
from wm_policy.shapes import check_counts, check_shapes


class ImuEncoder(nn.Module):
    """An LSTM over the moments.

    Args:
        dim: D.
        layers: Of the LSTM.

    Raises:
        InputError: A size is no whole number above 0.
    """

    def __init__(self, dim: int = 128, layers: int = 2) -> None:
        super().__init__()
        check_counts(dim=dim, layers=layers)
        self.dim = dim
        self.lstm = nn.LSTM(6, dim, layers, batch_first=True)

    def forward(self, imu_BT6: Tensor, known_BT: Tensor | None = None) -> Tensor:
        """Return a token [B, 1, D].

        Args:
            imu_BT6: Moments, the newest last.
            known_BT: Which of them there are, bool; default: all whose numbers are finite. Others are left out; where
                there is none the token says nothing.

        Raises:
            InputError: An argument has another shape.
        """
        check_shapes(imu_BT6=imu_BT6, known_BT=known_BT)
        if not imu_BT6.size(1):
            return imu_BT6.new_zeros(len(imu_BT6), 1, self.dim)
        imu_BT6, known_BT = those_there(imu_BT6, known_BT)
        # Those that are there first, in their order: the LSTM stops at the last of them.
        order_BT = (~known_BT).long().argsort(dim=1, stable=True)
        found_BTD = self.lstm(imu_BT6.gather(1, order_BT.unsqueeze(-1).expand_as(imu_BT6)))[0]
        count_B = known_BT.sum(dim=1)
        last_BD = found_BTD[torch.arange(len(count_B), device=count_B.device), (count_B - 1).clamp(min=0)]
        result: Tensor = torch.where((count_B > 0).unsqueeze(1), last_BD, torch.zeros_like(last_BD)).unsqueeze(1)
        return result
