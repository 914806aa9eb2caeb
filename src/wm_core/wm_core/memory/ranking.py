"""What is ranked by, and from shortlists to the k nearest, in double precision.

Shape suffixes: N = records of all shortlists, S = records of one, K = neighbours, D = latent size, Q = queries,
F = feature size, 4 = quaternion x, y, z, w.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wm_core.memory.filters import turns
from wm_core.memory.frames import Metric
from wm_core.memory.query import Query
from wm_core.memory.rows import Rows
from wm_core.se2 import wrap_angle

_BLOCK = 16
_PART = 2048


class Shortlist(NamedTuple):
    """The few records that hold a query's k nearest, and how many passed its filters."""

    slot_N: np.ndarray
    candidate_count: int


class Ranking(NamedTuple):
    """One query's k nearest: rows, and what they were ranked by, their latent and their pose distances."""

    order_K: np.ndarray
    distances: tuple[np.ndarray, np.ndarray, np.ndarray]


class Shortlisted(NamedTuple):
    """What ranking has to know, and nothing else."""

    id_N: np.ndarray
    x_N: np.ndarray
    y_N: np.ndarray
    yaw_N: np.ndarray
    latent_ND: np.ndarray
    feature_NF: np.ndarray | None = None
    rotation_N4: np.ndarray | None = None


def latent_distance(latent_ND: np.ndarray, wanted_ND: np.ndarray, *, cosine: bool) -> np.ndarray:
    """Return L2 or cosine distances in double precision; a zero latent is at cosine distance 1 from everything.

    Args:
        latent_ND: Latents.
        wanted_ND: What to compare them with: one latent [D], or one for each.
        cosine: 1 - cos instead of L2.
    """
    latent_ND = latent_ND.astype(np.float64)
    wanted_ND = np.asarray(wanted_ND, np.float64)
    if not cosine:
        latent_ND -= wanted_ND
        distance_N: np.ndarray = np.sqrt(np.einsum("nd,nd->n", latent_ND, latent_ND))
        return distance_N
    size2_N = np.einsum("nd,nd->n", latent_ND, latent_ND)
    scale_N = np.sqrt(size2_N * np.einsum("...d,...d->...", wanted_ND, wanted_ND))
    product_N = (latent_ND * wanted_ND).sum(axis=1)
    cosine_N: np.ndarray = np.divide(product_N, scale_N, out=np.zeros(len(scale_N)), where=scale_N > 0)
    return 1.0 - cosine_N


def feature_products(feature_NF: np.ndarray, wanted_F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the products of int8 features with one, and with themselves, both exact [N]."""
    # Products of int8 and sums of up to 2^38 of them are exact in double precision.
    wide_NF = feature_NF.astype(np.float64)
    return wide_NF @ wanted_F.astype(np.float64), np.einsum("nf,nf->n", wide_NF, wide_NF)


def feature_distance(
    product_N: np.ndarray, own_N: np.ndarray, wanted_F: np.ndarray, *, cosine: bool, squared: bool = False
) -> np.ndarray:
    """Return distances of int8 features to one in double precision; a zero one is at cosine distance 1 from everything.

    Args:
        product_N: Products with the one, exact.
        own_N: Products with themselves, exact.
        wanted_F: The one, int8.
        cosine: 1 - cos instead of L2.
        squared: L2 without its root, exact.
    """
    wide_F = wanted_F.astype(np.float64)
    if not cosine:
        distance2_N: np.ndarray = own_N - 2.0 * product_N + float(wide_F @ wide_F)
        return distance2_N if squared else np.sqrt(distance2_N)
    scale_N = np.sqrt(own_N * float(wide_F @ wide_F))
    cosine_N: np.ndarray = np.divide(product_N, scale_N, out=np.zeros(len(scale_N)), where=scale_N > 0)
    return 1.0 - cosine_N


def latent_scores(latent_ND: np.ndarray, slots_N: np.ndarray, latent_D: np.ndarray) -> np.ndarray:
    """Return squared L2 distances of the latents in slots, float32, a part at a time so that each stays in cache."""
    score_N = np.empty(len(slots_N), np.float32)
    wanted_D = np.asarray(latent_D, np.float32)
    for start in range(0, len(slots_N), _PART):
        part = slice(start, start + _PART)
        difference_ND = latent_ND[slots_N[part]]
        difference_ND -= wanted_D
        np.einsum("nd,nd->n", difference_ND, difference_ND, out=score_N[part])
    return score_N


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
    bound = np.inf
    if blocks > k:
        minima = score_N[: blocks * _BLOCK].reshape(_BLOCK, blocks).min(axis=0)
        bound = np.partition(minima, k - 1)[k - 1]
    if not np.isfinite(bound):
        return np.flatnonzero(score_N < np.inf)
    return np.flatnonzero(score_N <= bound + slack)


def off(score_N: np.ndarray, k: int, relative: float) -> float:
    """Return by how much scores about as large as the k-th smallest may be off together.

    Args:
        score_N: More than ``k`` scores.
        k: How many are wanted.
        relative: By how much of itself one may be off.
    """
    return 2.0 * relative * float(np.partition(score_N, k - 1)[k - 1])


def rank(
    listed: Shortlisted | Rows, queries: Sequence[Query], shortlists: Sequence[Shortlist], metric: Metric
) -> list[Ranking]:
    """Return the k nearest of each shortlist, equal ones by id.

    Args:
        listed: The records of all shortlists.
        queries: One per shortlist.
        shortlists: What they may choose from.
        metric: What x and y mean.
    """
    if len(queries) == 1:
        return [_rank_one(listed, queries[0], metric)]
    sizes = [len(shortlist.slot_N) for shortlist in shortlists]
    asker_N = np.repeat(np.arange(len(queries)), sizes)
    latent_N = _latent_distances(listed, queries, asker_N)
    pose_N = _pose_distances(listed, queries, asker_N, metric)
    ranks = [query.rank for query in queries]
    distance_N = np.where(np.array([each == "pose" for each in ranks])[asker_N], pose_N, latent_N)
    if "both" in ranks:
        weight_N = np.array([query.pose_weight for query in queries])[asker_N]
        both_N = np.array([each == "both" for each in ranks])[asker_N]
        distance_N = np.where(both_N, latent_N**2 + weight_N * pose_N**2, distance_N)
    order_N = np.lexsort((listed.id_N, distance_N, asker_N))
    rankings = []
    start = 0
    for query, size in zip(queries, sizes):
        order_K = order_N[start : start + min(size, query.k)]
        rankings.append(Ranking(order_K, (distance_N[order_K], latent_N[order_K], pose_N[order_K])))
        start += size
    return rankings


def _rank_one(listed: Shortlisted | Rows, query: Query, metric: Metric) -> Ranking:
    latent_N = pose_N = None
    if query.look is not None:
        latent_N = _look_distance(listed, query)
    if query.place is not None:
        pose2_N = metric.distance2(listed.x_N, listed.y_N, query.place.x, query.place.y)
        if query.yaw_weight_m > 0:
            turn_N = turns(listed.yaw_N, listed.rotation_N4, wrap_angle(query.place.yaw), query.orientation)
            turn_N *= query.yaw_weight_m
            pose2_N = turn_N * turn_N + pose2_N
        pose_N = np.sqrt(pose2_N)
    if latent_N is None or pose_N is None:
        unknown_N = np.full(len(listed.id_N), np.nan)
        latent_N, pose_N = unknown_N if latent_N is None else latent_N, unknown_N if pose_N is None else pose_N
    if query.rank == "both":
        distance_N = latent_N**2 + query.pose_weight * pose_N**2
    else:
        distance_N = latent_N if query.rank == "latent" else pose_N
    order_K = np.lexsort((listed.id_N, distance_N))[: query.k]
    return Ranking(order_K, (distance_N[order_K], latent_N[order_K], pose_N[order_K]))


def _look_distance(listed: Shortlisted | Rows, query: Query, which: slice | None = None) -> np.ndarray:
    """Return by how much records differ in look from what a query is to look like."""
    which, cosine = which or slice(None), query.metric == "cosine"
    if query.feature_F is None:
        assert query.latent_D is not None
        return latent_distance(listed.latent_ND[which], query.latent_D, cosine=cosine)
    assert listed.feature_NF is not None
    products = feature_products(listed.feature_NF[which], query.feature_F)
    return feature_distance(*products, query.feature_F, cosine=cosine)


def _latent_distances(listed: Shortlisted | Rows, queries: Sequence[Query], asker_N: np.ndarray) -> np.ndarray:
    """Return L2 or cosine distances, NaN for queries without a latent or feature; the askers stand in order."""
    if any(query.feature_F is not None for query in queries):
        distance_N = np.full(len(asker_N), np.nan)
        starts = np.searchsorted(asker_N, np.arange(len(queries) + 1)).tolist()
        for query, start, end in zip(queries, starts, starts[1:]):
            if query.look is not None and end > start:
                distance_N[start:end] = _look_distance(listed, query, slice(start, end))
        return distance_N
    latent_ND = listed.latent_ND
    if all(query.latent_D is None for query in queries):
        return np.full(len(asker_N), np.nan)
    unknown_D = np.full(latent_ND.shape[1], np.nan)
    wanted_QD = np.array([unknown_D if query.latent_D is None else query.latent_D for query in queries], np.float64)
    wanted_ND = wanted_QD[asker_N]
    distance_N = latent_distance(latent_ND, wanted_ND, cosine=False)
    cosine_N = np.array([query.metric == "cosine" and query.latent_D is not None for query in queries])[asker_N]
    if cosine_N.any():
        distance_N[cosine_N] = latent_distance(latent_ND[cosine_N], wanted_ND[cosine_N], cosine=True)
    return distance_N


def _pose_distances(
    listed: Shortlisted | Rows, queries: Sequence[Query], asker_N: np.ndarray, metric: Metric
) -> np.ndarray:
    """Return pose distances [m], NaN for queries without a place; the askers stand in order."""
    nowhere = (np.nan, np.nan, np.nan)
    place_Q3 = np.array(
        [
            nowhere if query.place is None else (query.place.x, query.place.y, wrap_angle(query.place.yaw))
            for query in queries
        ]
    )
    x_N, y_N, yaw_N = place_Q3[asker_N].T
    weight_N = np.array([query.yaw_weight_m for query in queries])[asker_N]
    distance2_N = metric.distance2(listed.x_N, listed.y_N, x_N, y_N)
    turn_N = turns(listed.yaw_N, listed.rotation_N4, yaw_N, None)
    starts = np.searchsorted(asker_N, np.arange(len(queries) + 1)).tolist()
    for query, start, end in zip(queries, starts, starts[1:]):
        if query.orientation is not None and query.place is not None and end > start:
            rotation_N4 = None if listed.rotation_N4 is None else listed.rotation_N4[start:end]
            turn_N[start:end] = turns(listed.yaw_N[start:end], rotation_N4, query.place.yaw, query.orientation)
    turn_N *= weight_N
    pose_N: np.ndarray = np.sqrt(turn_N * turn_N + distance2_N)
    return pose_N
