"""The search in NumPy alone.

Queries that ask around the same place share what they look at: a planner asks for hundreds of poses that lie close
together, so columns and latents are gathered once for all of them and the latent distances of all come from one matrix
product.

Shape suffixes: N = records, near a group or passing a query, G = queries of a group, D = latent size.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from spatial_memory.index.cell_index import Backend, CellIndex
from spatial_memory.index.columns import slots_of
from wm_core.memory.filters import Candidates, Limits, passing
from wm_core.memory.frames import LevelGrid
from wm_core.memory.query import Place, Query
from wm_core.memory.ranking import Shortlist, latent_distance, latent_scores, off, smallest

_FEWEST = 4
_MOST_SCORES = 1 << 20


class PortableSearch:
    """Answers by NumPy; needs no compiler.

    Args:
        index: Where to look.
    """

    def __init__(self, index: CellIndex) -> None:
        self.index = index

    def shortlists(
        self,
        queries: Sequence[Query],
        limits: Sequence[Limits],
        alone: Callable[[Query, Limits], Shortlist] | None = None,
    ) -> list[Shortlist]:
        """Return the shortlist of each query; see ``Search``.

        Args:
            queries: Checked before.
            limits: Time bounds and session of each.
            alone: Answers a query that shares nothing with others; None: ``shortlist``.
        """
        alone = alone or self.shortlist
        if len(queries) < _FEWEST:
            return [alone(query, limit) for query, limit in zip(queries, limits)]
        found: dict[int, Shortlist] = {}
        for group in self._groups(queries):
            if len(group) < _FEWEST:
                found.update((at, alone(queries[at], limits[at])) for at in group)
                continue
            shared = _Shared(self.index, [queries[at] for at in group])
            most = max(_FEWEST, _MOST_SCORES // max(1, len(shared)))
            for start in range(0, len(group), most):
                part = group[start : start + most]
                answers = shared.shortlists([queries[at] for at in part], [limits[at] for at in part])
                found.update(zip(part, answers))
        return [found[at] for at in range(len(queries))]

    def _groups(self, queries: Sequence[Query]) -> list[list[int]]:
        """Return which queries ask around the same place in the same way; the others alone."""
        grid = self.index.grid
        groups: dict[tuple[int, str, int], list[int]] = defaultdict(list)
        for at, query in enumerate(queries):
            place = query.place
            simple = query.rank == "pose" or (query.rank == "latent" and query.metric == "l2")
            if place is None or query.radius_m <= 0 or query.ring_count > 0 or query.box is not None or not simple:
                groups[0, "", at].append(at)
                continue
            level = grid.level_for(query.radius_m)
            groups[grid.cell_of(place.x, place.y, level), query.rank, level].append(at)
        # Neighbours one after the other find in the processor's caches what they share.
        return [groups[key] for key in sorted(groups)]

    def shortlist(self, query: Query, limits: Limits) -> Shortlist:
        """Return the shortlist of one query."""
        slots_N = self.index.passing_slots(query, limits)
        if len(slots_N) <= query.k:
            return Shortlist(slots_N, len(slots_N))
        score_N, slack = self._scores(query, slots_N)
        return Shortlist(slots_N[smallest(score_N, query.k, slack)], len(slots_N))

    def _scores(self, query: Query, slots_N: np.ndarray) -> tuple[np.ndarray, float]:
        """Return what slots are ranked by, and by how much any two may be off together."""
        flat = self.index.columns.flat
        pose_N: np.ndarray | None = None
        if query.rank != "latent":
            pose_N = self.index.candidates(query, slots_N).pose_distance2()
        if query.rank == "pose":
            assert pose_N is not None
            return pose_N, off(pose_N, query.k, 1e-12)
        assert query.latent_D is not None
        if query.metric == "cosine":
            distance_N = latent_distance(flat("latent")[slots_N], query.latent_D, cosine=True)
            return (distance_N if pose_N is None else distance_N**2 + query.pose_weight * pose_N), 1e-12
        score_N = latent_scores(flat("latent"), slots_N, query.latent_D)
        if pose_N is not None:
            score_N = score_N + query.pose_weight * pose_N
        return score_N, off(score_N, query.k, 1e-6 * (self.index.dim + 8))


def _make(dim: int, action_dim: int, grid: LevelGrid, page_count: int, successor_size: int) -> PortableSearch:
    return PortableSearch(CellIndex(dim, action_dim, grid, page_count, successor_size=successor_size))


PORTABLE = Backend("embedded", _make)
"""What ``EMBEDDED`` is where the package was built without a compiler."""


class _Shared:
    """What lies near any query of a group, gathered once.

    Args:
        index: Where to look.
        queries: All with a place and a radius, ranked by latent (L2) or all by pose.
    """

    def __init__(self, index: CellIndex, queries: Sequence[Query]) -> None:
        self._index = index
        lists_L = index.directory.near_all([(query.place or Place(0, 0), query.radius_m) for query in queries])
        pages = index.directory.pages_of(lists_L)
        self._slot_N = slots_of(pages, index.columns.live_P[pages])
        self._columns: dict[str, np.ndarray | None] = {}
        self._latent_ND: np.ndarray | None = None
        self._centre_D: np.ndarray | None = None
        self._norm_N: np.ndarray | None = None
        if queries[0].rank == "latent" and len(self):
            latent_ND = index.columns.flat("latent")[self._slot_N]
            self._centre_D = latent_ND.mean(axis=0)
            latent_ND -= self._centre_D
            self._latent_ND = latent_ND
            self._norm_N = np.einsum("nd,nd->n", latent_ND, latent_ND)

    def __len__(self) -> int:
        return len(self._slot_N)

    def _column(self, name: str) -> np.ndarray | None:
        if name not in self._columns:
            self._columns[name] = self._index.columns.flat_if_any(name, self._slot_N)
        return self._columns[name]

    def shortlists(self, queries: Sequence[Query], limits: Sequence[Limits]) -> list[Shortlist]:
        """Return the shortlist of each query."""
        if not len(self):
            return [Shortlist(np.empty(0, np.int64), 0) for _ in queries]
        score_GN, slack_G = self._latent_scores(queries) if self._latent_ND is not None else (None, np.zeros(0))
        found = []
        for at, (query, limit) in enumerate(zip(queries, limits)):
            candidates = Candidates(query, self._column, self._index.grid.map)
            mask_N = passing(query, limit, candidates, np.ones(len(self), bool))
            count = int(np.count_nonzero(mask_N))
            slack = 0.0
            if score_GN is None:
                score_N = candidates.pose_distance2()
            else:
                score_N, slack = score_GN[at], float(slack_G[at])
            np.copyto(score_N, np.inf, where=~mask_N)
            found.append(Shortlist(self._slot_N[smallest(score_N, query.k, slack)], count))
        return found

    def _latent_scores(self, queries: Sequence[Query]) -> tuple[np.ndarray, np.ndarray]:
        """Return squared distances up to a constant per query, and by how much any two may be off together."""
        assert self._latent_ND is not None
        assert self._norm_N is not None
        assert self._centre_D is not None
        wanted_GD = np.array([query.latent_D for query in queries], np.float32) - self._centre_D
        score_GN = wanted_GD @ self._latent_ND.T
        score_GN *= -2.0
        score_GN += self._norm_N
        reach_G = np.sqrt(np.einsum("gd,gd->g", wanted_GD, wanted_GD)) + np.sqrt(self._norm_N.max())
        rounding = 4.0 * (self._latent_ND.shape[1] + 8) * np.finfo(np.float32).eps
        return score_GN, rounding * reach_G**2
