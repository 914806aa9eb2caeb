"""The search by pose in torch, on the CPU and on a GPU where there is one, against the plain reference."""

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wm_core.memory.frames import Planar
from wm_core.memory.query import Place, Query
from wm_core.memory.record import MemoryRecord
from wm_core.memory.reference import ReferenceMemory
from world_model.runtime.pose_search import PoseSearch, nearest_poses

RANDOM = settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck), print_blob=True)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=needs_cuda)]
NEWEST_NS = 25 * 10**8


class OneCell:
    """A grid whose only cell is the whole map."""

    map = Planar()

    def cell_of(self, x, y):
        return 1

    def within_rings(self, cell, ring_count):
        return np.array([cell], np.uint64)


def world(rng, count, spread_m):
    """The same records as arrays, in any order, and in the reference; places repeat, so that there are ties."""
    pose_N3 = np.column_stack([
        np.round(rng.uniform(-spread_m, spread_m, (count, 2)), 1),
        rng.choice(rng.uniform(-math.pi, math.pi, 5).astype(np.float32), count),
    ])  # fmt: skip
    stamp_N, id_N = rng.integers(0, 40, count) * 10**8, rng.permutation(count) + 1
    reference = ReferenceMemory(OneCell())
    reference.insert([
        MemoryRecord(int(stamp), np.zeros(2), float(x), float(y), yaw=float(yaw), encoder_id="e", id=int(number))
        for stamp, (x, y, yaw), number in zip(stamp_N, pose_N3, id_N)
    ])  # fmt: skip
    return pose_N3, stamp_N, id_N, reference


def asked(pose_G3, found, k, device, **filters):
    pose = torch.from_numpy(pose_G3).to(device)
    rows, far = nearest_poses(pose, found, k, **filters)
    return rows.cpu().numpy(), far.cpu().numpy()


@pytest.mark.parametrize("device", DEVICES)
@RANDOM
@given(
    seed=st.integers(0, 2**32 - 1), count=st.integers(1, 150), spread_m=st.sampled_from([0.3, 2.0, 20.0]),
    radius_m=st.sampled_from([0.0, 0.5, 1.0, 1.5]), yaw_rad=st.sampled_from([0.0, 0.7, math.pi]),
    weight_m=st.sampled_from([0.0, 0.3, 1.0]), k=st.integers(1, 9),
)  # fmt: skip
def test_it_finds_what_the_reference_finds(device, seed, count, spread_m, radius_m, yaw_rad, weight_m, k):
    rng = np.random.default_rng(seed)
    pose_N3, stamp_N, id_N, reference = world(rng, count, spread_m)
    pose_G3 = np.column_stack([np.round(rng.uniform(-spread_m, spread_m, (5, 2)), 1), rng.uniform(-4.0, 4.0, 5)])
    # Some on a record exactly: what lies on the rim of a radius counts.
    pose_G3[:2] = pose_N3[rng.integers(0, count, 2)] + np.array([radius_m, 0.0, 0.0])
    reach_m = float(np.hypot(*pose_G3[:, :2].T).max()) + radius_m if radius_m else math.inf
    at_hand = PoseSearch(pose_N3, stamp_N, id_N, device).around(np.zeros(2), reach_m, NEWEST_NS)
    filters = {"radius_m": radius_m, "yaw_tolerance_rad": yaw_rad, "yaw_weight_m": weight_m}
    row_GK, far_GK = asked(pose_G3, at_hand, k, device, **filters)
    for (x, y, yaw), rows, far in zip(pose_G3, row_GK, far_GK):
        place = Place(x, y, 0.0, yaw)
        query = Query(k=count, place=place, rank_by="pose", time_max_ns=NEWEST_NS, **filters)
        expected = reference.query_batch([query])[0]
        far_of = {record.id: far_m for record, far_m in zip(expected.records, expected.distances_K)}
        known = rows >= 0
        found = id_N[rows[known]].tolist()
        # Equal but for rounding, two may change places; else the order is the reference's, that of ids where equal.
        np.testing.assert_allclose(far[known], expected.distances_K[:k], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose([far_of[each] for each in found], far[known], rtol=1e-12, atol=1e-12)
        assert sorted(zip(far[known], found)) == list(zip(far[known], found))
        assert len(set(found)) == len(found)
        assert np.isinf(far[~known]).all()
        assert not known[int(known.sum()) :].any()


@pytest.mark.parametrize("device", DEVICES)
def test_a_place_that_is_nowhere_finds_nothing(device):
    pose_N3, stamp_N, id_N, _ = world(np.random.default_rng(0), 20, 1.0)
    at_hand = PoseSearch(pose_N3, stamp_N, id_N, device).around(np.zeros(2), math.inf, NEWEST_NS)
    pose_G3 = np.array([[np.nan, 0.0, 0.0], [0.0, np.inf, 0.0], [0.0, 0.0, np.nan], [0.0, 0.0, 0.0]])
    for radius_m in (0.0, 5.0):
        row_GK, _ = asked(pose_G3, at_hand, 3, device, radius_m=radius_m, yaw_tolerance_rad=0.0, yaw_weight_m=1.0)
        assert (row_GK[:3] == -1).all()
        assert (row_GK[3] >= 0).all()


def test_places_in_parts_find_what_they_find_together(monkeypatch):
    pose_N3, stamp_N, id_N, _ = world(np.random.default_rng(0), 100, 1.0)
    at_hand = PoseSearch(pose_N3, stamp_N, id_N, "cpu").around(np.zeros(2), 9.0, NEWEST_NS)
    pose_G3 = np.random.default_rng(1).uniform(-1.0, 1.0, (11, 3))
    filters = {"radius_m": 1.0, "yaw_tolerance_rad": 1.0, "yaw_weight_m": 1.0}
    together = asked(pose_G3, at_hand, 4, "cpu", **filters)
    monkeypatch.setattr("world_model.runtime.pose_search._MOST_PAIRS", 3 * len(at_hand.x_M))
    for mine, other in zip(asked(pose_G3, at_hand, 4, "cpu", **filters), together):
        np.testing.assert_array_equal(mine, other)


def test_there_is_room_for_a_power_of_two_and_what_is_too_new_is_left_out():
    rng = np.random.default_rng(0)
    pose_N3, stamp_N = np.zeros((130, 3)), np.arange(130) * 10**7
    search = PoseSearch(pose_N3, stamp_N, rng.permutation(130), "cpu")
    for newest, room, count in ((10**10, 256, 130), (5 * 10**8, 64, 51), (-1, 64, 0)):
        at_hand = search.around(np.zeros(2), 1.0, newest)
        assert len(at_hand.x_M) == room
        assert int((at_hand.row_M >= 0).sum()) == count
        assert bool(torch.isinf(at_hand.x_M[count:]).all())


def test_nothing_held_finds_nothing():
    search = PoseSearch(np.empty((0, 3)), np.empty(0, np.int64), np.empty(0, np.int64), "cpu")
    at_hand = search.around(np.zeros(2), math.inf, NEWEST_NS)
    row_GK, far_GK = asked(np.zeros((2, 3)), at_hand, 2, "cpu", radius_m=1.0, yaw_tolerance_rad=0.5, yaw_weight_m=1.0)
    assert (row_GK == -1).all()
    assert np.isinf(far_GK).all()
