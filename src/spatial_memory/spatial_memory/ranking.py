"""From shortlists to the k nearest, in double precision.

Shape suffixes: N = records of all shortlists, S = records of one, K = neighbours, D = latent size, Q = queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from spatial_memory.columns import Rows
from spatial_memory.filters import heading_difference
from spatial_memory.maps import Map
from spatial_memory.query import Query

# Shortlists are made in single precision; a few more than asked for keep near ties from falling wrong.
SPARE = 4
_BLOCK = 16


class Shortlist(NamedTuple):
    """The few records that hold a query's k nearest, and how many passed its filters."""

    slot_N: np.ndarray
    candidate_count: int


class Ranking(NamedTuple):
    """One query's k nearest: rows, and what they were ranked by, their latent and their pose distances."""

    order_K: np.ndarray
    distances: tuple[np.ndarray, np.ndarray, np.ndarray]


def smallest(score_N: np.ndarray, k: int, slack: float = 0.0) -> np.ndarray:
    """Return where at least the k smallest scores stand: all that are no larger than some k of them, plus a slack.

    Cheaper than a partition: the k-th smallest of block minima bounds the k-th smallest score.

    Args:
        score_N: Scores; infinite ones are left out.
        k: How many at least, where there are as many.
        slack: How far scores may be off together.
    """
    count = len(score_N)
    blocks = count // _BLOCK
    if blocks <= k:
        return np.flatnonzero(score_N < np.inf)
    minima = score_N[: blocks * _BLOCK].reshape(_BLOCK, blocks).min(axis=0)
    bound = np.partition(minima, k - 1)[k - 1]
    if not np.isfinite(bound):
        return np.flatnonzero(score_N < np.inf)
    return np.flatnonzero(score_N <= bound + slack)


def rank(rows: Rows, queries: Sequence[Query], shortlists: Sequence[Shortlist], map_frame: Map) -> list[Ranking]:
    """Return the k nearest of each shortlist, equal ones by id.

    Args:
        rows: The records of all shortlists, one after the other.
        queries: One per shortlist.
        shortlists: What they may choose from.
        map_frame: What x and y mean.
    """
    sizes = [len(shortlist.slot_N) for shortlist in shortlists]
    asker_N = np.repeat(np.arange(len(queries)), sizes)
    latent_N = _latent_distances(rows.latent_ND, queries, asker_N)
    pose_N = _pose_distances(rows, queries, asker_N, map_frame)
    ranks = [query.rank for query in queries]
    distance_N = np.where(np.array([each == "pose" for each in ranks])[asker_N], pose_N, latent_N)
    if "both" in ranks:
        weight_N = np.array([query.pose_weight for query in queries])[asker_N]
        both_N = np.array([each == "both" for each in ranks])[asker_N]
        distance_N = np.where(both_N, latent_N**2 + weight_N * pose_N**2, distance_N)
    order_N = np.lexsort((rows.id_N, distance_N, asker_N))
    rankings = []
    start = 0
    for query, size in zip(queries, sizes):
        order_K = order_N[start : start + min(size, query.k)]
        rankings.append(Ranking(order_K, (distance_N[order_K], latent_N[order_K], pose_N[order_K])))
        start += size
    return rankings


def _latent_distances(latent_ND: np.ndarray, queries: Sequence[Query], asker_N: np.ndarray) -> np.ndarray:
    """Return L2 or cosine distances, NaN for queries without a latent; cosine from a zero latent is 1."""
    if all(query.latent_D is None for query in queries):
        return np.full(len(asker_N), np.nan)
    unknown_D = np.full(latent_ND.shape[1], np.nan)
    wanted_QD = np.array([unknown_D if query.latent_D is None else query.latent_D for query in queries], np.float64)
    latent_ND = latent_ND.astype(np.float64)
    wanted_ND = wanted_QD[asker_N]
    cosine_Q = np.array([query.metric == "cosine" for query in queries])
    difference_ND = latent_ND - wanted_ND
    distance_N = np.sqrt(np.einsum("nd,nd->n", difference_ND, difference_ND))
    if cosine_Q.any():
        scale_N = np.sqrt(
            np.einsum("nd,nd->n", latent_ND, latent_ND) * np.einsum("nd,nd->n", wanted_ND, wanted_ND)
        )
        product_N = np.einsum("nd,nd->n", latent_ND, wanted_ND)
        likeness_N = np.divide(product_N, scale_N, out=np.zeros(len(scale_N)), where=scale_N != 0)
        distance_N = np.where(cosine_Q[asker_N], 1.0 - likeness_N, distance_N)
    return distance_N


def _pose_distances(rows: Rows, queries: Sequence[Query], asker_N: np.ndarray, map_frame: Map) -> np.ndarray:
    """Return pose distances [m], NaN for queries without a place."""
    nowhere = (np.nan, np.nan, np.nan)
    place_Q3 = np.array(
        [nowhere if query.place is None else (query.place.x, query.place.y, query.place.heading) for query in queries]
    )
    x_N, y_N, heading_N = place_Q3[asker_N].T
    weight_N = np.array([query.heading_weight_m for query in queries])[asker_N]
    distance2_N = map_frame.distance2(rows.x_N, rows.y_N, x_N, y_N)
    turn_N = heading_difference(rows.heading_N, heading_N) * weight_N
    return np.sqrt(distance2_N + turn_N * turn_N)
