"""The records nearest in pose to thousands of places, on whatever device torch runs: every one is looked at.

The same answers as ``wm_core.memory``'s searches by pose, ties included. A GPU looks at a thousand records for each of
thousands of places in less time than it takes to ask a grid which of them lie near.

Shape suffixes: N = records, M = records at hand, G = places, K = neighbours, 2 = (x, y), 3 = (x, y, yaw).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_TAU = 2.0 * np.pi
_LEAST = 64
_MOST_PAIRS = 1 << 23


class AtHand(NamedTuple):
    """Records that may be found, those of lower ids first; the rest of the columns is filled with none.

    Attributes:
        x_M: [m], infinite where there is none.
        y_M: [m].
        yaw_M: Within -pi..pi [rad].
        row_M: Where they stand among all records; -1 where there is none.
    """

    x_M: Tensor
    y_M: Tensor
    yaw_M: Tensor
    row_M: Tensor


class PoseSearch:
    """Records by pose, of which those around a place are put on a device.

    Args:
        pose_N3: Their poses; yaws as they are kept, in single precision.
        stamp_N: When they were seen [ns].
        id_N: Of equally near ones the lower comes first.
        device: Where to search.
    """

    def __init__(self, pose_N3: np.ndarray, stamp_N: np.ndarray, id_N: np.ndarray, device: torch.device | str) -> None:
        self._order_N = np.argsort(id_N, kind="stable")
        self._pose_N3 = np.asarray(pose_N3, np.float64).reshape(-1, 3)[self._order_N]
        self._stamp_N = np.asarray(stamp_N)[self._order_N]
        self._device = torch.device(device)

    def around(self, centre_2: np.ndarray, reach_m: float, newest_ns: int) -> AtHand:
        """Return the records within reach of a place that were seen by some time, on the device.

        There is room for a power of two, so that what was recorded for one lot of them serves for others.

        Args:
            centre_2: Where [m].
            reach_m: Within this planar distance, and a little more [m].
            newest_ns: Seen at or before [ns].
        """
        away_N2 = self._pose_N3[:, :2] - np.asarray(centre_2, np.float64)
        far_N = np.hypot(away_N2[:, 0], away_N2[:, 1])
        at_M = np.flatnonzero((far_N <= reach_m * (1.0 + 1e-9) + 1e-9) & (self._stamp_N <= newest_ns))
        room = _LEAST
        while room < len(at_M):
            room *= 2
        pose_M3, row_M = np.zeros((room, 3)), np.full(room, -1)
        pose_M3[:, 0] = np.inf
        pose_M3[: len(at_M)], row_M[: len(at_M)] = self._pose_N3[at_M], self._order_N[at_M]
        columns = (*pose_M3.T.copy(), row_M)
        return AtHand(*(torch.from_numpy(column).to(self._device) for column in columns))


def nearest_poses(
    pose_G3: Tensor, records: AtHand, k: int, *, radius_m: float, yaw_tolerance_rad: float, yaw_weight_m: float
) -> tuple[Tensor, Tensor]:
    """Return rows [G, K] of the ``k`` nearest records, and pose distances [m]; -1 and infinite where there are fewer.

    It looks at no value on the way, so that it may be recorded.

    Args:
        pose_G3: Places in double precision; one that is not finite finds nothing.
        records: Among these.
        k: How many.
        radius_m: Within this planar distance [m]; 0: any.
        yaw_tolerance_rad: Yaw within this of the place's [rad]; 0: any.
        yaw_weight_m: Metres that 1 rad of yaw counts in the pose distance.
    """
    # Places are taken a part at a time where that many pairs would not fit a small GPU.
    parts = pose_G3.split(max(1, _MOST_PAIRS // len(records.x_M)))
    found = [_nearest(part, records, k, radius_m, yaw_tolerance_rad, yaw_weight_m) for part in parts]
    if len(found) == 1:
        return found[0]
    return torch.cat([rows for rows, _ in found]), torch.cat([far for _, far in found])


def _nearest(
    pose_G3: Tensor, records: AtHand, k: int, radius_m: float, yaw_tolerance_rad: float, yaw_weight_m: float
) -> tuple[Tensor, Tensor]:
    x_G1, y_G1, yaw_G1 = pose_G3.unsqueeze(2).unbind(1)
    dx_GM, dy_GM = records.x_M - x_G1, records.y_M - y_G1
    planar_GM = dx_GM.mul_(dx_GM).add_(dy_GM.mul_(dy_GM))
    turn_GM = (records.yaw_M - (torch.remainder(yaw_G1 + np.pi, _TAU) - np.pi)).abs_()
    turn_GM = torch.minimum(turn_GM, _TAU - turn_GM)
    # What is no number passes no comparison. Each of these reads all pairs: there are as few as can be.
    passes_GM = planar_GM <= radius_m**2 if radius_m > 0 else planar_GM < torch.inf
    passes_GM &= turn_GM <= yaw_tolerance_rad if yaw_tolerance_rad > 0 else turn_GM < torch.inf
    if yaw_weight_m != 0:
        turn_GM = turn_GM if yaw_weight_m == 1 else turn_GM.mul_(yaw_weight_m)
        planar_GM = turn_GM.mul_(turn_GM).add_(planar_GM)
    far_GM = planar_GM.sqrt_().masked_fill_(passes_GM.logical_not_(), torch.inf)
    ats, distances = [], []
    for _ in range(k):
        # Of equal ones the first: that of the lower id.
        at_G1 = far_GM.argmin(dim=1, keepdim=True)
        ats.append(at_G1)
        distances.append(far_GM.gather(1, at_G1))
        far_GM.scatter_(1, at_G1, torch.inf)
    far_GK = torch.cat(distances, dim=1)
    return records.row_M[torch.cat(ats, dim=1)].masked_fill(torch.isinf(far_GK), -1), far_GK
