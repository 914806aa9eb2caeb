"""An inertial measurement unit's last moments.

Shape suffixes: B = batch, T = moments, D = token size, 6 = acceleration [m/s^2] and turn rate [rad/s].
"""

from __future__ import annotations

from torch import Tensor, nn


class ImuEncoder(nn.Module):
    """An LSTM over the moments.

    Args:
        dim: D.
        layers: Of the LSTM.
    """

    def __init__(self, dim: int = 128, layers: int = 2) -> None:
        super().__init__()
        self.dim = dim
        self.lstm = nn.LSTM(6, dim, layers, batch_first=True)

    def forward(self, imu_BT6: Tensor) -> Tensor:
        """Return a token [B, 1, D]."""
        result: Tensor = self.lstm(imu_BT6)[0][:, -1:]
        return result
