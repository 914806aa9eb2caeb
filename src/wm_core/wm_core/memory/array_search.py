"""Exact nearest records among some that are held as plain arrays: what a predictor searches that keeps them at hand.

Made for thousands of records and many queries at once. The records are ordered by the squares of a grid, so that those
near a place lie in a few runs side by side; compiled code goes through the runs, NumPy does where there is none.

Shape suffixes: N = records, G = queries, K = neighbours, D = latent size, P = pairs of a query and a record,
L = lines of squares that a query touches, 3 = (x, y, yaw).
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from wm_core.memory.errors import QueryError
from wm_core.memory.filters import Candidates, Limits, is_filtered, passing
from wm_core.memory.frames import Metric, Planar
from wm_core.memory.kernels import Table, address, ask_of, load
from wm_core.memory.present import newest_ns
from wm_core.memory.query import Place, Query
from wm_core.memory.ranking import Shortlist, rank
from wm_core.memory.rows import Rows

_MOST_SQUARES = 4
_MOST_PAIRS = 1 << 20
_COMPILED = frozenset({"radius", "yaw", "oldest", "newest", "session"})
"""Filters that the compiled search compares by itself."""
_EVER = (-(2**63), 2**63 - 1)


class Found(NamedTuple):
    """Answer to one query, nearest first.

    Attributes:
        row_K: Where the records stand in the arrays that were given.
        distances_K: What was ranked by.
        latent_distances_K: NaN without a latent in the query.
        pose_distances_K: NaN without a place in the query [m].
        candidate_count: Records that passed every filter.
    """

    row_K: np.ndarray
    distances_K: np.ndarray
    latent_distances_K: np.ndarray
    pose_distances_K: np.ndarray
    candidate_count: int


class Nearest(NamedTuple):
    """Answers to many lookups by pose, nearest first.

    Attributes:
        row_GK: Where the records stand in the arrays that were given; -1 where there are fewer.
        distance_GK: Pose distances [m]; infinite where there are fewer.
        candidate_count_G: Records that passed every filter.
    """

    row_GK: np.ndarray
    distance_GK: np.ndarray
    candidate_count_G: np.ndarray


class ArraySearch:
    """Answers queries over records that are held as arrays, exactly, as every memory does; what changes is built anew.

    Args:
        rows: The records; any order. Their cells are not looked at.
        sessions: The number of each session; a query names one.
        metric: What x and y mean; None: metres. Only then the search is compiled.
        encoder_id: Whose latents they are; empty: not known.
        cell_m: Side of the grid's squares [m], or more where the records lie scattered; half a usual radius is good.
        compiled: Whether to use the compiled search, where there is one.
    """

    def __init__(
        self,
        rows: Rows,
        sessions: Mapping[str, int] | None = None,
        *,
        metric: Metric | None = None,
        encoder_id: str = "",
        cell_m: float = 0.5,
        compiled: bool = True,
    ) -> None:
        self._metric = metric or Planar()
        self._sessions = sessions or {}
        self._encoder_id = encoder_id
        self._is_planar = self._metric.name == "local"
        self._grid = _Squares(rows.x_N, rows.y_N, cell_m) if self._is_planar else None
        self._order_N = np.arange(len(rows)) if self._grid is None else self._grid.order_N
        self._rows = _contiguous(rows.take(self._order_N))
        self._newest_ns = newest_ns(rows.stamp_N)
        self._library = load() if compiled and self._is_planar else None
        self._table = _table_of(self._rows, self._grid) if self._grid is not None else None

    def __len__(self) -> int:
        return len(self._rows)

    # ---------------------------------------------------------------- queries

    def query_batch(self, queries: Sequence[Query]) -> list[Found]:
        """Answer queries, each exactly.

        Raises:
            QueryError: The first one that cannot be answered as asked; H3 rings cannot.
        """
        # No action size: none was ever given, so any may be asked for, and none is found.
        dim, action_dim = self._rows.latent_ND.shape[1], self._rows.action_NA.shape[1] or -1
        limits = []
        for query in queries:
            features_NF = self._rows.feature_NF
            query.check(
                dim, action_dim, self._encoder_id, feature_dim=0 if features_NF is None else features_NF.shape[1]
            )
            if query.ring_count > 0:
                raise QueryError("ring_count needs the memory's cells: arrays have none")
            session = self._sessions.get(query.session, -1) if query.session else None
            limits.append(Limits(*query.time_bounds(self._newest_ns), session))
        shortlists = self._shortlists(queries, limits)
        if not queries:
            return []
        listed = self._rows.take(np.concatenate([each.slot_N for each in shortlists]))
        rankings = rank(listed, queries, shortlists, self._metric)
        found, start = [], 0
        for shortlist, ranking in zip(shortlists, rankings):
            # Of several queries together the order counts through all shortlists.
            row_K = self._order_N[shortlist.slot_N[ranking.order_K - start]]
            found.append(Found(row_K, *ranking.distances, shortlist.candidate_count))
            start += len(shortlist.slot_N)
        return found

    def _shortlists(self, queries: Sequence[Query], limits: Sequence[Limits]) -> list[Shortlist]:
        """Return which records hold each query's k nearest."""
        shortlists: dict[int, Shortlist] = {}
        together = []
        for at, (query, limit) in enumerate(zip(queries, limits)):
            if self._library is None or limit.session == -1 or not self._is_compiled(query):
                shortlists[at] = self._portable(query, limit)
            elif is_filtered(query, limit, _COMPILED):
                candidates = Candidates(query, self._rows.column, self._metric)
                mask_N = passing(query, limit, candidates, np.ones(len(self), bool), _COMPILED)
                shortlists[at] = self._compiled([query], [limit], mask_N)[0]
            else:
                together.append(at)
        if together:
            found = self._compiled([queries[at] for at in together], [limits[at] for at in together], None)
            shortlists.update(zip(together, found))
        return [shortlists[at] for at in range(len(queries))]

    def _is_compiled(self, query: Query) -> bool:
        """Return whether compiled code ranks as a query asks: by latent (L2), or by pose where nothing tilts."""
        if query.rank != "pose" and (query.metric == "cosine" or query.feature_F is not None):
            return False
        return query.rank == "latent" or (query.orientation is None and self._rows.rotation_N4 is None)

    def _portable(self, query: Query, limits: Limits) -> Shortlist:
        """Return all records that pass every filter."""
        if self._grid is not None and query.place is not None and query.radius_m > 0:
            pose_13 = np.array([query.place])[:, [0, 1, 3]]
            near_N = self._grid.near(pose_13, np.array([query.radius_m]))[1]
        else:
            near_N = np.arange(len(self))
        candidates = Candidates(query, lambda name: self._at(name, near_N), self._metric)
        chosen_N = near_N[passing(query, limits, candidates, np.ones(len(near_N), bool))]
        return Shortlist(chosen_N, len(chosen_N))

    def _compiled(
        self, queries: Sequence[Query], limits: Sequence[Limits], mask_N: np.ndarray | None
    ) -> list[Shortlist]:
        """Return the k nearest of each query."""
        ask_G8 = np.array([ask_of(query) for query in queries])
        bounds_G = np.empty(len(queries), _BOUNDS)
        for at, (query, limit) in enumerate(zip(queries, limits)):
            oldest = _EVER[0] if limit.oldest_ns is None else max(limit.oldest_ns, _EVER[0])
            newest = _EVER[1] if limit.newest_ns is None else max(limit.newest_ns, _EVER[0])
            session = -1 if limit.session is None else limit.session
            bounds_G[at] = (min(oldest, _EVER[1]), min(newest, _EVER[1]), session, query.yaw_tolerance_rad)
        wanted_GD = np.zeros((len(queries), self._rows.latent_ND.shape[1]))
        for at, query in enumerate(queries):
            if query.rank != "pose":
                wanted_GD[at] = query.latent_D
        found = self._call(ask_G8, bounds_G, wanted_GD, mask_N, max(query.k for query in queries))
        counts = np.count_nonzero(found.row_GK >= 0, axis=1).tolist()
        passed = found.candidate_count_G.tolist()
        return [Shortlist(found.row_GK[at, :count], passed[at]) for at, count in enumerate(counts)]

    # ---------------------------------------------------------------- many poses

    def nearest_poses(
        self,
        pose_G3: np.ndarray,
        k: int,
        *,
        radius_m: float,
        yaw_tolerance_rad: float = 0.0,
        yaw_weight_m: float = 1.0,
        newest_G: np.ndarray | None = None,
    ) -> Nearest:
        """Return the ``k`` records nearest in pose to each of many places; of equally near ones that of the lower id.

        The same as a ``Query`` per place, ranked by pose, at a fraction of the cost.

        Args:
            pose_G3: Places (x [m], y [m], yaw [rad]); one that is not finite finds nothing.
            k: How many.
            radius_m: Within this planar distance [m]; 0: any.
            yaw_tolerance_rad: Yaw within this of the place's [rad]; 0: any.
            yaw_weight_m: Metres that 1 rad of yaw counts in the pose distance.
            newest_G: Seen at or before [ns], for each place; None: any.

        Raises:
            QueryError: x and y are not metres.
        """
        if self._grid is None:
            raise QueryError(f"poses are looked up in a metric map, not in {self._metric.name}")
        pose_G3 = np.asarray(pose_G3, np.float64)
        newest_G = np.full(len(pose_G3), _EVER[1]) if newest_G is None else np.asarray(newest_G, np.int64)
        is_finite_G = np.isfinite(pose_G3).all(axis=1)
        query = Query(k=k, place=Place(0.0, 0.0), radius_m=radius_m, yaw_tolerance_rad=yaw_tolerance_rad,
                      yaw_weight_m=yaw_weight_m)  # fmt: skip
        query.check(0, -1, "")
        search = self._compiled_poses if self._library is not None else self._portable_poses
        found = search(query, pose_G3[is_finite_G], newest_G[is_finite_G])
        row_GK = np.full((len(pose_G3), k), -1)
        row_GK[is_finite_G] = np.where(found.row_GK < 0, -1, self._order_N[found.row_GK] if len(self) else -1)
        distance_GK = np.full((len(pose_G3), k), np.inf)
        distance_GK[is_finite_G] = found.distance_GK
        count_G = np.zeros(len(pose_G3), np.int64)
        count_G[is_finite_G] = found.candidate_count_G
        return Nearest(row_GK, distance_GK, count_G)

    def _compiled_poses(self, query: Query, pose_G3: np.ndarray, newest_G: np.ndarray) -> Nearest:
        ask_G8 = np.tile(np.array(ask_of(query)), (len(pose_G3), 1))
        ask_G8[:, [0, 1, 3]] = pose_G3
        ask_G8[:, 3] = _wrapped(pose_G3[:, 2])
        bounds_G = np.empty(len(pose_G3), _BOUNDS)
        bounds_G["oldest"], bounds_G["newest"], bounds_G["session"] = _EVER[0], newest_G, -1
        bounds_G["yaw_tolerance"] = query.yaw_tolerance_rad
        return self._call(ask_G8, bounds_G, None, None, query.k)

    def _portable_poses(self, query: Query, pose_G3: np.ndarray, newest_G: np.ndarray) -> Nearest:
        """Pair each place with what lies near, a part of the places at a time."""
        assert self._grid is not None
        row_GK = np.full((len(pose_G3), query.k), -1)
        distance_GK = np.full((len(pose_G3), query.k), np.inf)
        count_G = np.zeros(len(pose_G3), np.int64)
        most = max(1, _MOST_PAIRS // max(1, len(self)))
        for start in range(0, len(pose_G3), most):
            part = slice(start, start + most)
            self._fill(query, pose_G3[part], newest_G[part], row_GK[part], distance_GK[part], count_G[part])
        return Nearest(row_GK, distance_GK, count_G)

    def _fill(
        self,
        query: Query,
        pose_G3: np.ndarray,
        newest_G: np.ndarray,
        row_GK: np.ndarray,
        distance_GK: np.ndarray,
        count_G: np.ndarray,
    ) -> None:
        """Write the answers of some places."""
        assert self._grid is not None
        asker_P, near_P = self._grid.near(pose_G3, np.full(len(pose_G3), query.radius_m or np.inf))
        x_P, y_P, yaw_P = pose_G3[asker_P].T
        # The predicate and the measures broadcast: one place and one bound per pair.
        place: Any = Place(x_P, y_P, 0.0, yaw_P)
        limits: Any = Limits(newest_ns=newest_G[asker_P])
        pairs = Query(k=query.k, place=place, radius_m=query.radius_m, yaw_tolerance_rad=query.yaw_tolerance_rad,
                      yaw_weight_m=query.yaw_weight_m)  # fmt: skip
        candidates = Candidates(pairs, lambda name: self._paired(name, near_P), self._metric)
        passing_P = np.flatnonzero(passing(pairs, limits, candidates, np.ones(len(near_P), bool)))
        distance_P = np.sqrt(candidates.pose_distance2()[passing_P])
        asker_P, near_P = asker_P[passing_P], near_P[passing_P]
        order_P = np.lexsort((self._rows.id_N[near_P], distance_P, asker_P))
        asker_P, near_P, distance_P = asker_P[order_P], near_P[order_P], distance_P[order_P]
        count_G[:] = np.bincount(asker_P, minlength=len(pose_G3))
        place_P = np.arange(len(asker_P)) - np.repeat(np.cumsum(count_G) - count_G, count_G)
        best_P = np.flatnonzero(place_P < query.k)
        row_GK[asker_P[best_P], place_P[best_P]] = near_P[best_P]
        distance_GK[asker_P[best_P], place_P[best_P]] = distance_P[best_P]

    def _at(self, name: str, which_N: np.ndarray) -> Any:
        """Return a column of some records; None where no record has such."""
        column: np.ndarray | None = self._rows.column(name)
        return None if column is None else column[which_N]

    def _paired(self, name: str, near_P: np.ndarray) -> Any:
        """Return a column by pair; poses alone are looked up by yaw."""
        return None if name == "rotation" else self._at(name, near_P)

    def _call(
        self,
        ask_G8: np.ndarray,
        bounds_G: np.ndarray,
        wanted_GD: np.ndarray | None,
        mask_N: np.ndarray | None,
        most: int,
    ) -> Nearest:
        """Call the compiled search; rows are those of the ordered records."""
        assert self._library is not None
        assert self._table is not None
        row_GK, distance_GK = np.empty((len(ask_G8), most), np.int64), np.empty((len(ask_G8), most))
        count_G, heap_K = np.empty(len(ask_G8), np.int64), np.empty(most, _ENTRY)
        self._library.wm_table_nearest(
            ctypes.addressof(self._table), len(ask_G8), address(ask_G8), address(bounds_G),
            None if wanted_GD is None else address(wanted_GD), None if mask_N is None else address(mask_N),
            address(heap_K), address(row_GK), address(distance_GK), most, address(count_G),
        )  # fmt: skip
        return Nearest(row_GK, distance_GK, count_G)


_BOUNDS = np.dtype([("oldest", "i8"), ("newest", "i8"), ("session", "i8"), ("yaw_tolerance", "f8")])
_ENTRY = np.dtype([("distance", "f8"), ("id", "i8"), ("row", "i8")])


class _Squares:
    """A grid of equal squares over some places.

    Args:
        x_N: Their x [m].
        y_N: Their y [m].
        cell_m: Side of a square [m], or more where there would be far more squares than places.

    Attributes:
        order_N: The places in the order of their squares, row by row.
        start_S: Where each square's places begin in that order, and where the last one's end.
    """

    def __init__(self, x_N: np.ndarray, y_N: np.ndarray, cell_m: float) -> None:
        self.min_x, self.min_y = float(x_N.min(initial=np.inf)), float(y_N.min(initial=np.inf))
        if not len(x_N):
            self.min_x = self.min_y = 0.0
        most_x, most_y = x_N.max(initial=self.min_x) - self.min_x, y_N.max(initial=self.min_y) - self.min_y
        while (most_x // cell_m + 1) * (most_y // cell_m + 1) > _MOST_SQUARES * len(x_N) + 64:
            cell_m *= 2.0
        self.cell_m = cell_m
        self.columns = int(np.floor(most_x / cell_m)) + 1
        self.rows = int(np.floor(most_y / cell_m)) + 1
        column_N = np.floor((x_N - self.min_x) / cell_m).astype(np.int64)
        row_N = np.floor((y_N - self.min_y) / cell_m).astype(np.int64)
        square_N = row_N * self.columns + column_N
        self.order_N = np.argsort(square_N, kind="stable")
        self.start_S = np.searchsorted(square_N[self.order_N], np.arange(self.columns * self.rows + 1))

    def near(self, pose_G3: np.ndarray, radius_G: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pairs of a place and a record that may lie within its radius, in the grid's order: askers, records."""
        x_G, y_G = pose_G3[:, 0], pose_G3[:, 1]
        reach_G = radius_G + 1e-9 * (1.0 + np.abs(x_G) + np.abs(y_G) + radius_G)
        left_G, right_G = self._lines(x_G, reach_G, self.min_x, self.columns)
        low_G, high_G = self._lines(y_G, reach_G, self.min_y, self.rows)
        count_G = np.where(right_G >= left_G, np.maximum(high_G - low_G + 1, 0), 0)
        asker_L, at_L = _runs(count_G)
        row_L = low_G[asker_L] + at_L
        first_L = self.start_S[row_L * self.columns + left_G[asker_L]]
        end_L = self.start_S[row_L * self.columns + right_G[asker_L] + 1]
        line_P, at_P = _runs(end_L - first_L)
        return asker_L[line_P], first_L[line_P] + at_P

    def _lines(
        self, value_G: np.ndarray, reach_G: np.ndarray, least: float, lines: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the first and the last line of squares that a reach touches; last < first: none."""
        low_G = np.clip(np.floor((value_G - reach_G - least) / self.cell_m), 0, lines)
        high_G = np.clip(np.floor((value_G + reach_G - least) / self.cell_m), -1, lines - 1)
        return low_G.astype(np.int64), high_G.astype(np.int64)


def _runs(count_G: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for so many items of each, whose each item is and its number among them."""
    owner_P = np.repeat(np.arange(len(count_G)), count_G)
    return owner_P, np.arange(len(owner_P)) - np.repeat(np.cumsum(count_G) - count_G, count_G)


def _wrapped(angle_G: np.ndarray) -> np.ndarray:
    """Return angles in [-pi, pi) as ``wrap_angle`` does."""
    wrapped_G: np.ndarray = (angle_G + np.pi) % (2.0 * np.pi) - np.pi
    return wrapped_G


def _contiguous(rows: Rows) -> Rows:
    """Return rows of the types that compiled code reads."""
    read = {"id_N": np.int64, "stamp_N": np.int64, "x_N": np.float64, "y_N": np.float64, "yaw_N": np.float32,
            "session_N": np.int32, "latent_ND": np.float32}  # fmt: skip
    return replace(rows, **{name: np.ascontiguousarray(getattr(rows, name), kind) for name, kind in read.items()})


def _table_of(rows: Rows, grid: _Squares) -> Table:
    """Return where everything lies; the arrays have to be held as long as it."""
    columns = (rows.x_N, rows.y_N, rows.yaw_N, rows.stamp_N, rows.session_N, rows.id_N, rows.latent_ND)
    return Table(
        *map(address, columns), rows.latent_ND.shape[1], address(grid.start_S), grid.min_x, grid.min_y, grid.cell_m,
        grid.columns, grid.rows,
    )  # fmt: skip
