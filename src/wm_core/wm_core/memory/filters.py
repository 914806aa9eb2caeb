"""What each filter of a query means, written once: columns of candidates in, a mask out.

Every search takes its mask from here, or is held to it by a test where it compares by itself. A new filter is a field
of ``Query`` and a row of ``FILTERS``; see ``docs/guides/add_a_filter.md``.

Shape suffixes: N = candidates (any shape that the columns share), A = action size, C = cells.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from wm_core.memory.frames import Metric
from wm_core.memory.query import Query
from wm_core.memory.record import Quaternion
from wm_core.se2 import wrap_angle
from wm_core.se3 import quaternions_of, rotation_angle

TAU = 2.0 * np.pi


class Limits(NamedTuple):
    """What a query names by words, in the memory's own numbers.

    Attributes:
        oldest_ns: Inclusive [ns]; None: any.
        newest_ns: Inclusive [ns]; None: any.
        session: Number of the session; None: any.
        cell_C: The cells of the query's rings, uint64; None: any, or the candidates are known to lie in them.
    """

    oldest_ns: int | None = None
    newest_ns: int | None = None
    session: int | None = None
    cell_C: np.ndarray | None = None


def yaw_difference(yaw_N: np.ndarray, yaw: float | np.ndarray) -> np.ndarray:
    """Return by how much yaws differ, 0..pi [rad]; all within -pi..pi."""
    turn_N = yaw_N.astype(np.float64)
    turn_N -= yaw
    np.abs(turn_N, out=turn_N)
    return np.minimum(turn_N, TAU - turn_N, out=turn_N)


def turns(
    yaw_N: np.ndarray, rotation_N4: np.ndarray | None, yaw: float | np.ndarray, orientation: Quaternion | None
) -> np.ndarray:
    """Return by how much whole rotations differ, 0..pi [rad]; where neither is more than a yaw, by how much those do.

    Args:
        yaw_N: Yaws, within -pi..pi.
        rotation_N4: Whole rotations, NaN where the yaw says it all; None: everywhere.
        yaw: What to compare with, within -pi..pi.
        orientation: Its whole rotation; None: the yaw says it all.
    """
    turn_N = yaw_difference(yaw_N, yaw)
    if rotation_N4 is None and orientation is None:
        return turn_N
    tilts_N = np.ones(yaw_N.shape, bool) if rotation_N4 is None else ~np.isnan(rotation_N4[..., 0])
    mine_N4 = quaternions_of(yaw_N)
    if rotation_N4 is not None:
        mine_N4[tilts_N] = rotation_N4[tilts_N]
    if orientation is not None:
        return rotation_angle(mine_N4, np.array(orientation, np.float64))
    turn_N[tilts_N] = rotation_angle(mine_N4, quaternions_of(np.broadcast_to(yaw, yaw_N.shape)))[tilts_N]
    return turn_N


class Candidates:
    """Columns of records that a query may find, and how far they lie from its place.

    Each measure is worked out once, when it is asked for; only where the query has a place.

    Args:
        query: Whose place.
        column: Returns a column of the candidates by name: ``x``, ``stamp``, ``action``, ... (see ``Rows``); None
            where no record of the memory has such.
        metric: What x and y mean.
    """

    def __init__(self, query: Query, column: Callable[[str], Any], metric: Metric) -> None:
        self._query = query
        self._metric = metric
        self.column = column

    @cached_property
    def distance2(self) -> np.ndarray:
        """Squared planar distances [m^2]."""
        place = self._query.place
        assert place is not None
        return self._metric.distance2(self.column("x"), self.column("y"), place.x, place.y)

    @cached_property
    def turn(self) -> np.ndarray:
        """Differences in yaw alone [rad]."""
        place = self._query.place
        assert place is not None
        return yaw_difference(self.column("yaw"), wrap_angle(place.yaw))

    @cached_property
    def rotation(self) -> np.ndarray:
        """Differences in whole rotation [rad]; those in yaw where nothing tilts."""
        place, rotation_N4 = self._query.place, self.column("rotation")
        assert place is not None
        if rotation_N4 is None and self._query.orientation is None:
            return self.turn
        return turns(self.column("yaw"), rotation_N4, wrap_angle(place.yaw), self._query.orientation)

    def pose_distance2(self) -> np.ndarray:
        """Return squared pose distances: planar metres, each radian of rotation counted as ``yaw_weight_m``."""
        if self._query.yaw_weight_m == 0:
            copied_N: np.ndarray = self.distance2.copy()
            return copied_N
        turn_N: np.ndarray = self.rotation * self._query.yaw_weight_m
        turn_N *= turn_N
        turn_N += self.distance2
        return turn_N


class Filter(NamedTuple):
    """One filter of a query.

    Attributes:
        name: How a search names it that knows already that all candidates pass.
        is_set: Whether the query, or its limits, filter by it at all; the mask is asked for only then.
        mask: Which candidates pass.
    """

    name: str
    is_set: Callable[[Query, Limits], bool]
    mask: Callable[[Query, Limits, Candidates], np.ndarray]


def _within_radius(query: Query, _limits: Limits, candidates: Candidates) -> np.ndarray:
    return candidates.distance2 <= query.radius_m**2


def _in_rings(_query: Query, limits: Limits, candidates: Candidates) -> np.ndarray:
    assert limits.cell_C is not None
    # Of one type: NumPy compares signed with unsigned ones as floats, to which neighbouring cells are the same.
    return np.isin(candidates.column("cell").astype(np.uint64), limits.cell_C.astype(np.uint64))


def _within_yaw(query: Query, _limits: Limits, candidates: Candidates) -> np.ndarray:
    return candidates.turn <= query.yaw_tolerance_rad


def _within_rotation(query: Query, _limits: Limits, candidates: Candidates) -> np.ndarray:
    return candidates.rotation <= query.rotation_tolerance_rad


def _has_feature(_query: Query, _limits: Limits, candidates: Candidates) -> np.ndarray:
    has_N = candidates.column("has_feature")
    return np.zeros(candidates.column("stamp").shape, bool) if has_N is None else has_N.astype(bool)


def _within_height(query: Query, _limits: Limits, candidates: Candidates) -> np.ndarray:
    assert query.place is not None
    near_N: np.ndarray = np.abs(candidates.column("z") - query.place.z) <= query.z_tolerance_m
    return near_N


def _not_older(_query: Query, limits: Limits, candidates: Candidates) -> np.ndarray:
    passes_N: np.ndarray = candidates.column("stamp") >= limits.oldest_ns
    return passes_N


def _not_newer(_query: Query, limits: Limits, candidates: Candidates) -> np.ndarray:
    passes_N: np.ndarray = candidates.column("stamp") <= limits.newest_ns
    return passes_N


def _of_session(_query: Query, limits: Limits, candidates: Candidates) -> np.ndarray:
    of_session_N: np.ndarray = candidates.column("session") == limits.session
    return of_session_N


def _in_box(query: Query, _limits: Limits, candidates: Candidates) -> np.ndarray:
    assert query.box is not None
    x_N, y_N, z_N = (candidates.column(axis) for axis in "xyz")
    low, high = query.box[:3], query.box[3:]
    inside_N: np.ndarray = (x_N >= low[0]) & (x_N <= high[0]) & (y_N >= low[1]) & (y_N <= high[1])
    inside_N &= (z_N >= low[2]) & (z_N <= high[2])
    return inside_N


def _acts_alike(query: Query, _limits: Limits, candidates: Candidates) -> np.ndarray:
    assert query.action_A is not None
    action_NA = candidates.column("action")
    if action_NA.shape[-1] != np.size(query.action_A):
        return np.zeros(action_NA.shape[:-1], bool)
    difference_NA = action_NA.astype(np.float64) - query.action_A
    # An unknown action is NaN, which is within no distance of anything.
    alike_N: np.ndarray = np.einsum("...a,...a->...", difference_NA, difference_NA) <= query.action_distance**2
    return alike_N


FILTERS = (
    Filter("radius", lambda query, _: query.radius_m > 0, _within_radius),
    Filter("rings", lambda _, limits: limits.cell_C is not None, _in_rings),
    Filter("yaw", lambda query, _: query.yaw_tolerance_rad > 0, _within_yaw),
    Filter("rotation", lambda query, _: query.rotation_tolerance_rad > 0, _within_rotation),
    Filter("feature", lambda query, _: query.feature_F is not None, _has_feature),
    Filter("z", lambda query, _: query.z_tolerance_m > 0, _within_height),
    Filter("oldest", lambda _, limits: limits.oldest_ns is not None, _not_older),
    Filter("newest", lambda _, limits: limits.newest_ns is not None, _not_newer),
    Filter("session", lambda _, limits: limits.session is not None, _of_session),
    Filter("box", lambda query, _: query.box is not None, _in_box),
    Filter("action", lambda query, _: query.action_A is not None and np.size(query.action_A) > 0, _acts_alike),
)
"""All filters there are, those that leave least at the lowest cost first."""
_NOTHING: frozenset[str] = frozenset()


def passing(
    query: Query, limits: Limits, candidates: Candidates, mask_N: np.ndarray, known: frozenset[str] = _NOTHING
) -> np.ndarray:
    """Narrow a mask to the candidates that pass every filter.

    Args:
        query: The filters; checked before.
        limits: Their time bounds, session and cells.
        candidates: What may pass.
        mask_N: Which candidates exist; changed in place.
        known: Names of filters that all of them are known to pass.

    Returns:
        The mask.
    """
    for each in FILTERS:
        if each.is_set(query, limits) and each.name not in known:
            mask_N &= each.mask(query, limits, candidates)
    return mask_N


def is_filtered(query: Query, limits: Limits, known: frozenset[str] = _NOTHING) -> bool:
    """Return whether anything narrows what a query may find, filters of some names aside."""
    return any(each.name not in known and each.is_set(query, limits) for each in FILTERS)
