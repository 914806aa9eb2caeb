"""Where a robot was before, what it did there, and what followed: the memories as a policy reads them.

Shape suffixes: N = memories, K = visits, H = times after a visit, D = latent size, A = action size,
3 = (x [m], y [m], yaw [rad]).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wm_core.memory.filters import Candidates, Limits, passing
from wm_core.memory.frames import Planar
from wm_core.memory.query import Place, Query
from wm_core.se2 import wrap_angle

_LONGEST_GAP_S = 1.6
_ROOM = 1024


@dataclass(frozen=True, eq=False)
class Trail:
    """Remembered states, ascending by stamp.

    Attributes:
        stamp_N: When each was seen [ns].
        session_N: Number of the drive that each belongs to.
        pose_N3: Where.
        action_NA: What was commanded there; NaN where it is not known.
        latent_ND: What was seen; NaN where it is not known.
    """

    stamp_N: np.ndarray
    session_N: np.ndarray
    pose_N3: np.ndarray
    action_NA: np.ndarray
    latent_ND: np.ndarray

    def __len__(self) -> int:
        return len(self.stamp_N)

    @classmethod
    def none(cls, action_dim: int, latent_dim: int) -> Trail:
        """Return a trail without memories."""
        return cls(
            np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros((0, action_dim)),
            np.zeros((0, latent_dim), np.float32),
        )  # fmt: skip


class TrailBuffer:
    """A trail that grows; what it was stays as it is.

    Args:
        action_dim: A.
        latent_dim: D.
    """

    def __init__(self, action_dim: int, latent_dim: int) -> None:
        self._columns: list[np.ndarray] = [
            np.zeros(_ROOM, np.int64), np.zeros(_ROOM, np.int64), np.zeros((_ROOM, 3)), np.zeros((_ROOM, action_dim)),
            np.zeros((_ROOM, latent_dim), np.float32),
        ]  # fmt: skip
        self._count = 0
        self._is_sorted: bool = True

    def __len__(self) -> int:
        return self._count

    def append(
        self, stamp_ns: int, session: int, pose_3: np.ndarray, action_A: np.ndarray, latent_D: np.ndarray
    ) -> None:
        """Remember one more state."""
        if self._count == len(self._columns[0]):
            self._columns = [np.concatenate([column, np.zeros_like(column)]) for column in self._columns]
        self._is_sorted &= self._count == 0 or stamp_ns >= int(self._columns[0][self._count - 1])
        values: tuple[Any, ...] = (stamp_ns, session, pose_3, action_A, latent_D)
        for column, value in zip(self._columns, values):
            column[self._count] = value
        self._count += 1

    def trail(self) -> Trail:
        """Return all states, ascending by stamp; a view, unless time went backwards."""
        columns = [column[: self._count] for column in self._columns]
        if not self._is_sorted:
            order_N = np.argsort(columns[0], kind="stable")
            columns = [column[order_N] for column in columns]
        return Trail(*columns)


@dataclass(frozen=True, kw_only=True)
class VisitLimits:
    """Which memories are visits of the place where the robot is.

    Attributes:
        count: Most visits, K.
        radius_m: As far from here [m].
        yaw_tolerance_rad: Facing as differently [rad].
        yaw_weight_m: Metres that a radian counts in the order.
        exclude_recent_s: Only memories at least this old [s].
        apart_s: Of memories closer in time than this only the nearest one is taken [s].
    """

    count: int = 6
    radius_m: float = 1.5
    yaw_tolerance_rad: float = 0.7
    yaw_weight_m: float = 1.0
    exclude_recent_s: float = 20.0
    apart_s: float = 5.0


def visits(trail: Trail, stamp_ns: int, pose_3: np.ndarray, limits: VisitLimits) -> np.ndarray:
    """Return the rows of former visits, one memory of each, the nearest first, [at most K]."""
    x, y, yaw = pose_3.tolist()
    query = Query(
        place=Place(x, y, 0.0, yaw), radius_m=limits.radius_m, yaw_tolerance_rad=limits.yaw_tolerance_rad,
        exclude_recent_s=limits.exclude_recent_s, stamp_ns=stamp_ns,
    )  # fmt: skip
    x_N, y_N, yaw_N = trail.pose_N3.T
    columns = {"x": x_N, "y": y_N, "yaw": wrap_angle(yaw_N), "stamp": trail.stamp_N}
    candidates = Candidates(query, columns.get, Planar())
    usable_N = passing(query, Limits(*query.time_bounds(stamp_ns)), candidates, np.ones(len(trail), bool))
    rows = np.flatnonzero(usable_N)
    # Not the memory's pose distance: policies have learnt their visits in this order.
    off_m_K = np.sqrt(candidates.distance2[rows]) + limits.yaw_weight_m * candidates.turn[rows]
    rows = rows[np.argsort(off_m_K, kind="stable")]
    found: list[int] = []
    stamp_N, session_N = trail.stamp_N, trail.session_N
    while len(rows) and len(found) < limits.count:
        first = rows[0]
        found.append(int(first))
        near = np.abs(stamp_N[rows] - stamp_N[first]) < round(limits.apart_s * 1e9)
        rows = rows[~(near & (session_N[rows] == session_N[first]))]
    return np.array(found, np.int64)


def followed(trail: Trail, rows_K: np.ndarray, after_s_H: np.ndarray) -> np.ndarray:
    """Return where the robot was some time after each of some memories, [K, H, 3]; NaN where that is not known.

    It is known where the drive went on so long, and memories lie close enough in time on both sides.
    """
    wanted_KH = trail.stamp_N[rows_K][:, None] + np.round(after_s_H * 1e9).astype(np.int64)
    after_KH = np.searchsorted(trail.stamp_N, wanted_KH)
    inside_KH = after_KH < len(trail)
    after_KH = np.minimum(after_KH, len(trail) - 1)
    before_KH = np.maximum(after_KH - 1, 0)
    gap_KH = (trail.stamp_N[after_KH] - trail.stamp_N[before_KH]).astype(np.float64)
    share_KH = np.clip((wanted_KH - trail.stamp_N[before_KH]) / np.maximum(gap_KH, 1.0), 0.0, 1.0)[..., None]
    start_KH3, end_KH3 = trail.pose_N3[before_KH], trail.pose_N3[after_KH]
    way_KH3 = end_KH3 - start_KH3
    way_KH3[..., 2] = wrap_angle(way_KH3[..., 2])
    same_KH = trail.session_N[after_KH] == trail.session_N[rows_K][:, None]
    known_KH = inside_KH & same_KH & (gap_KH <= _LONGEST_GAP_S * 1e9)
    return np.where(known_KH[..., None], start_KH3 + share_KH * way_KH3, np.nan)
