"""One suite for every backend: brute force, embedded, faiss, Qdrant in its client and, where one answers, a server."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spatial_memory import (
    Box,
    CellMemory,
    EncoderMismatchError,
    Forget,
    ForgetError,
    FrameMismatchError,
    Memory,
    MemoryRecord,
    Place,
    PlaceError,
    Query,
    QueryError,
    RecordError,
    Rigid,
    Store,
    StoreError,
    Successor,
)
from wm_core.memory.overview import Overview
from wm_core.memory.record import LAST_FOLLOWED_ID
from wm_core.memory.reference import BruteMemory
from wm_core.projection import FeatureSpace, Projection
from wm_core.se2 import wrap_angle
from wm_core.se3 import yaw_of

from .backends import fill, memory, twin
from .conftest import World, assert_agree

__all__ = ["memory", "twin"]


@pytest.mark.slow
def test_answers_agree(memory, twin):
    world = World(1)
    fill(memory, twin, world)
    assert_agree(memory, twin, [world.query() for _ in range(40)])
    assert_agree(memory, twin, world.planner_queries(10))


def outline(overview: Overview) -> dict[int, tuple[int, int]]:
    """Returns {cell: what it holds, newest stamp}."""
    columns = (overview.cell_C.tolist(), overview.count_C.tolist(), overview.newest_C.tolist())
    return {cell: (count, newest) for cell, count, newest in zip(*columns)}


def assert_outlines_agree(memory: Memory, twin: BruteMemory) -> None:
    ours, theirs = memory.overview(500, 20), twin.overview(500, 20)
    assert (ours.memory_count, ours.newest_ns, ours.frame_id) == (
        theirs.memory_count,
        theirs.newest_ns,
        theirs.frame_id,
    )
    assert outline(ours) == outline(theirs)
    for mine, wanted in ((ours.all, theirs.all), (ours.newest, theirs.newest)):
        assert mine.id_N.tolist() == wanted.id_N.tolist()
        np.testing.assert_array_equal(mine.place_N3, wanted.place_N3)
        np.testing.assert_allclose(mine.surprise_N, wanted.surprise_N, rtol=1e-6)
        assert (np.diff(mine.session_N) == 0).tolist() == (np.diff(wanted.session_N) == 0).tolist()


def test_outlines_agree_through_changes(memory, twin):
    world = World(11)
    assert_outlines_agree(memory, twin)
    ids = fill(memory, twin, world)
    assert_outlines_agree(memory, twin)
    for each in (memory, twin):
        assert each.delete(Forget(ids=tuple(ids[100:140:3]))) == 14
        each.flush()
    assert_outlines_agree(memory, twin)
    for each in (memory, twin):
        each.transform(Rigid(3.0, -1.0, 0.0, 0.5))
        each.flush()
    assert {len(each.overview(10, 20).all) for each in (memory, twin)} <= {0, 10}


def test_an_empty_memory_answers_with_nothing(memory):
    answer = memory.query_batch([Query(place=Place(0.0, 0.0)), Query(latent_D=np.ones(3))])
    assert [len(each.records) for each in answer] == [0, 0]
    assert memory.stats().memory_count == 0


def test_ids_are_new_unless_given(memory):
    world = World(2)
    given = memory.insert([world.record(id=7)])
    chosen = memory.insert([world.record(), world.record()])
    assert given == [7]
    assert len({7, *chosen}) == 3
    memory.flush()


def test_successors_and_surprise_join_later(memory, twin):
    world = World(3)
    ids = fill(memory, twin, world, 20)
    for record_id in ids[:10]:
        successor = Successor(1.0, 1.03, world.latent())
        assert memory.link(record_id, successor)
        twin.link(record_id, successor)
        memory.set_surprise(record_id, 0.5)
        twin.set_surprise(record_id, 0.5)
    memory.flush()
    assert_agree(memory, twin, [Query(k=20, place=Place(0.0, 0.0), successors=True)])


@pytest.mark.parametrize(
    "what",
    [
        Forget(ids=(1003, 1004, 99)),
        Forget(box=Box(-2.0, -2.0, -10.0, 2.0, 2.0, 10.0)),
        Forget(session="a"),
        Forget(older_than_s=8.0),
        Forget(session="b", older_than_s=5.0),
    ],
)
def test_deleting(memory, twin, what):
    world = World(4)
    fill(memory, twin, world)
    assert memory.delete(what) == twin.delete(what) > 0
    assert memory.stats().memory_count == twin.stats().memory_count
    assert_agree(memory, twin, [world.query() for _ in range(10)])


@pytest.mark.parametrize("last", ["future", "past"])
def test_a_record_of_the_future_makes_no_other_old(memory, twin, last):
    world, now = World(seed=71), time.time_ns()
    ages_s = [400.0, 30.0, 2.0, -86_400 * 365 * 11.0]
    plain = {"feature_F": np.empty(0, np.int8), "feature_id": "", "successors": ()}
    records = [
        world.record(stamp_ns=now - round(age_s * 1e9), x=float(at), y=0.0, **plain) for at, age_s in enumerate(ages_s)
    ]
    order = records if last == "future" else records[::-1]
    for record in order:
        memory.insert([record])
        twin.insert([record])
        memory.flush()
    for seconds, ages_left in ((10.0, [400.0, 30.0]), (100.0, [400.0])):
        query = Query(place=Place(0.0, 0.0), radius_m=50.0, k=9, exclude_recent_s=seconds)
        expected = {record.stamp_ns for record, age_s in zip(records, ages_s) if age_s in ages_left}
        for each in (memory, twin):
            assert {record.stamp_ns for record in each.query_batch([query])[0].records} == expected


def test_deleting_without_a_criterion_deletes_nothing(memory, twin):
    fill(memory, twin, World(5), 3)
    with pytest.raises(ForgetError, match="no criterion"):
        memory.delete(Forget())
    assert memory.stats().memory_count == 3


@pytest.mark.parametrize("session", ["", "a"])
def test_moving(memory, twin, session):
    world = World(6)
    fill(memory, twin, world)
    rigid = Rigid(3.0, -1.0, 0.5, 2.5)
    assert memory.transform(rigid, session) == twin.transform(rigid, session) > 0
    assert_agree(memory, twin, [world.query() for _ in range(20)])
    with pytest.raises(PlaceError):
        memory.transform(Rigid(1e9, 0.0, 0.0, 0.0))
    assert_agree(memory, twin, [world.query() for _ in range(5)])


@pytest.mark.slow
def test_snapshot_and_restore(memory, twin, tmp_path):
    world = World(7)
    fill(memory, twin, world, 60)
    assert memory.snapshot(tmp_path / "mine") == twin.snapshot(tmp_path / "theirs") == 60
    memory.delete(Forget(session="a"))
    assert memory.restore(tmp_path / "mine") == twin.restore(tmp_path / "theirs") == 60
    assert_agree(memory, twin, [world.query() for _ in range(10)])
    with pytest.raises(StoreError, match="no snapshot"):
        memory.restore(tmp_path / "none")


@pytest.mark.parametrize("largest", [2**63 - 1, 2**63 - 2, LAST_FOLLOWED_ID])
def test_the_largest_ids_leave_ids_to_choose(memory, largest):
    world = World(21)
    ids = memory.insert([world.record(), world.record(id=largest), world.record()])
    ids += [memory.insert([world.record()])[0] for _ in range(3)]
    memory.flush()
    assert ids[1] == largest
    assert len(set(ids)) == memory.stats().memory_count == 6
    assert memory.delete(Forget(ids=(largest - 500, 2**64 - 1))) == 0
    assert memory.delete(Forget(ids=(largest, 2**64 - 1))) == 1
    assert memory.stats().memory_count == 5


def test_ids_that_are_held_are_refused(memory, twin):
    world = World(22)
    fill(memory, twin, world, 5)
    for ids in ((7, 7), (0, 1003)):
        with pytest.raises(RecordError, match="is held already") as refused:
            memory.insert([world.record(id=record_id) for record_id in ids])
        assert refused.value.reason == "id-taken"
    memory.delete(Forget(ids=(1003,)))
    assert memory.insert([world.record(id=1003)]) == [1003]
    memory.flush()
    assert memory.stats().memory_count == 5


@pytest.mark.parametrize("kind", ["flipped", "cut", "text", "empty", "encoder", "dim", "actions"])
def test_a_snapshot_that_is_refused_changes_nothing(memory, twin, grid, tmp_path, kind):
    world, path = World(23), tmp_path / "snapshot"
    fill(memory, twin, world, 60)
    memory.snapshot(path)
    content = path.read_bytes()
    if kind in ("encoder", "dim", "actions"):
        fields = {"encoder": {"encoder_id": "f"}, "actions": {"action_A": np.ones(3), "previous_action_A": np.ones(3)}}
        usual = {"successors": (), "latent_D": np.ones(5 if kind == "dim" else 6, np.float32)}
        other = BruteMemory(grid) if isinstance(memory, BruteMemory) else CellMemory(Store(), grid)
        other.insert([World(24).record(**usual, **fields.get(kind, {}))])
        other.snapshot(path)
        other.close()
    elif kind == "flipped":
        latent = twin._records[1050].latent_D.tobytes()
        at = content.index(latent) if latent in content else len(content) // 2
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    else:
        path.write_bytes({"cut": content[:3000], "text": b"something else", "empty": b""}[kind])
    with pytest.raises((StoreError, EncoderMismatchError), match="snapshot"):
        memory.restore(path)
    memory.flush()
    assert memory.stats().memory_count == 60
    assert_agree(memory, twin, [world.query() for _ in range(5)])


@pytest.mark.parametrize("surprise", [float("inf"), -1e39])
def test_a_surprise_that_cannot_be_kept_is_refused(memory, twin, surprise):
    ids = fill(memory, twin, World(25), 5)
    with pytest.raises(RecordError, match="single precision"):
        memory.set_surprise(ids[0], surprise)
    memory.set_surprise(ids[0], float("nan"))
    twin.set_surprise(ids[0], float("nan"))
    memory.flush()
    assert_agree(memory, twin, [Query(k=5, place=Place(0.0, 0.0))])


def test_clear_forgets_the_encoder_too(memory, twin):
    fill(memory, twin, World(8), 5)
    memory.clear()
    assert memory.stats().memory_count == 0
    memory.insert([World(9).record(encoder_id="f", latent_D=np.ones(3, np.float32))])
    memory.flush()
    assert memory.stats().memory_count == 1
    assert memory.stats().encoder_id == "f"


def test_places_told_in_a_utm_zone_are_found_as_near_ones(memory, twin):
    world, east_m, north_m = World(6), 430_102.0, 5_299_998.0  # northings about the fold at 53 x 100 km
    fill(memory, twin, world)
    asked = [world.query() for _ in range(40)]
    near = [each for each in asked if each.place and not each.box and not each.ring_count]
    far = [
        replace(each, place=each.place._replace(x=each.place.x + east_m, y=each.place.y + north_m))
        for each in near
        if each.place
    ]
    before = [[record.id for record in found.records] for found in memory.query_batch(near)]
    assert sum(map(bool, before)) > 5
    for each in (memory, twin):
        each.transform(Rigid(east_m, north_m, 0.0, 0.0))
    assert_agree(memory, twin, far)
    assert [[record.id for record in found.records] for found in memory.query_batch(far)] == before


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"encoder_id": "f"}, EncoderMismatchError),
        ({"latent_D": np.ones(5, np.float32)}, RecordError),
        ({"latent_D": np.full(6, np.nan, np.float32)}, RecordError),
        ({"x": float("nan")}, RecordError),
        ({"x": 1e7}, PlaceError),
        ({"action_A": np.ones(3, np.float32)}, RecordError),
        ({"id": -1}, RecordError),
    ],
)
def test_what_cannot_be_kept_is_refused_whole(memory, twin, fields, error):
    world = World(10)
    fill(memory, twin, world, 5)
    with pytest.raises(error):
        memory.insert([world.record(), world.record(**fields)])
    memory.flush()
    assert memory.stats().memory_count == 5


@pytest.mark.parametrize(
    "fields",
    [
        {"k": 0},
        {"k": 100_000},
        {"place": None, "radius_m": 1.0, "latent_D": np.ones(6)},
        {"place": None},
        {"latent_D": np.ones(5)},
        {"latent_D": np.full(6, np.inf)},
        {"radius_m": float("nan")},
        {"radius_m": -1.0},
        {"place": Place(float("inf"), 0.0)},
        {"place": Place(1e9, 0.0)},
        {"rank_by": "latent"},
        {"encoder_id": "f"},
        {"action_A": np.ones(3)},
        {"ring_count": 10_000},
    ],
)
def test_what_cannot_be_answered_is_refused(memory, twin, fields):
    fill(memory, twin, World(11), 5)
    with pytest.raises(QueryError):
        memory.query_batch([Query(**{"place": Place(0.0, 0.0), **fields})])


def test_places_of_two_frames_never_mix(memory):
    world = World(21)
    memory.insert([world.record(frame_id="map", session="a"), world.record(session="b")])
    memory.flush()
    with pytest.raises(FrameMismatchError, match="pose in frame odom, the memory's are in map"):
        memory.insert([world.record(), world.record(frame_id="odom")])
    with pytest.raises(QueryError, match="the query is in frame odom, the memory's places are in map"):
        memory.query_batch([Query(place=Place(0.0, 0.0), frame_id="odom")])
    with pytest.raises(ForgetError, match="the box is in frame odom, the memory's places are in map"):
        memory.delete(Forget(box=Box(-9, -9, -9, 9, 9, 9), frame_id="odom"))
    with pytest.raises(FrameMismatchError, match="only all sessions can move from frame map to odom"):
        memory.transform(Rigid(1.0, 0.0, 0.0, 0.0, "odom"), "a")
    assert memory.stats().memory_count == 2
    assert memory.transform(Rigid(1.0, 0.0, 0.0, 0.0, "odom")) == 2
    assert memory.stats().frame_id == "odom"
    memory.insert([world.record(frame_id="odom")])
    memory.flush()
    answer = memory.query_batch([Query(place=Place(0.0, 0.0), frame_id="odom")])[0]
    assert [record.frame_id for record in answer.records] == ["odom"] * 3
    memory.clear()
    memory.insert([world.record(frame_id="map")])
    memory.flush()
    assert memory.stats().frame_id == "map"


def tilted(world: World, **fields: object) -> MemoryRecord:
    """Return a record with a rotation about all axes, a feature, and a successor with one."""
    x, y, z, w = (world.rng.normal(size=4) * (0.2, 0.2, 1.0, 1.0)).tolist()
    norm = math.hypot(x, y, z, w)
    turn = (x / norm, y / norm, z / norm, w / norm)
    feature_F, later_F = world.rng.integers(-128, 128, (2, 12)).astype(np.int8)
    successors = (Successor(0.05, 0.06, world.latent(), later_F), Successor(1.0, 1.0, world.latent()))
    given = {"orientation": turn, "yaw": yaw_of(turn), "successors": successors}
    return world.record(**given, feature_F=feature_F, feature_id="net", **fields)


def test_rotations_and_features_come_back_and_turn(memory):
    world = World(22)
    records = [tilted(world, id=at + 1) if at % 3 else world.record(id=at + 1, successors=()) for at in range(12)]
    memory.insert(records)
    later_F = np.arange(4, dtype=np.int8)
    assert memory.link(1, Successor(0.05, 0.05, world.latent(), later_F))
    memory.flush()
    memory.transform(Rigid(0.0, 0.0, 0.0, 0.7))
    found = memory.query_batch([Query(place=Place(0.0, 0.0), k=20, successors=True)])[0].records
    assert len(found) == 12
    for record in found:
        before = records[record.id - 1]
        if before.orientation is None:
            assert record.orientation is None
        else:
            expected = (Rotation.from_euler("z", 0.7) * Rotation.from_quat(before.orientation)).as_matrix()
            np.testing.assert_allclose(Rotation.from_quat(record.orientation).as_matrix(), expected, atol=1e-6)
            assert wrap_angle(record.yaw - yaw_of(record.orientation)) == pytest.approx(0.0, abs=1e-5)
        np.testing.assert_array_equal(record.feature_F, before.feature_F)
        features = [item.feature_F for item in before.successors] if record.id > 1 else [later_F]
        for item, feature_F in zip(record.successors, features, strict=True):
            np.testing.assert_array_equal(item.feature_F, feature_F)
    with pytest.raises(EncoderMismatchError, match="feature of network other, the memory holds those of net"):
        memory.insert([replace(tilted(world), feature_id="other")])


def test_a_change_of_basis_reaches_every_latent(memory):
    world = World(23)
    space = FeatureSpace("net", 12, 1, 0.1, 0)
    basis = Projection(space, np.zeros(12), world.rng.normal(size=(6, 12)))
    records = [tilted(world, id=at + 1) for at in range(13)]
    whole = [replace(record, successors=record.successors[:1]) for record in records[:12]]
    memory.insert([*whole, records[12]])
    memory.flush()
    with pytest.raises(RecordError, match="feature"):
        memory.reproject(basis)
    memory.delete(Forget(ids=(13,)))
    with pytest.raises(EncoderMismatchError, match="other"):
        memory.reproject(replace(basis, space=replace(space, feature_id="other")))
    assert memory.reproject(basis) == 12
    memory.flush()
    found = memory.query_batch([Query(latent_D=np.zeros(6), k=20, successors=True, encoder_id=basis.encoder_id)])[0]
    assert len(found.records) == 12
    if not isinstance(memory, BruteMemory):  # which knows a basis only while it changes
        joining = replace(tilted(world), successors=(), encoder_id="another basis", stamp_ns=77)
        memory.insert([joining])
        memory.flush()
        found = memory.query_batch([Query(latent_D=np.zeros(6), k=20, successors=True)])[0]
        assert 77 in [record.stamp_ns for record in found.records]
    for record in found.records:
        assert record.encoder_id == basis.encoder_id
        for each in (record, *record.successors):
            expected_D = basis.project(each.feature_F[None])[0]
            np.testing.assert_allclose(each.latent_D, expected_D, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"orientation": (0.0, 0.0, 0.0, 2.0)}, "impossible-orientation"),
        ({"orientation": (0.0, 0.0, 1.0, 0.0), "yaw": 0.0}, "impossible-orientation"),
        ({"orientation": (math.nan, 0.0, 0.0, 1.0)}, "impossible-orientation"),
        ({"feature_F": np.ones(3, np.int8)}, "impossible-feature"),
        ({"feature_F": np.ones(3, np.float32), "feature_id": "net"}, "impossible-feature"),
    ],
)
def test_an_impossible_rotation_or_feature_is_refused(memory, fields, reason):
    with pytest.raises(RecordError) as caught:
        memory.insert([World(23).record(**fields)])
    assert caught.value.reason == reason
    assert memory.stats().memory_count == 0
