"""Exact search by feature: all that passes a query's filters is compared, in compiled code where there is some.

Features are int8, so every product is exact, and what is nearest follows without bounds. Every backend in this process
searches so.

Shape suffixes: N = records that pass, P = pages, F = feature size.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np

from spatial_memory.index.cell_index import CellIndex
from spatial_memory.index.columns import PAGE, slots_of
from wm_core.memory.filters import Limits
from wm_core.memory.kernels import Look, address, load
from wm_core.memory.query import Query
from wm_core.memory.ranking import Shortlist, feature_distance, feature_products, off, smallest

_PART = 4096
_PAGES_AT_ONCE = 4096
# Of cosine distances in double precision.
_SLACK = 1e-12


def is_by_feature(query: Query) -> bool:
    """Return whether a query is ranked by its feature."""
    return query.feature_F is not None and query.rank != "pose"


def look_shortlist(index: CellIndex, query: Query, limits: Limits) -> Shortlist:
    """Return the shortlist of a query that is ranked by its feature.

    Args:
        index: Whose records hold features.
        query: Checked before.
        limits: Its time bounds and session, in the memory's numbers.

    Raises:
        PlaceError: The query's place lies nowhere.
    """
    page_P, bits_P, count = index.passing(query, limits)
    if count <= query.k:
        return Shortlist(slots_of(page_P, bits_P), count)
    scores = _scores(index, query, page_P, bits_P, count)
    return Shortlist(scores.slot_N[scores.smallest(query.k)], count)


class LookInParts:
    """The same for a query without an area, some pages at a time, so that others get their turn in between.

    Args:
        index: Whose records hold features.
        query: Checked before; ranked by its feature alone.
        limits: Its time bounds and session, in the memory's numbers.
    """

    def __init__(self, index: CellIndex, query: Query, limits: Limits) -> None:
        self._index, self._query, self._limits = index, query, limits
        self._moves = index.columns.moves
        self._page = 0
        self._best = _Scores(np.empty(0, np.int64), np.empty(0), 0.0)
        self._count = 0

    @property
    def is_done(self) -> bool:
        """Whether all pages were looked at."""
        return self._page >= self._index.columns.page_count

    @property
    def is_torn(self) -> bool:
        """Whether records changed places, so that some were perhaps missed: begin again."""
        return self._index.columns.moves != self._moves

    def go_on(self) -> None:
        """Look at some more pages."""
        page_P = np.arange(self._page, min(self._page + _PAGES_AT_ONCE, self._index.columns.page_count))
        self._page += len(page_P)
        bits_P = self._index.columns.live_P[page_P]
        count = self._index.narrow(self._query, self._limits, page_P, bits_P)
        if not count:
            return
        found = _scores(self._index, self._query, page_P, bits_P, count)
        slot_N = np.concatenate([self._best.slot_N, found.slot_N])
        merged = _Scores(slot_N, np.concatenate([self._best.score_N, found.score_N]), found.slack)
        kept_N = merged.smallest(self._query.k)
        self._best = _Scores(slot_N[kept_N], merged.score_N[kept_N], found.slack)
        self._count += count

    def shortlist(self) -> Shortlist:
        """Return the shortlist of what was looked at and is still there."""
        slot_N = self._best.slot_N
        is_held_N = (self._index.columns.live_P[slot_N // PAGE] >> (slot_N % PAGE).astype(np.uint16)) & 1
        return Shortlist(slot_N[is_held_N.astype(bool)], self._count)


class _Scores(NamedTuple):
    """What slots are ranked by, and by how much any two may be off together."""

    slot_N: np.ndarray
    score_N: np.ndarray
    slack: float

    def smallest(self, k: int) -> np.ndarray:
        """Return where at least the k smallest stand."""
        return smallest(self.score_N, k, self.slack)


def _scores(index: CellIndex, query: Query, page_P: np.ndarray, bits_P: np.ndarray, count: int) -> _Scores:
    """Return what those slots of pages are ranked by whose bit is set: all of them, or those that may be nearest."""
    assert query.feature_F is not None
    library, cosine = load(), query.metric == "cosine"
    slack = _SLACK if cosine else 0.0
    if library is not None and query.rank == "latent":
        return _nearest(library, index, query, page_P, bits_P, count)
    slot_N, product_N, own_N = _products(library, index, query.feature_F, page_P, bits_P, count)
    score_N = feature_distance(product_N, own_N, query.feature_F, cosine=cosine, squared=True)
    if query.rank == "both":
        pose2_N = index.candidates(query, slot_N).pose_distance2()
        score_N = (score_N**2 if cosine else score_N) + query.pose_weight * pose2_N
        slack = slack + (off(score_N, query.k, _SLACK) if count > query.k else 0.0)
    return _Scores(slot_N, score_N, slack)


def _nearest(
    library: ctypes.CDLL, index: CellIndex, query: Query, page_P: np.ndarray, bits_P: np.ndarray, count: int
) -> _Scores:
    """Return the slots that may be among the nearest, and their scores."""
    assert query.feature_F is not None
    cosine = query.metric == "cosine"
    asked, _held, pages, bits = _asked(index, query.feature_F, page_P, bits_P)
    heap_K, slot_N, score_N = np.empty(query.k), np.empty(count, np.int64), np.empty(count)
    wide_F = query.feature_F.astype(np.float64)
    asked.heap, asked.wanted2, asked.k = address(heap_K), float(wide_F @ wide_F), query.k
    asked.cosine, asked.slack = float(cosine), _SLACK if cosine else 0.0
    kept = library.wm_look_nearest(
        ctypes.addressof(asked), len(pages), address(pages), address(bits), address(slot_N), address(score_N)
    )
    return _Scores(slot_N[:kept].copy(), score_N[:kept].copy(), asked.slack)


def _asked(
    index: CellIndex, wanted_F: np.ndarray, page_P: np.ndarray, bits_P: np.ndarray
) -> tuple[Look, np.ndarray, np.ndarray, np.ndarray]:
    """Return what compiled code is asked: a look, what has to be held as long as it, pages and bits."""
    some_P = np.flatnonzero(bits_P)
    pages, bits = np.ascontiguousarray(page_P[some_P], np.int64), np.ascontiguousarray(bits_P[some_P])
    wide_F = np.ascontiguousarray(wanted_F, np.int16)
    feature = index.columns.flat("feature")
    return Look(index.columns.addresses["feature"], feature.shape[1], address(wide_F)), wide_F, pages, bits


def _products(
    library: ctypes.CDLL | None,
    index: CellIndex,
    wanted_F: np.ndarray,
    page_P: np.ndarray,
    bits_P: np.ndarray,
    count: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return slots, and the products of their features with one and with themselves [N each]."""
    if library is None:
        feature, slots_N = index.columns.flat("feature"), slots_of(page_P, bits_P)
        parts = [feature_products(feature[slots_N[at : at + _PART]], wanted_F) for at in range(0, len(slots_N), _PART)]
        product_N, own_N = (np.concatenate(columns) for columns in zip(*parts))
        return slots_N, product_N, own_N
    asked, _held, pages, bits = _asked(index, wanted_F, page_P, bits_P)
    found_N, products_2N = np.empty(count, np.int64), np.empty((2, count), np.int32)
    library.wm_looks(
        ctypes.addressof(asked), len(pages), address(pages), address(bits), address(found_N),
        address(products_2N), address(products_2N[1]),
    )  # fmt: skip
    return found_N, products_2N[0], products_2N[1]
