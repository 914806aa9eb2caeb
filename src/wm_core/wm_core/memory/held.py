"""What a window held at one moment, to be looked through at many places at once by whoever has time for it.

Shape suffixes: N = records, G = places, K = memories, D = latent size, 3 = (x [m], y [m], yaw [rad]).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wm_core.memory.array_search import ArraySearch
from wm_core.memory.journal import Area
from wm_core.memory.rows import Rows

_RIM = 1e-9


class Remembered(NamedTuple):
    """Memories near places, nearest first; where there are fewer, the rest is not valid.

    Attributes:
        id_GK: Their ids; 0 where not valid.
        stamp_GK: When they were seen [ns].
        pose_GK3: Where.
        latent_GKD: What.
        valid_GK: Which are real.
    """

    id_GK: np.ndarray
    stamp_GK: np.ndarray
    pose_GK3: np.ndarray
    latent_GKD: np.ndarray
    valid_GK: np.ndarray

    @staticmethod
    def none(places: int, dim: int) -> Remembered:
        """Return that nothing is remembered near any of some places.

        Args:
            places: G.
            dim: D.
        """
        nothing_G0 = np.zeros((places, 0), np.int64)
        empty = np.zeros((places, 0, 3)), np.zeros((places, 0, dim), np.float32)
        return Remembered(nothing_G0, nothing_G0, *empty, np.zeros((places, 0), bool))


class HeldPlaces:
    """Records as they were at one moment; nothing changes it, so that any thread may ask it.

    Args:
        search: Searches them.
        rows: The same records, in the order that was given to it.
        area: What it holds completely; None: everything there is.
    """

    def __init__(self, search: ArraySearch, rows: Rows, area: Area | None = None) -> None:
        self._search, self._rows, self._area = search, rows, area

    @classmethod
    def of(cls, rows: Rows) -> HeldPlaces:
        """Return records that are all there are."""
        return cls(ArraySearch(rows), rows)

    def __len__(self) -> int:
        return len(self._rows)

    def row_of(self, record_id: int) -> int | None:
        """Return where a record stands; None: it is not held."""
        row_N = np.flatnonzero(self._rows.id_N == record_id)
        return int(row_N[0]) if len(row_N) else None

    def record(self, row: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Return pose (x, y, z, yaw), latent and stamp [ns] of a record."""
        rows = self._rows
        pose_4 = np.array([rows.x_N[row], rows.y_N[row], rows.z_N[row], rows.yaw_N[row]], np.float64)
        return pose_4, rows.latent_ND[row], int(rows.stamp_N[row])

    def reaches(self, pose_G3: np.ndarray, radius_m: float) -> np.ndarray:
        """Return around which places all that is remembered within a radius is held, bool [G]."""
        if self._area is None:
            return np.ones(len(pose_G3), bool)
        far_G = np.hypot(pose_G3[:, 0] - self._area.x, pose_G3[:, 1] - self._area.y)
        inside_G: np.ndarray = far_G + radius_m <= self._area.radius_m * (1.0 - _RIM)
        return inside_G

    def near(
        self,
        pose_G3: np.ndarray,
        k: int,
        *,
        radius_m: float,
        yaw_tolerance_rad: float,
        yaw_weight_m: float,
        newest_ns: int,
    ) -> Remembered:
        """Return the records nearest in pose to many places; see ``ArraySearch.nearest_poses``.

        Args:
            pose_G3: The places.
            k: How many at each.
            radius_m: Within this planar distance [m].
            yaw_tolerance_rad: Yaw within this of the place's [rad]; half a turn or more: any.
            yaw_weight_m: Metres that 1 rad of yaw counts.
            newest_ns: Seen at or before [ns].
        """
        rows = self._rows
        if not len(rows) or not len(pose_G3):
            return Remembered.none(len(pose_G3), rows.latent_ND.shape[1])
        row_GK = self._search.nearest_poses(
            pose_G3, k, radius_m=radius_m, yaw_weight_m=yaw_weight_m, newest_G=np.full(len(pose_G3), newest_ns),
            yaw_tolerance_rad=yaw_tolerance_rad if yaw_tolerance_rad < np.pi else 0.0,
        ).row_GK  # fmt: skip
        valid_GK = row_GK >= 0
        row_GK = np.where(valid_GK, row_GK, 0)
        pose_GK3 = np.stack([rows.x_N[row_GK], rows.y_N[row_GK], rows.yaw_N[row_GK]], axis=-1)
        return Remembered(
            np.where(valid_GK, rows.id_N[row_GK], 0), rows.stamp_N[row_GK], pose_GK3, rows.latent_ND[row_GK], valid_GK
        )
