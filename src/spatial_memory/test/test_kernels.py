"""The compiled loops against NumPy, on pages with holes, ties and numbers at the edge of what fits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spatial_memory import CellGrid, CellMemory, LocalMap, MemoryRecord, Place, Query, Store
from spatial_memory.index import looks
from spatial_memory.index import scanner as scanning
from spatial_memory.index.columns import PAGE, Columns, Rows, bits_of, mask_of, slots_of
from spatial_memory.index.directory import CellDirectory
from spatial_memory.index.scanner import Scanner
from spatial_memory.index.sq8 import SQ8Codes
from wm_core.memory.kernels import load
from wm_core.memory.ranking import latent_distance
from wm_core.se2 import wrap_angle

from .conftest import World

KERNELS = load()
pytestmark = pytest.mark.skipif(KERNELS is None, reason="built without a C compiler")
PAGES = 40
DIRECTORY = CellDirectory(CellGrid(LocalMap(), 15))


def columns_of(rng: np.random.Generator, latent_ND: np.ndarray, step: float = 0.1) -> Columns:
    """Return pages of records on a grid of places, a third of them removed again."""
    count, dim = latent_ND.shape
    columns = Columns(dim, 0, 4, copy=SQ8Codes(dim))
    for _ in range(count // PAGE):
        columns.new_page(0, 0)
    place_N2 = np.round(rng.uniform(-3.0, 3.0, (count, 2)) / step) * step
    numbers_N, zeros_N, none_NA = np.arange(count), np.zeros(count), np.empty((count, 0), np.float32)
    yaw_N = rng.uniform(-math.pi, math.pi, count).astype(np.float32)
    rows = Rows(numbers_N, numbers_N, *place_N2.T, zeros_N, yaw_N, zeros_N, zeros_N, none_NA, none_NA,
                zeros_N, latent_ND)  # fmt: skip
    columns.write(numbers_N, rows)
    for slot in rng.choice(count, count // 3, replace=False).tolist():
        columns.clear(slot)
    return columns


def live(columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Return all pages and a bit per record they hold."""
    page_P = np.arange(columns.page_count)
    return page_P, columns.live_P[page_P]


def nearest(columns: Columns, query: Query) -> np.ndarray:
    """Return the shortlist of a query among all records."""
    page_P, bits_P = live(columns)
    count = len(slots_of(page_P, bits_P))
    scanner = Scanner(KERNELS, columns, DIRECTORY)
    scanner.ask([query])
    scanner.look_at(page_P, bits_P, count)
    scanner.find_nearest()
    return scanner.slot_S[: scanner.slot_end_G[0]].copy()


def test_bits_and_masks_are_inverse():
    bits_P = np.array([0, 1, 0x8000, 0xFFFF, 0x00F0], np.uint16)
    assert mask_of(bits_P)[1].tolist() == [True] + [False] * 15
    assert bits_of(mask_of(bits_P)).tolist() == bits_P.tolist()


@pytest.mark.parametrize("radius_m", [0.1, 0.5, 1.0, 2.5, 10.0])
def test_within_a_radius_is_what_numpy_says(radius_m):
    # Places on a grid of 0.1 m: many lie on the circle itself, where a different rounding would show.
    rng = np.random.default_rng(0)
    columns = columns_of(rng, rng.normal(size=(PAGES * PAGE, 4)).astype(np.float32))
    page_P, bits_P = live(columns)
    scanner = Scanner(KERNELS, columns, DIRECTORY)
    for x, y in np.round(rng.uniform(-3.0, 3.0, (50, 2)), 1).tolist():
        scanner.ask([Query(place=Place(x, y), radius_m=radius_m)])
        scanner.look_at(page_P, np.zeros(len(page_P)), 0)
        scanner.look_within()
        found_P, count = scanner.bits_P[: len(page_P)], scanner.found_G[0]
        slots_N = slots_of(page_P, bits_P)
        distance2_N = (columns.flat("x")[slots_N] - x) ** 2 + (columns.flat("y")[slots_N] - y) ** 2
        assert slots_of(page_P, found_P).tolist() == slots_N[distance2_N <= radius_m**2].tolist()
        assert count == len(slots_of(page_P, found_P))


@pytest.mark.parametrize("dim", [1, 2, 31, 32, 64, 65, 200])
@pytest.mark.parametrize("rank", ["latent", "pose", "both"])
def test_the_nearest_are_never_left_out(dim, rank):
    rng = np.random.default_rng(dim)
    latent_ND = rng.normal(size=(PAGES * PAGE, dim)).astype(np.float32)
    latent_ND[100:160] = latent_ND[100]  # ties, and more of them than asked for
    latent_ND[200:210] = 0.0
    columns = columns_of(rng, latent_ND)
    page_P, bits_P = live(columns)
    slots_N = slots_of(page_P, bits_P)
    for at in range(30):
        wanted_D = latent_ND[100] if at % 3 == 0 else rng.normal(size=dim)
        place = Place(*rng.uniform(-3, 3, 2).tolist(), 0.0, float(rng.uniform(-4, 4)))
        k = int(rng.integers(1, 40))
        query = Query(k=k, place=place, latent_D=wanted_D, rank_by=rank, yaw_weight_m=0.7, pose_weight=2.0)
        latent2_N = latent_distance(latent_ND[slots_N], np.float32(wanted_D), cosine=False) ** 2
        turn_N = np.abs(columns.flat("yaw")[slots_N].astype(float) - wrap_angle(place.yaw))
        pose2_N = (columns.flat("x")[slots_N] - place.x) ** 2 + (columns.flat("y")[slots_N] - place.y) ** 2
        pose2_N += (0.7 * np.minimum(turn_N, 2 * math.pi - turn_N)) ** 2
        score_N = {"latent": latent2_N, "pose": pose2_N, "both": latent2_N + 2.0 * pose2_N}[rank]
        best = slots_N[score_N <= np.sort(score_N)[k - 1]]
        found = nearest(columns, query)
        assert set(best.tolist()) <= set(found.tolist()) <= set(slots_N.tolist())


@pytest.mark.parametrize("size", [1e-38, 1e-20, 1e18, 1e37])
def test_tiny_and_huge_latents_are_found(size):
    rng = np.random.default_rng(1)
    latent_ND = (rng.normal(size=(PAGES * PAGE, 8)) * size).astype(np.float32)
    columns = columns_of(rng, latent_ND)
    page_P, bits_P = live(columns)
    slots_N = slots_of(page_P, bits_P)
    for slot in slots_N[:20].tolist():
        assert slot in nearest(columns, Query(k=1, latent_D=latent_ND[slot]))


def test_the_overview_leaves_out_nearly_all():
    rng = np.random.default_rng(2)
    columns = columns_of(rng, rng.normal(size=(200 * PAGE, 32)).astype(np.float32))
    page_P, bits_P = live(columns)
    count = len(slots_of(page_P, bits_P))
    found = nearest(columns, Query(k=8, latent_D=np.zeros(32)))
    assert 8 <= len(found) <= 40 < count


def test_queries_that_look_at_much_are_answered_in_parts(monkeypatch, grid):
    world = World(21)
    memory = CellMemory(Store(), grid)
    memory.insert(world.records(400))
    queries = [world.query() for _ in range(60)]
    together = memory.query_batch(queries)
    monkeypatch.setattr(scanning, "MOST_PAGES", 50)
    assert memory._search is not None
    memory._search._scanner._make_room(10)
    for mine, other in zip(memory.query_batch(queries), together):
        assert [record.id for record in mine.records] == [record.id for record in other.records]
        assert mine.candidate_count == other.candidate_count
    memory.close()


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("dim", [1, 5, 32, 448])
def test_features_are_compared_as_numpy_does_ties_included(monkeypatch, metric, dim):
    # Few values and the largest ones: many are equally near, and sums are as large as they get.
    rng = np.random.default_rng(dim)
    memory = CellMemory(Store(), CellGrid(LocalMap(), 13))
    feature_NF = rng.choice(np.array([-128, 0, 127], np.int8), (400, dim))
    feature_NF[5] = 0
    memory.insert(
        [
            MemoryRecord(at, np.ones(2), float(at % 7), 0.0, encoder_id="e", feature_id="net", feature_F=feature_F)
            for at, feature_F in enumerate(feature_NF)
        ]
    )
    queries = [
        Query(k=k, feature_F=feature_NF[at], rank_by="latent", metric=metric) for at, k in ((0, 1), (5, 9), (7, 60))
    ]
    compiled = [memory.query(query) for query in queries]
    in_parts = [memory.query_look(query) for query in queries]
    monkeypatch.setattr(looks, "load", lambda: None)
    for query, *answers in zip(queries, compiled, in_parts):
        expected = memory.query(query)
        for answer in answers:
            assert [each.id for each in answer.records] == [each.id for each in expected.records]
            np.testing.assert_array_equal(answer.latent_distances_K, expected.latent_distances_K)
            assert answer.candidate_count == 400
    memory.close()
