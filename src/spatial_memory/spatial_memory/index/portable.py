"""Many queries at once.

Where the search is compiled, they are answered in few calls, neighbours one after the other. Where it is not, those
that ask around the same place share what they look at: a planner asks for hundreds of poses that lie close together, so
columns and latents are gathered once for all of them and the latent distances of all come from one matrix product.

Shape suffixes: N = records near a group, G = queries of a group, D = latent size.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from spatial_memory.geometry.cells import resolution_for
from spatial_memory.index.cell_index import CellIndex
from spatial_memory.index.columns import slots_of
from spatial_memory.index.ranking import Shortlist, smallest
from wm_core.memory.filters import Limits, Measures, passing
from wm_core.memory.query import Place, Query

_FEWEST = 4
_MOST_SCORES = 1 << 20
_MOST_AT_ONCE = 64
_ORIGIN = Place(0.0, 0.0)


def search(index: CellIndex, queries: Sequence[Query], limits: Sequence[Limits]) -> list[Shortlist]:
    """Return the shortlist of each query.

    Args:
        index: Where to look.
        queries: Checked before.
        limits: Time bounds and session of each.
    """
    if len(queries) < _FEWEST:
        return index.shortlists(queries, limits)
    if index.is_compiled:
        return _in_order(index, queries, limits)
    shortlists: dict[int, Shortlist] = {}
    for group in _groups(index, queries):
        if len(group) < _FEWEST:
            shortlists.update({at: index.shortlists([queries[at]], [limits[at]])[0] for at in group})
            continue
        shared = _Shared(index, [queries[at] for at in group])
        most = max(_FEWEST, _MOST_SCORES // max(1, len(shared)))
        for start in range(0, len(group), most):
            part = group[start : start + most]
            found = shared.shortlists([queries[at] for at in part], [limits[at] for at in part])
            shortlists.update(zip(part, found))
    return [shortlists[at] for at in range(len(queries))]


def _in_order(index: CellIndex, queries: Sequence[Query], limits: Sequence[Limits]) -> list[Shortlist]:
    """Return the shortlist of each query, worked out place by place: neighbours find each other's data cached."""
    places = [query.place or _ORIGIN for query in queries]
    cells = [index.grid.cell_of(place.x, place.y) for place in places]
    order = sorted(range(len(queries)), key=cells.__getitem__)
    shortlists: dict[int, Shortlist] = {}
    for start in range(0, len(order), _MOST_AT_ONCE):
        part = order[start : start + _MOST_AT_ONCE]
        shortlists.update(zip(part, index.shortlists([queries[at] for at in part], [limits[at] for at in part])))
    return [shortlists[at] for at in range(len(queries))]


def _groups(index: CellIndex, queries: Sequence[Query]) -> list[list[int]]:
    """Return which queries ask around the same place in the same way; the others alone."""
    groups: dict[tuple[int, str, int], list[int]] = defaultdict(list)
    for at, query in enumerate(queries):
        place = query.place
        simple = query.rank == "pose" or (query.rank == "latent" and query.metric == "l2")
        if place is None or query.radius_m <= 0 or query.ring_count > 0 or query.box is not None or not simple:
            groups[0, "", at].append(at)
            continue
        level = min(resolution_for(query.radius_m), index.grid.resolution)
        groups[index.grid.cell_of(place.x, place.y, level), query.rank, level].append(at)
    # Neighbours one after the other find in the processor's caches what they share.
    return [groups[key] for key in sorted(groups)]


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
        self._columns: dict[str, np.ndarray] = {}
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

    def _column(self, name: str) -> np.ndarray:
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = self._index.columns.flat(name)[self._slot_N]
        return column

    def shortlists(self, queries: Sequence[Query], limits: Sequence[Limits]) -> list[Shortlist]:
        """Return the shortlist of each query."""
        if not len(self):
            return [Shortlist(np.empty(0, np.int64), 0) for _ in queries]
        score_GN, slack_G = self._latent_scores(queries) if self._latent_ND is not None else (None, np.zeros(0))
        found = []
        for at, (query, limit) in enumerate(zip(queries, limits)):
            map_frame = self._index.grid.map
            measures = Measures(query, self._column, map_frame)
            mask_N = passing(query, self._column, measures, limit, np.ones(len(self), bool))
            count = int(np.count_nonzero(mask_N))
            slack = 0.0
            if score_GN is None:
                score_N = measures.pose_distance2()
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
