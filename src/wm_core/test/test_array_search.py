"""The search over arrays, compiled and portable, against the plain reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wm_core.memory.array_search import ArraySearch
from wm_core.memory.errors import QueryError
from wm_core.memory.frames import Planar
from wm_core.memory.kernels import load
from wm_core.memory.query import Box, Place, Query
from wm_core.memory.record import MemoryRecord
from wm_core.memory.reference import BruteMemory
from wm_core.memory.rows import Rows

RANDOM = settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck), print_blob=True)
SESSIONS = {"a": 0, "b": 1}
WAYS = [
    pytest.param(True, marks=pytest.mark.skipif(load() is None, reason="built without a C compiler"), id="compiled"),
    pytest.param(False, id="portable"),
]


class OneCell:
    """A grid whose only cell is the whole map."""

    map = Planar()

    def cell_of(self, x: float, y: float) -> int:
        return 1

    def within_rings(self, cell: int, ring_count: int) -> np.ndarray:
        return np.array([cell], np.uint64)


def world(rng: np.random.Generator, count: int, spread_m: float) -> tuple[Rows, BruteMemory]:
    """Return the same records as arrays, in any order, and in the reference; places and latents repeat."""
    x_N, y_N = np.round(rng.uniform(-spread_m, spread_m, (2, count)), 1)
    yaw_N = rng.choice(rng.uniform(-math.pi, math.pi, 5).astype(np.float32), count)
    action_NA = rng.integers(-1, 2, (count, 2)).astype(np.float32)
    action_NA[rng.random(count) < 0.3] = np.nan
    rows = Rows(rng.permutation(count) + 1, rng.integers(0, 40, count) * 10**8, x_N, y_N,
                rng.integers(0, 2, count) * 3.0, yaw_N, rng.integers(0, 2, count),
                np.full(count, np.nan, np.float32), action_NA, action_NA, np.ones(count, np.uint64),
                rng.integers(-2, 3, (count, 5)).astype(np.float32))  # fmt: skip
    reference = BruteMemory(OneCell())
    records = []
    for at in range(count):
        action_A = action_NA[at] if np.isfinite(action_NA[at]).all() else np.empty(0, np.float32)
        records.append(
            MemoryRecord(int(rows.stamp_N[at]), rows.latent_ND[at], float(x_N[at]), float(y_N[at]), float(rows.z_N[at]),
                         float(yaw_N[at]), "ab"[rows.session_N[at]], "e", action_A=action_A, id=int(rows.id_N[at]))
        )  # fmt: skip
    # A first one says how many values actions have, as arrays do.
    reference.insert([MemoryRecord(0, np.zeros(5), 0, 0, encoder_id="e", action_A=np.zeros(2), id=count + 1)])
    reference._records.clear()
    reference.insert(records)
    return rows, reference


def query_of(rng: np.random.Generator, spread_m: float) -> Query:
    def maybe(chance, value, otherwise):
        return value if rng.random() < chance else otherwise

    rank = str(rng.choice(["auto", "latent", "pose", "both"]))
    low, high = np.sort(rng.uniform(-spread_m, spread_m, (2, 3)), axis=0)
    x, y = np.round(rng.uniform(-1.2 * spread_m, 1.2 * spread_m, 2), 1).tolist()
    needs_latent = rank in ("latent", "both")
    return Query(
        k=int(rng.integers(1, 12)), place=Place(x, y, 0.0, float(rng.uniform(-4, 4))), rank_by=rank,
        latent_D=maybe(1.0 if needs_latent else 0.4, rng.integers(-2, 3, 5).astype(np.float32), None),
        metric=maybe(0.2, "cosine", "l2"), radius_m=maybe(0.7, float(rng.choice([0.1, 0.5, 1.0, 4.0])), 0.0),
        box=maybe(0.2, Box(*low, *high), None), yaw_tolerance_rad=maybe(0.4, 1.0, 0.0),
        z_tolerance_m=maybe(0.2, 1.0, 0.0), time_min_ns=maybe(0.2, int(rng.integers(0, 30)) * 10**8, None),
        time_max_ns=maybe(0.2, int(rng.integers(10, 40)) * 10**8, None), exclude_recent_s=maybe(0.3, 1.0, 0.0),
        stamp_ns=maybe(0.5, int(rng.integers(0, 50)) * 10**8, None),
        session=maybe(0.3, str(rng.choice(["a", "c"])), ""),
        action_A=maybe(0.2, rng.integers(-1, 2, 2).astype(np.float32), None), action_distance=1.0,
        yaw_weight_m=float(rng.choice([0.0, 0.7])), pose_weight=0.5,
    )  # fmt: skip


@pytest.mark.parametrize("compiled", WAYS)
@RANDOM
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 150), spread_m=st.sampled_from([0.0, 1.0, 5.0, 3000.0]))
def test_it_answers_as_the_reference(compiled, seed, count, spread_m):
    rng = np.random.default_rng(seed)
    rows, reference = world(rng, count, spread_m)
    search = ArraySearch(rows, SESSIONS, compiled=compiled)
    queries = [query_of(rng, spread_m) for _ in range(12)]
    for query, found in zip(queries, search.query_batch(queries)):
        scored = reference.scored(query)
        assert found.candidate_count == len(scored)
        distances = [each.distance for each in scored[: query.k]]
        np.testing.assert_allclose(found.distances_K, distances, rtol=1e-12, atol=1e-12)
        by_id = {each.record.id: each for each in scored}
        for row, distance, latent, pose in zip(*found[:4]):
            same = by_id[int(rows.id_N[row])]
            expected = [same.distance, same.latent_distance, same.pose_distance]
            np.testing.assert_allclose([distance, latent, pose], expected, rtol=1e-12, atol=1e-12)
        assert len(set(found.row_K.tolist())) == len(found.row_K)


@pytest.mark.parametrize("compiled", WAYS)
@RANDOM
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 200), spread_m=st.sampled_from([0.0, 1.0, 5.0, 3000.0]))
def test_many_poses_are_looked_up_as_one_by_one(compiled, seed, count, spread_m):
    rng = np.random.default_rng(seed)
    rows, reference = world(rng, count, spread_m)
    search = ArraySearch(rows, SESSIONS, compiled=compiled)
    pose_G3 = np.column_stack((np.round(rng.uniform(-1.1, 1.1, (20, 2)) * spread_m, 1), rng.uniform(-7, 7, 20)))
    newest_G = rng.integers(-5, 45, 20) * 10**8
    asked = {"radius_m": float(rng.choice([0.0, 0.5, 2.0])), "yaw_tolerance_rad": float(rng.choice([0.0, 1.0])),
             "yaw_weight_m": float(rng.choice([0.0, 0.7]))}  # fmt: skip
    found = search.nearest_poses(pose_G3, 6, newest_G=newest_G, **asked)
    for at, (x, y, yaw) in enumerate(pose_G3.tolist()):
        query = Query(k=6, place=Place(x, y, 0.0, yaw), time_max_ns=int(newest_G[at]), **asked)
        scored = reference.scored(query)
        best = scored[:6]
        assert found.candidate_count_G[at] == len(scored)
        np.testing.assert_allclose(
            found.distance_GK[at, : len(best)], [each.distance for each in best], rtol=1e-12, atol=1e-14
        )
        by_id = {each.record.id: each.distance for each in scored}
        found_ids = rows.id_N[found.row_GK[at, : len(best)]].tolist()
        assert len(set(found_ids)) == len(found_ids)
        np.testing.assert_allclose(found.distance_GK[at, : len(best)], [by_id[each] for each in found_ids], rtol=1e-12)
        assert found.row_GK[at, len(best) :].tolist() == [-1] * (6 - len(best))
        assert np.isinf(found.distance_GK[at, len(best) :]).all()


@pytest.mark.skipif(load() is None, reason="built without a C compiler")
@RANDOM
@given(seed=st.integers(0, 2**32 - 1), weight_m=st.sampled_from([0.0, 0.7, 3.0]))
def test_compiled_and_portable_find_the_same_bits(seed, weight_m):
    rng = np.random.default_rng(seed)
    rows, _ = world(rng, 150, 3.0)
    pose_G3 = np.column_stack((np.round(rng.uniform(-3, 3, (30, 2)), 1), rng.uniform(-7, 7, 30)))
    one, other = (
        ArraySearch(rows, compiled=each).nearest_poses(pose_G3, 9, radius_m=2.0, yaw_weight_m=weight_m)
        for each in (True, False)
    )
    for mine, theirs in zip(one, other):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("compiled", WAYS)
def test_a_pose_that_is_no_number_finds_nothing(compiled):
    rows, _ = world(np.random.default_rng(1), 30, 1.0)
    found = ArraySearch(rows, compiled=compiled).nearest_poses(np.array([[np.nan, 0, 0], [0, 0, 0]]), 3, radius_m=5.0)
    assert found.row_GK[0].tolist() == [-1, -1, -1]
    assert (found.row_GK[1] >= 0).all()


def test_scattered_records_do_not_make_a_grid_of_empty_squares():
    rows, _ = world(np.random.default_rng(2), 100, 50_000.0)
    search = ArraySearch(rows)
    assert search._grid.columns * search._grid.rows <= 4 * 100 + 64


@pytest.mark.parametrize(
    "fields", [{"ring_count": 1}, {"k": 0}, {"latent_D": np.ones(3)}, {"action_A": np.ones(3)}, {"encoder_id": "f"}]
)
def test_what_cannot_be_answered_is_refused(fields):
    rows, _ = world(np.random.default_rng(3), 10, 1.0)
    with pytest.raises(QueryError):
        ArraySearch(rows, encoder_id="e").query_batch([Query(place=Place(0.0, 0.0), **fields)])


def test_no_queries_have_no_answers():
    rows, _ = world(np.random.default_rng(4), 10, 1.0)
    search = ArraySearch(rows)
    assert search.query_batch([]) == []
    assert search.nearest_poses(np.empty((0, 3)), 4, radius_m=1.0).row_GK.shape == (0, 4)
