"""Every filter of a query, exact, over columns.

Shape suffixes: N = candidates (any shape that the columns share), A = action size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from spatial_memory.maps import Map
from spatial_memory.query import Query

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


def heading_difference(heading_N: np.ndarray, heading: float) -> np.ndarray:
    """Return by how much headings differ from one, 0..pi [rad]."""
    turn_N = heading_N.astype(np.float64)
    turn_N -= heading
    turn_N += np.pi
    np.mod(turn_N, TAU, out=turn_N)
    turn_N -= np.pi
    return np.abs(turn_N, out=turn_N)


def passing(
    query: Query,
    column: Callable[[str], np.ndarray],
    map_frame: Map,
    limits: Limits,
    mask_N: np.ndarray,
) -> np.ndarray:
    """Narrow a mask to the candidates that pass every filter but the H3 rings.

    Args:
        query: The filters; checked before.
        column: Returns a column of the candidates by name.
        map_frame: What x and y mean.
        limits: Time bounds and session.
        mask_N: Which candidates exist; changed in place.

    Returns:
        The mask.
    """
    place = query.place
    if place is not None and query.radius_m > 0:
        mask_N &= map_frame.distance2(column("x"), column("y"), place.x, place.y) <= query.radius_m**2
    if place is not None and query.heading_tolerance_rad > 0:
        mask_N &= heading_difference(column("heading"), place.heading) <= query.heading_tolerance_rad
    if place is not None and query.z_tolerance_m > 0:
        mask_N &= np.abs(column("z") - place.z) <= query.z_tolerance_m
    if limits.oldest_ns is not None:
        mask_N &= column("stamp") >= limits.oldest_ns
    if limits.newest_ns is not None:
        mask_N &= column("stamp") <= limits.newest_ns
    if limits.session is not None:
        mask_N &= column("session") == limits.session
    _inside_box(query, column, mask_N)
    _near_action(query, column, mask_N)
    return mask_N


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


def pose_distance2(
    query: Query, x_N: np.ndarray, y_N: np.ndarray, heading_N: np.ndarray, map_frame: Map
) -> np.ndarray:
    """Return squared pose distances: planar metres, with each radian of heading counted as ``heading_weight_m``."""
    assert query.place is not None
    distance2_N = map_frame.distance2(x_N, y_N, query.place.x, query.place.y)
    if query.heading_weight_m > 0:
        turn_N = heading_difference(heading_N, query.place.heading)
        turn_N *= query.heading_weight_m
        turn_N *= turn_N
        distance2_N = distance2_N + turn_N
    return distance2_N


def latent_distance(latent_ND: np.ndarray, latent_D: np.ndarray, metric: str) -> np.ndarray:
    """Return L2 or cosine distances in double precision; a zero latent is at cosine distance 1 from everything."""
    latent_ND = latent_ND.astype(np.float64)
    wanted_D = np.asarray(latent_D, np.float64)
    if metric == "l2":
        latent_ND -= wanted_D
        return np.sqrt(np.einsum("nd,nd->n", latent_ND, latent_ND))
    scale_N = np.sqrt(np.einsum("nd,nd->n", latent_ND, latent_ND) * (wanted_D @ wanted_D))
    likeness_N = np.divide(latent_ND @ wanted_D, scale_N, out=np.zeros(len(latent_ND)), where=scale_N > 0)
    return 1.0 - likeness_N
