"""Which place something looks like, from the memories that look most like it: one rule for service and evaluation.

The memories are gone through nearest in look first; each belongs to the first place whose best memory lies within the
revisit radius and rotation of it, or opens a place of its own. Looks differ by the length of the difference of features
that were scaled to length 1, so that a darker picture is no other place. How sure a place is follows from the
differences alone: a memory counts ``exp(-SHARPNESS / 2 * ((d / d_best)^2 - 1))``, and a place has the share of what its
memories count.

Shape suffixes: K = memories nearest in look, 4 = quaternion x, y, z, w.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wm_core.memory.filters import turns
from wm_core.memory.frames import Metric, Planar
from wm_core.memory.keyframes import REVISIT_RADIUS_M, REVISIT_YAW_RAD
from wm_core.memory.query import MAX_K
from wm_core.memory.record import MemoryRecord

SHARPNESS = 16.0
"""Such that a place with confidence c is right in about that share; see docs/reports/2026-11-27-recognise/README.md."""
AMBIGUOUS_RATIO = 0.8
"""Of the distances of the best and the second place; above it the second looks nearly as much like it."""
AGREEING = 5
"""So many nearest memories should lie at one place."""
LEAST_AGREEMENT = 0.6
SURE = 0.8
"""From this confidence on the nearest memories need not agree."""
_COUNTED = 64
_FIRST_K = 64


@dataclass(frozen=True)
class Ranked:
    """Memories nearest in look first.

    Attributes:
        x_K: Where they lie [m], degrees of longitude in a ``wgs84`` map.
        y_K: Likewise.
        yaw_K: Where the robot looked [rad].
        rotation_K4: Whole rotations, NaN where the yaw says it all; None: everywhere.
        distance_K: By how much they differ in look.
        is_all: Whether there are no more than these.
    """

    x_K: np.ndarray
    y_K: np.ndarray
    yaw_K: np.ndarray
    rotation_K4: np.ndarray | None
    distance_K: np.ndarray
    is_all: bool


@dataclass(frozen=True)
class LikelyPlace:
    """A place that looks like what was asked for.

    Attributes:
        at: Which of the ranked memories looks most like it there.
        distance: By how much that one differs in look.
        confidence: 0..1.
        support: How many of the ``AGREEING`` nearest memories lie there.
    """

    at: int
    distance: float
    confidence: float
    support: int


@dataclass(frozen=True)
class Recognition:
    """Places that look like what was asked for, the likeliest first.

    Attributes:
        places: The places.
        second_ratio: Distance of the best over that of the nearest memory clearly elsewhere; 0: there is none.
        agreement: Share of the ``AGREEING`` nearest memories that lie at the best place.
    """

    places: tuple[LikelyPlace, ...] = ()
    second_ratio: float = 0.0
    agreement: float = 0.0

    @property
    def ambiguity(self) -> str:
        """Why the best place is not sure, in words; empty where it is."""
        reasons = []
        if self.second_ratio > AMBIGUOUS_RATIO:
            reasons.append(f"another place looks nearly as much like it (ratio {self.second_ratio:.2f})")
        # Where memories stand far apart, only one can lie at a place however well it fits.
        if self.places and self.agreement < LEAST_AGREEMENT and self.places[0].confidence < SURE:
            reasons.append(f"of the nearest memories {self.agreement:.0%} lie at the best place")
        return "; ".join(reasons)


@dataclass(frozen=True)
class SamePlace:
    """When two memories lie at one place.

    Attributes:
        radius_m: Planar distance [m].
        rotation_rad: Difference in whole rotation [rad].
        metric: What x and y mean.
    """

    radius_m: float = REVISIT_RADIUS_M
    rotation_rad: float = REVISIT_YAW_RAD
    metric: Metric = Planar()

    def holds(self, ranked: Ranked, at: int) -> np.ndarray:
        """Return which memories lie at the place of one of them, bool [K]."""
        distance2_K = self.metric.distance2(ranked.x_K, ranked.y_K, float(ranked.x_K[at]), float(ranked.y_K[at]))
        own_4 = None if ranked.rotation_K4 is None else ranked.rotation_K4[at]
        x, y, z, w = (math.nan,) * 4 if own_4 is None else own_4.tolist()
        orientation = None if math.isnan(x) else (x, y, z, w)
        turn_K = turns(ranked.yaw_K, ranked.rotation_K4, float(ranked.yaw_K[at]), orientation)
        same_K: np.ndarray = (distance2_K <= self.radius_m**2) & (turn_K <= self.rotation_rad)
        return same_K

    def twice(self) -> SamePlace:
        """Return the same with both bounds doubled: what lies outside is clearly elsewhere."""
        return replace(self, radius_m=2.0 * self.radius_m, rotation_rad=2.0 * self.rotation_rad)


def recognise(nearest: Callable[[int], Ranked], most: int = 5, same: SamePlace | None = None) -> Recognition:
    """Return the places that look most like something.

    Args:
        nearest: Returns the k memories that look most like it, or those of them that may be found.
        most: Places at most.
        same: When two memories lie at one place.
    """
    same = same or SamePlace()
    k = _FIRST_K
    while True:
        ranked = nearest(k)
        elsewhere = np.flatnonzero(~same.twice().holds(ranked, 0)) if len(ranked.x_K) else np.empty(0, np.int64)
        if len(elsewhere) or k >= MAX_K or ranked.is_all:
            break
        k = min(4 * k, MAX_K)
    if not len(ranked.x_K):
        return Recognition()
    second = float(ranked.distance_K[elsewhere[0]]) if len(elsewhere) else math.inf
    best = float(ranked.distance_K[0])
    ratio = 0.0 if math.isinf(second) else best / second if second > 0 else 1.0
    places = _places(ranked, same, most)
    agreement = places[0].support / min(AGREEING, len(ranked.x_K))
    return Recognition(tuple(places), ratio, agreement)


def _places(ranked: Ranked, same: SamePlace, most: int) -> list[LikelyPlace]:
    """Return places in the order of their best memories."""
    weight_K = _weights(ranked.distance_K)
    free_K = np.ones(len(ranked.x_K), bool)
    places: list[LikelyPlace] = []
    while len(places) < most and free_K.any():
        at = int(np.argmax(free_K))
        mine_K = same.holds(ranked, at) & free_K
        free_K &= ~mine_K
        confidence = float(weight_K[mine_K].sum() / weight_K.sum())
        support = int(np.count_nonzero(mine_K[:AGREEING]))
        places.append(LikelyPlace(at, float(ranked.distance_K[at]), confidence, support))
    return places


def _weights(distance_K: np.ndarray) -> np.ndarray:
    """Return what each memory counts, the first 1; those beyond the first few nothing."""
    weight_K = np.zeros(len(distance_K))
    first_K = distance_K[:_COUNTED]
    if first_K[0] > 0:
        weight_K[:_COUNTED] = np.exp(-SHARPNESS / 2.0 * ((first_K / first_K[0]) ** 2 - 1.0))
    else:
        weight_K[:_COUNTED] = first_K == 0
    return weight_K


def chord(cosine_distance_K: np.ndarray) -> np.ndarray:
    """Return the lengths of the differences of vectors of length 1 whose cosine distances (1 - cos) are given."""
    chord_K: np.ndarray = np.sqrt(2.0 * np.maximum(cosine_distance_K, 0.0))
    return chord_K


def ranked_of(records: Sequence[MemoryRecord], distance_K: np.ndarray, *, is_all: bool) -> Ranked:
    """Return records of an answer, nearest in look first, side by side."""
    x_K, y_K, yaw_K = (
        np.array([getattr(record, name) for record in records], np.float64) for name in ("x", "y", "yaw")
    )
    orientations = [record.orientation for record in records]
    rotation_K4 = None
    if any(orientations):
        rotation_K4 = np.array([orientation or (math.nan,) * 4 for orientation in orientations], np.float64)
    return Ranked(x_K, y_K, yaw_K, rotation_K4, np.asarray(distance_K, np.float64), is_all)
