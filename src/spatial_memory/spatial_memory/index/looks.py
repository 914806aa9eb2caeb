"""Exact search by feature: all that passes a query's filters is compared, in compiled code where there is some.

Features are int8, so every product is exact, and what is nearest follows without bounds. Every backend in this process
searches so.

Shape suffixes: N = records that pass, P = pages, F = feature size.
"""

from __future__ import annotations

import ctypes

import numpy as np

from spatial_memory.index.cell_index import CellIndex
from spatial_memory.index.columns import slots_of
from wm_core.memory.filters import Limits
from wm_core.memory.kernels import Look, address, load
from wm_core.memory.query import Query
from wm_core.memory.ranking import Shortlist, feature_distance, feature_products, off, smallest

_PART = 4096


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
    assert query.feature_F is not None
    page_P, bits_P, count = index.passing(query, limits)
    if count <= query.k:
        return Shortlist(slots_of(page_P, bits_P), count)
    slots_N, product_N, own_N = _products(index, query.feature_F, page_P, bits_P, count)
    cosine = query.metric == "cosine"
    score_N = feature_distance(product_N, own_N, query.feature_F, cosine=cosine, squared=True)
    slack = 1e-12 if cosine else 0.0
    if query.rank == "both":
        pose2_N = index.candidates(query, slots_N).pose_distance2()
        score_N = (score_N**2 if cosine else score_N) + query.pose_weight * pose2_N
        slack = slack + off(score_N, query.k, 1e-12)
    return Shortlist(slots_N[smallest(score_N, query.k, slack)], count)


def _products(
    index: CellIndex, wanted_F: np.ndarray, page_P: np.ndarray, bits_P: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return slots, and the products of their features with one and with themselves [N each]."""
    feature = index.columns.flat("feature")
    library = load()
    if library is None:
        slots_N = slots_of(page_P, bits_P)
        parts = [feature_products(feature[slots_N[at : at + _PART]], wanted_F) for at in range(0, len(slots_N), _PART)]
        product_N, own_N = (np.concatenate(columns) for columns in zip(*parts))
        return slots_N, product_N, own_N
    some_P = np.flatnonzero(bits_P)
    pages, bits = np.ascontiguousarray(page_P[some_P], np.int64), np.ascontiguousarray(bits_P[some_P])
    wide_F = np.ascontiguousarray(wanted_F, np.int16)
    asked = Look(index.columns.addresses["feature"], feature.shape[1], address(wide_F))
    found_N, products_2N = np.empty(count, np.int64), np.empty((2, count), np.int32)
    library.wm_looks(
        ctypes.addressof(asked), len(pages), address(pages), address(bits), address(found_N),
        address(products_2N), address(products_2N[1]),
    )  # fmt: skip
    return found_N, products_2N[0], products_2N[1]
