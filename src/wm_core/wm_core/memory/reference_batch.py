"""The reference over arrays: remembered states as columns, and the exact nearest ones of many poses at once.

It answers as ``wm_core.memory.reference`` does, for the filters that a predictor uses; a property test holds both
together.

Shape suffixes: N = states, Q = queries, K = neighbours, T = states of the dense stream, D = latent size,
A = action size, H = successor horizons, 4 = (x, y, z, yaw).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wm_core.memory.errors import RecordError
from wm_core.memory.filters import Candidates, Limits, passing
from wm_core.memory.frames import Planar
from wm_core.memory.keyframes import Spacing
from wm_core.memory.query import Place, Query
from wm_core.memory.record import MemoryRecord, Successor, no_action
from wm_core.memory.recorder import Recorder, State
from wm_core.memory.scale import ScaleMeter
from wm_core.memory.successors import STEP_S, check_horizons, default_horizons_s
from wm_core.projection import Projection
from wm_core.se2 import wrap_angle


@dataclass(frozen=True)
class StateColumns:
    """Remembered states as far as they are searched, oldest first."""

    stamp_N: np.ndarray
    pose_N4: np.ndarray
    latent_ND: np.ndarray

    def __len__(self) -> int:
        return len(self.stamp_N)


@dataclass(frozen=True)
class StateTable(StateColumns):
    """Remembered states with what was done there and what followed."""

    action_NA: np.ndarray
    successor_NHD: np.ndarray
    successor_dt_NH: np.ndarray  # NaN where there is none


class RecordedStates:
    """What a ``Recorder`` writes to where all of it stays in memory: columns that grow. A record's id is its row."""

    def __init__(self) -> None:
        self._stamp_N = np.zeros(1024, np.int64)
        self._pose_N4 = np.zeros((1024, 4))
        self._latent_ND = np.zeros((1024, 0), np.float32)
        self.records: list[MemoryRecord] = []
        self._successors: list[dict[float, Successor]] = []
        self._projection: Projection | None = None

    def __len__(self) -> int:
        return len(self.records)

    def insert(self, records: Sequence[MemoryRecord]) -> list[int]:
        """Keep records and return their rows."""
        first = len(self.records)
        for row, record in enumerate(records, first):
            self._make_room(record.latent_D.size)
            self._stamp_N[row] = record.stamp_ns
            self._pose_N4[row] = record.x, record.y, record.z, record.yaw
            self._latent_ND[row] = record.latent_D
            self.records.append(record)
            self._successors.append({successor.horizon_s: successor for successor in record.successors})
        return list(range(first, len(self.records)))

    def link(self, record_id: int, successor: Successor) -> bool:
        """Add what followed a record; its latent is brought into the basis of the others."""
        if self._projection is not None and successor.feature_F.size:
            successor = successor._replace(latent_D=self._projection.project(successor.feature_F[None])[0])
        self._successors[record_id][successor.horizon_s] = successor
        return True

    def reproject(self, projection: Projection) -> None:
        """Bring all latents into another basis, those of successors included.

        Args:
            projection: Of the features that records and successors carry.

        Raises:
            ProjectionError: One carries none.
        """
        self._projection = projection
        if not self.records:
            return
        count = len(self.records)
        self._latent_ND[:count] = projection.project(np.stack([record.feature_F for record in self.records]))
        self.records = [
            replace(record, latent_D=latent_D.copy()) for record, latent_D in zip(self.records, self._latent_ND)
        ]
        for row, found in enumerate(self._successors):
            for successor in found.values():
                self.link(row, successor)

    def set_surprise(self, record_id: int, surprise: float) -> bool:
        """Do nothing: nobody asks for it here."""
        return True

    def successors_of(self, row: int) -> list[Successor]:
        """Return what followed a record, nearest in time first."""
        found = self._successors[row]
        return [found[horizon_s] for horizon_s in sorted(found)]

    def columns(self) -> StateColumns:
        """Return what was kept so far; views that later records do not change."""
        count = len(self.records)
        return StateColumns(self._stamp_N[:count], self._pose_N4[:count], self._latent_ND[:count])

    def _make_room(self, size: int) -> None:
        capacity, count = len(self._stamp_N), len(self.records)
        if not count:
            self._latent_ND = np.zeros((capacity, size), np.float32)
        if count == capacity:
            self._stamp_N, self._pose_N4, self._latent_ND = (
                np.concatenate([column, np.zeros_like(column)])
                for column in (self._stamp_N, self._pose_N4, self._latent_ND)
            )


def remember(
    stamp_T: np.ndarray,
    pose_T4: np.ndarray,
    latent_TD: np.ndarray,
    action_TA: np.ndarray,
    *,
    spacing: Spacing | None = None,
    horizons_s: Sequence[float] | None = None,
    step_s: float = STEP_S,
) -> StateTable:
    """Return what a memory has kept of a stream when it is over, by the very ``Recorder`` that runs live.

    Args:
        stamp_T: Stamps, int64 nanoseconds, in the order of arrival.
        pose_T4: (x, y, z, yaw); rows that are not finite have no pose.
        latent_TD: Latents.
        action_TA: Actions; rows that are not finite are not known.
        spacing: Which states are kept; default: as the scale of the robot's world suggests.
        horizons_s: Horizons of the successors [s], the columns H in ascending order; default: one step and 1 s.
        step_s: Step of the model [s].

    Raises:
        RecordError: A latent that is not finite, or ``impossible-horizons``.
    """
    wanted_s = check_horizons(horizons_s or default_horizons_s(step_s), step_s)
    states = RecordedStates()
    recorder = Recorder(states, "stream", spacing or ScaleMeter(), wanted_s, step_s=step_s)
    kept: list[int] = []
    has_pose_T, has_action_T = (np.isfinite(rows_T).all(axis=1).tolist() for rows_T in (pose_T4, action_TA))
    for row, (stamp_ns, pose_4) in enumerate(zip(stamp_T.tolist(), pose_T4.tolist())):
        place = Place(*pose_4) if has_pose_T[row] else None
        action_A = action_TA[row] if has_action_T[row] else no_action()
        if _observe(recorder, State(stamp_ns, latent_TD[row], "", place, action_A)):
            kept.append(row)
    recorder.finish()
    successor_NHD = np.zeros((len(kept), len(wanted_s), latent_TD.shape[1]), np.float32)
    dt_NH = np.full((len(kept), len(wanted_s)), np.nan, np.float32)
    for row in range(len(kept)):
        for successor in states.successors_of(row):
            column = wanted_s.index(successor.horizon_s)
            successor_NHD[row, column], dt_NH[row, column] = successor.latent_D, successor.dt_s
    kept_N = np.array(kept, np.int64)
    return StateTable(stamp_T[kept_N], pose_T4[kept_N], latent_TD[kept_N], action_TA[kept_N], successor_NHD, dt_NH)


def _observe(recorder: Recorder, state: State) -> bool:
    """Return whether a state was kept; one without a pose, or at a stamp that was there before, is none to keep."""
    try:
        return recorder.observe(state) is not None
    except RecordError as error:
        if error.reason in ("no-pose", "repeated-stamp"):
            return False
        raise


@dataclass(frozen=True)
class Neighbours:
    """Indices into ``StateColumns`` per query, nearest first, -1 where there are fewer than K: [..., K]."""

    index_QK: np.ndarray
    distance_QK: np.ndarray


def nearest_states(
    table: StateColumns,
    pose_Q3: np.ndarray,
    stamp_Q: np.ndarray,
    k: int,
    *,
    radius_m: float,
    yaw_tolerance_rad: float,
    yaw_weight_m: float,
    exclude_recent_s: float,
    latent_QD: np.ndarray | None = None,
    chunk: int = 2048,
) -> Neighbours:
    """Return the exact ``k`` nearest states of each query, every filter applied before the ``k`` are chosen.

    Args:
        table: The memory.
        pose_Q3: Query poses (x, y, yaw); a row that is not finite finds nothing.
        stamp_Q: Query stamps, int64 ns.
        k: Neighbours per query.
        radius_m: Planar distance limit.
        yaw_tolerance_rad: Yaw limit.
        yaw_weight_m: Metres that one radian of yaw counts in the ranking by pose.
        exclude_recent_s: Only states at least this much older than the query.
        latent_QD: Rank by distance to this latent instead of by pose.
        chunk: Queries per block; bounds the working memory.

    Returns:
        Indices and distances (metres, or latent units when ranked by latent), [Q, k].
    """
    count = len(pose_Q3)
    index_QK = np.full((count, k), -1, np.int64)
    distance_QK = np.full((count, k), np.inf, np.float32)
    if len(table) == 0:
        return Neighbours(index_QK, distance_QK)
    settings = {"radius_m": radius_m, "yaw_tolerance_rad": yaw_tolerance_rad, "yaw_weight_m": yaw_weight_m}
    oldest_Q = stamp_Q - round(exclude_recent_s * 1e9)
    for start in range(0, count, chunk):
        rows = slice(start, min(start + chunk, count))
        with np.errstate(invalid="ignore"):
            asked = _Asked(pose_Q3[rows], oldest_Q[rows], table, settings)
            allowed_QN = asked.allowed()
            rank_QN = asked.candidates.pose_distance2() if latent_QD is None else np.empty(0)
        if latent_QD is not None:
            near_N = np.flatnonzero(allowed_QN.any(axis=0))
            rank_QN = np.full(allowed_QN.shape, np.inf)
            rank_QN[:, near_N] = _squared_distances(latent_QD[rows], table.latent_ND[near_N])
        rank_QN = np.where(allowed_QN, rank_QN, np.inf)
        _take_best(rank_QN, k, index_QK[rows], distance_QK[rows])
    return Neighbours(index_QK, distance_QK)


class _Asked:
    """Many queries as one with columns for fields, so that every filter is the one of ``filters``."""

    def __init__(
        self, pose_Q3: np.ndarray, newest_Q: np.ndarray, table: StateColumns, settings: Mapping[str, float]
    ) -> None:
        x_Q1, y_Q1, yaw_Q1 = (pose_Q3[:, None, axis] for axis in range(3))
        self._query = Query(place=Place(x_Q1, y_Q1, 0.0, yaw_Q1), **settings)  # type: ignore[arg-type]
        self._limits = Limits(newest_ns=newest_Q[:, None])  # type: ignore[arg-type]
        self._shape = len(pose_Q3), len(table)
        columns: dict[str, Any] = {
            "x": table.pose_N4[:, 0],
            "y": table.pose_N4[:, 1],
            "yaw": np.broadcast_to(wrap_angle(table.pose_N4[:, 3]), self._shape),
            "stamp": table.stamp_N,
            "rotation": None,
        }
        self.candidates = Candidates(self._query, columns.__getitem__, Planar())

    def allowed(self) -> np.ndarray:
        """Return which states pass every filter of which query, [Q, N]."""
        return passing(self._query, self._limits, self.candidates, np.ones(self._shape, bool))


def _squared_distances(latent_QD: np.ndarray, latent_ND: np.ndarray) -> np.ndarray:
    latent_QD, latent_ND = latent_QD.astype(np.float64), latent_ND.astype(np.float64)
    square_QN = np.sum(latent_QD**2, axis=1)[:, None] + np.sum(latent_ND**2, axis=1) - 2.0 * latent_QD @ latent_ND.T
    return np.asarray(np.maximum(square_QN, 0.0))


def _take_best(rank_QN: np.ndarray, k: int, index_QK: np.ndarray, distance_QK: np.ndarray) -> None:
    taken = min(k, rank_QN.shape[1])
    best_QK = np.argpartition(rank_QN, taken - 1, axis=1)[:, :taken]
    value_QK = np.take_along_axis(rank_QN, best_QK, 1)
    order_QK = np.argsort(value_QK, axis=1, kind="stable")
    value_QK = np.take_along_axis(value_QK, order_QK, 1)
    best_QK = np.take_along_axis(best_QK, order_QK, 1)
    index_QK[:, :taken] = np.where(np.isfinite(value_QK), best_QK, -1)
    distance_QK[:, :taken] = np.sqrt(value_QK)
