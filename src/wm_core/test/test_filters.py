"""The predicate of every filter against its meaning, record by record in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from wm_core.memory.filters import FILTERS, Candidates, Limits, is_filtered, passing
from wm_core.memory.frames import Planar
from wm_core.memory.query import Box, Place, Query
from wm_core.memory.rows import Rows

RANDOM = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck), print_blob=True)
COUNT = 40
CELL = 641516656295699783
"""Cells are larger than what a double tells apart from its neighbours."""


def rows_of(rng: np.random.Generator) -> Rows:
    """Return records on a coarse raster, so that many lie on a bound."""
    x_N, y_N = rng.integers(-6, 7, (2, COUNT)) / 2.0
    z_N, stamp_N = rng.integers(0, 3, COUNT) * 3.0, rng.integers(0, 9, COUNT)
    action_NA = rng.integers(-2, 3, (COUNT, 2)).astype(np.float32)
    action_NA[rng.random(COUNT) < 0.2] = np.nan
    return Rows(np.arange(COUNT), stamp_N, x_N, y_N, z_N, rng.uniform(-3.1, 3.1, COUNT).astype(np.float32),
                rng.integers(0, 3, COUNT), np.zeros(COUNT, np.float32), action_NA, action_NA,
                CELL + rng.integers(1, 5, COUNT), np.zeros((COUNT, 1), np.float32), **what_some_have(rng))  # fmt: skip


def what_some_have(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return features and rotations of some records, or of none."""
    if rng.random() < 0.3:
        return {}
    rotation_N4 = Rotation.random(COUNT, random_state=int(rng.integers(2**31))).as_quat().astype(np.float32)
    rotation_N4[rng.random(COUNT) < 0.5] = np.nan
    feature_NF, has_N = rng.integers(-128, 128, (COUNT, 3)).astype(np.int8), rng.random(COUNT) < 0.5
    return {"feature_NF": feature_NF, "has_feature_N": has_N, "rotation_N4": rotation_N4}


def query_of(rng: np.random.Generator) -> tuple[Query, Limits]:
    """Return a query that filters by some of what there is."""

    def maybe(value, otherwise):
        return value if rng.random() < 0.4 else otherwise

    low, high = np.sort(rng.integers(-6, 7, (2, 3)) / 2.0, axis=0)
    place = Place(*(rng.integers(-6, 7, 2) / 2.0).tolist(), 3.0, float(rng.uniform(-3, 3)))
    turn = Rotation.from_euler("ZYX", [place.yaw, *rng.uniform(-0.5, 0.5, 2)]).as_quat().tolist()
    query = Query(place=place, orientation=maybe(tuple(turn), None), rotation_tolerance_rad=maybe(1.2, 0.0),
                  feature_F=maybe(np.ones(3, np.int8), None), radius_m=maybe(float(rng.integers(1, 5)), 0.0),
                  box=maybe(Box(*low, *high), None), yaw_tolerance_rad=maybe(1.5, 0.0),
                  z_tolerance_m=maybe(3.0, 0.0),
                  action_A=maybe(rng.integers(-2, 3, 2).astype(np.float32), None),
                  action_distance=float(rng.integers(0, 4)))  # fmt: skip
    limits = Limits(
        maybe(2, None), maybe(6, None), maybe(1, None), maybe(np.array([CELL + 1, CELL + 3], np.uint64), None)
    )
    return query, limits


def passes(query: Query, limits: Limits, rows: Rows, at: int) -> bool:
    """Return whether one record passes, as the words of ``Query`` say it."""
    place = query.place
    x, y, z, yaw = (float(rows.column(name)[at]) for name in ("x", "y", "z", "yaw"))
    turn = abs(math.atan2(math.sin(yaw - place.yaw), math.cos(yaw - place.yaw)))
    inside = query.box is None or all(
        low <= value <= high for low, value, high in zip(query.box[:3], (x, y, z), query.box[3:])
    )
    has_feature = rows.has_feature_N is not None and bool(rows.has_feature_N[at])
    is_alike = query.action_A is None or math.dist(rows.action_NA[at], query.action_A) <= query.action_distance
    return (
        (query.radius_m == 0 or (x - place.x) ** 2 + (y - place.y) ** 2 <= query.radius_m**2)
        and (query.yaw_tolerance_rad == 0 or turn <= query.yaw_tolerance_rad)
        and (query.z_tolerance_m == 0 or abs(z - place.z) <= query.z_tolerance_m)
        and (limits.oldest_ns is None or rows.stamp_N[at] >= limits.oldest_ns)
        and (limits.newest_ns is None or rows.stamp_N[at] <= limits.newest_ns)
        and (limits.session is None or rows.session_N[at] == limits.session)
        and (limits.cell_C is None or rows.cell_N[at] in limits.cell_C)
        and (query.rotation_tolerance_rad == 0 or rotation_between(query, rows, at) <= query.rotation_tolerance_rad)
        and (query.feature_F is None or has_feature)
        and inside
        and is_alike
    )


def rotation_between(query: Query, rows: Rows, at: int) -> float:
    """Return by what angle a record's rotation turns into the query's."""
    held_4 = None if rows.rotation_N4 is None else rows.rotation_N4[at]
    yaws = float(rows.yaw_N[at]), query.place.yaw
    mine = Rotation.from_euler("z", yaws[0]) if held_4 is None or np.isnan(held_4[0]) else Rotation.from_quat(held_4)
    wanted = Rotation.from_quat(query.orientation) if query.orientation else Rotation.from_euler("z", yaws[1])
    return float((mine.inv() * wanted).magnitude())


@RANDOM
@given(seed=st.integers(0, 2**32 - 1))
def test_what_passes_is_what_the_words_say(seed):
    rng = np.random.default_rng(seed)
    rows, (query, limits) = rows_of(rng), query_of(rng)
    mask_N = passing(query, limits, Candidates(query, rows.column, Planar()), np.ones(COUNT, bool))
    assert mask_N.tolist() == [passes(query, limits, rows, at) for at in range(COUNT)]


def test_what_does_not_exist_does_not_pass():
    rows, query = rows_of(np.random.default_rng(0)), Query(latent_D=np.zeros(1))
    assert not passing(query, Limits(), Candidates(query, rows.column, Planar()), np.zeros(COUNT, bool)).any()


@pytest.mark.parametrize("name", [each.name for each in FILTERS])
def test_a_filter_that_is_known_is_not_compared(name):
    query = Query(place=Place(0.0, 0.0), radius_m=1.0, yaw_tolerance_rad=0.1, z_tolerance_m=0.1,
                  box=Box(0, 0, 0, 1, 1, 1), action_A=np.zeros(2), rotation_tolerance_rad=0.1,
                  feature_F=np.zeros(3, np.int8))  # fmt: skip
    limits = Limits(1, 2, 1, np.array([1], np.uint64))
    others = frozenset(each.name for each in FILTERS) - {name}
    assert is_filtered(query, limits, others)
    assert not is_filtered(query, limits, others | {name})
    rows = rows_of(np.random.default_rng(1))
    candidates = Candidates(query, rows.column, Planar())
    assert not passing(query, limits, candidates, np.ones(COUNT, bool), others).all()
    assert passing(query, limits, candidates, np.ones(COUNT, bool), others | {name}).all()


def test_an_action_of_another_size_is_within_no_distance():
    rows, query = rows_of(np.random.default_rng(2)), Query(place=Place(0, 0), action_A=np.ones(3), action_distance=9.0)
    assert not passing(query, Limits(), Candidates(query, rows.column, Planar()), np.ones(COUNT, bool)).any()
