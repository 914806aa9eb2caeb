"""Every filter of a query, exact, over columns.

Shape suffixes: N = candidates (any shape that the columns share), A = action size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from wm_core.memory.frames import Map
from wm_core.memory.query import Query
from wm_core.se2 import wrap_angle

TAU = 2.0 * np.pi


class Limits(NamedTuple):
    """A query's time bounds and session in the memory's own numbers.

    Attributes:
        oldest_ns: Inclusive [ns]; None: any.
        newest_ns: Inclusive [ns]; None: any.
        session: Number of the session; None: any.
    """

    oldest_ns: int | None = None
    newest_ns: int | None = None
    session: int | None = None


_NO_LIMITS = Limits()


def yaw_difference(yaw_N: np.ndarray, yaw: float | np.ndarray) -> np.ndarray:
    """Return by how much yaws differ, 0..pi [rad]; all within -pi..pi."""
    turn_N = yaw_N.astype(np.float64)
    turn_N -= yaw
    np.abs(turn_N, out=turn_N)
    return np.minimum(turn_N, TAU - turn_N, out=turn_N)


class Measures:
    """How far candidates lie from a query's place; each measure is worked out once, when it is asked for.

    Args:
        query: Whose place.
        column: Returns a column of the candidates by name.
        map_frame: What x and y mean.
    """

    def __init__(self, query: Query, column: Callable[[str], np.ndarray], map_frame: Map) -> None:
        assert query.place is not None
        self._place = query.place
        self._weight_m = query.yaw_weight_m
        self._map = map_frame
        self.column = column

    @cached_property
    def distance2(self) -> np.ndarray:
        """Squared planar distances [m^2]."""
        return self._map.distance2(self.column("x"), self.column("y"), self._place.x, self._place.y)

    @cached_property
    def turn(self) -> np.ndarray:
        """Differences in yaw [rad]."""
        return yaw_difference(self.column("yaw"), wrap_angle(self._place.yaw))

    def pose_distance2(self) -> np.ndarray:
        """Return squared pose distances: planar metres, each radian of yaw counted as ``yaw_weight_m``."""
        if self._weight_m == 0:
            return self.distance2.copy()
        turn_N = self.turn * self._weight_m
        turn_N *= turn_N
        turn_N += self.distance2
        return turn_N


def passing(
    query: Query,
    column: Callable[[str], np.ndarray],
    measures: Measures | None,
    limits: Limits,
    mask_N: np.ndarray,
    *,
    within_radius: bool = False,
) -> np.ndarray:
    """Narrow a mask to the candidates that pass every filter but the H3 rings.

    Args:
        query: The filters; checked before.
        column: Returns a column of the candidates by name.
        measures: From the query's place; None where it has none.
        limits: Time bounds and session.
        mask_N: Which candidates exist; changed in place.
        within_radius: All of them are known to lie within the query's radius.

    Returns:
        The mask.
    """
    if query.place is not None and measures is not None:
        if query.radius_m > 0 and not within_radius:
            mask_N &= measures.distance2 <= query.radius_m**2
        if query.yaw_tolerance_rad > 0:
            mask_N &= measures.turn <= query.yaw_tolerance_rad
        if query.z_tolerance_m > 0:
            mask_N &= np.abs(column("z") - query.place.z) <= query.z_tolerance_m
    if limits.oldest_ns is not None:
        mask_N &= column("stamp") >= limits.oldest_ns
    if limits.newest_ns is not None:
        mask_N &= column("stamp") <= limits.newest_ns
    if limits.session is not None:
        mask_N &= column("session") == limits.session
    _inside_box(query, column, mask_N)
    _near_action(query, column, mask_N)
    return mask_N


def has_more_filters(query: Query, limits: Limits) -> bool:
    """Return whether anything but the radius and the H3 rings narrows what a query may find."""
    return (
        query.yaw_tolerance_rad > 0
        or query.z_tolerance_m > 0
        or query.box is not None
        or query.action_A is not None
        or limits != _NO_LIMITS
    )


def _inside_box(query: Query, column: Callable[[str], np.ndarray], mask_N: np.ndarray) -> None:
    if query.box is None:
        return
    for axis, low, high in zip("xyz", query.box[:3], query.box[3:]):
        values_N = column(axis)
        mask_N &= values_N >= low
        mask_N &= values_N <= high


def _near_action(query: Query, column: Callable[[str], np.ndarray], mask_N: np.ndarray) -> None:
    if query.action_A is None or not np.size(query.action_A):
        return
    action_NA = column("action")
    if action_NA.shape[-1] != np.size(query.action_A):
        mask_N[...] = False
        return
    difference_NA = action_NA.astype(np.float64) - query.action_A
    # An unknown action is NaN, which is within no distance of anything.
    mask_N &= np.einsum("...a,...a->...", difference_NA, difference_NA) <= query.action_distance**2


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
        return np.sqrt(np.einsum("nd,nd->n", latent_ND, latent_ND))
    size2_N = np.einsum("nd,nd->n", latent_ND, latent_ND)
    scale_N = np.sqrt(size2_N * np.einsum("...d,...d->...", wanted_ND, wanted_ND))
    product_N = (latent_ND * wanted_ND).sum(axis=1)
    return 1.0 - np.divide(product_N, scale_N, out=np.zeros(len(scale_N)), where=scale_N > 0)
