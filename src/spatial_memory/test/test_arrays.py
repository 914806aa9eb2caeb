"""What the node tells as packed arrays: the same as it tells as records."""

from __future__ import annotations

import math
from dataclasses import replace
from math import cos, sin

import numpy as np
import pytest
from geometry_msgs.msg import Transform

from spatial_memory import Forget, MemoryRecord, Rigid
from wm_core.memory.journal import Area
from wm_core.memory.window import Window
from wm_core.se3 import compose, quaternion_of, yaw_of
from wm_interfaces.msg import MemoryQuery
from wm_interfaces.srv import DeleteMemory, MemoryWindow, QueryMemoryArrays, QueryMemoryBatch, TransformMemory
from wm_ros import MessageError, floats
from wm_ros.memory_arrays import (
    array_of,
    ask_to_request,
    packed_from_msg,
    packed_to_msg,
    update_from_response,
    update_to_response,
)
from wm_ros.messages import fill_pose
from wm_testing.nodes import ros_context

from .node_graph import Graph, at

__all__ = ["ros_context"]

AREA = Area(0.0, 0.0, 3.1)


@pytest.fixture
def graph(ros_context):
    graph = Graph()
    yield graph
    graph.close()


def lookups(count: int) -> tuple[QueryMemoryArrays.Request, QueryMemoryBatch.Request]:
    """Return the same lookups as arrays and as records."""
    poses = [(0.1 * index, 0.05, 0.0, *quaternion_of(0.1 * index - 1.0)) for index in range(count)]
    latents = np.arange(4 * count, dtype=np.float32).reshape(count, 4)
    stamps_ns = [10**9 + 10**8 * index for index in range(count)]
    shared = MemoryQuery(k=3, has_pose=True, rank_by=MemoryQuery.RANK_BOTH, radius_m=1.5, exclude_recent_s=0.2,
                         successors=True)  # fmt: skip
    shared.pose.orientation.w = 1.0
    packed = QueryMemoryArrays.Request(query=shared, count=count)
    packed.poses, packed.latents = array_of("d", np.array(poses)), array_of("f", latents)
    packed.stamps_ns = array_of("q", np.array(stamps_ns))
    queries = []
    for pose, latent_D, stamp in zip(poses, latents, stamps_ns):
        msg = at(pose[0], k=3, rank_by=MemoryQuery.RANK_BOTH, radius_m=1.5, exclude_recent_s=0.2, successors=True)
        msg.pose.position.y = pose[1]
        turn = msg.pose.orientation
        turn.x, turn.y, turn.z, turn.w = pose[3:]
        msg.latent = floats(latent_D)
        msg.stamp.sec, msg.stamp.nanosec = divmod(stamp, 10**9)
        queries.append(msg)
    return packed, QueryMemoryBatch.Request(queries=queries)


def test_lookups_as_arrays_find_what_the_record_form_finds(graph):
    graph.drive(30)
    packed, records = lookups(12)
    mine = graph.call(QueryMemoryArrays, "query_arrays", packed)
    theirs = graph.call(QueryMemoryBatch, "query_batch", records)
    assert mine.success, mine.message
    assert theirs.success, theirs.message
    found = packed_from_msg(mine.records)
    assert len(set(found.rows.id_N.tolist())) == len(found)
    assert list(mine.counts) == [len(matches.records) for matches in theirs.matches]
    assert sum(mine.counts) > 12
    assert list(mine.candidate_counts) == [matches.candidate_count for matches in theirs.matches]
    in_order = [record for matches in theirs.matches for record in matches.records]
    horizon_NM, dt_NM, latent_NMD = found.successors.padded(2)
    for row, record in zip(mine.rows, in_order):
        assert found.rows.id_N[row] == record.id
        assert found.rows.stamp_N[row] == record.stamp.sec * 10**9 + record.stamp.nanosec
        assert found.rows.latent_ND[row].tolist() == list(record.latent)
        assert found.rows.action_NA[row].tolist() == list(record.action)
        known = [value for value in found.rows.previous_action_NA[row].tolist() if not math.isnan(value)]
        assert known == list(record.previous_action)
        assert found.sessions[found.rows.session_N[row]] == record.session
        turn = record.orientation
        assert found.quaternion_N4[row].tolist() == pytest.approx([turn.x, turn.y, turn.z, turn.w])
        count = len(record.successors)
        assert dt_NM[row, :count] == pytest.approx([item.dt_s for item in record.successors])
        assert horizon_NM[row, :count] == pytest.approx([item.horizon_s for item in record.successors])
        assert [each.tolist() for each in latent_NMD[row, :count]] == [list(item.latent) for item in record.successors]
    for name in ("distances", "latent_distances", "pose_distances"):
        expected = np.concatenate([getattr(matches, name) for matches in theirs.matches])
        np.testing.assert_array_equal(np.array(getattr(mine, name)), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda request: request.poses.pop(), "poses has 20 values"),
        (lambda request: request.poses.__setitem__(13, 3.0), "query 1: pose"),
        (lambda request: request.stamps_ns.pop(), "stamps_ns"),
        (lambda request: request.latents.extend([1.0] * 3), "latent has 5 values"),
    ],
)
def test_lookups_that_make_no_sense_are_refused_by_name(graph, change, why):
    graph.drive(3)
    request = lookups(3)[0]
    change(request)
    answer = graph.call(QueryMemoryArrays, "query_arrays", request)
    assert not answer.success
    assert why in answer.message


def many_with(graph: Graph, count: int, field: str, at: int, value: float) -> QueryMemoryArrays.Response:
    """Ask so many lookups of which one number is another."""
    request = lookups(count)[0]
    getattr(request, field)[at] = value
    return graph.call(QueryMemoryArrays, "query_arrays", request)


@pytest.mark.parametrize(
    ("field", "at", "value", "why"),
    [
        ("poses", 7 * 39, 1e7, "query 39: place"),
        ("poses", 7 * 38 + 2, 1e12, "query 38: pose"),
        ("poses", 7 * 38 + 3, 1e200, "query 38: pose"),
        ("latents", 4 * 35, math.nan, "query 35: latent"),
        ("latents", 4 * 35, 1e30, "query 35: latent"),
    ],
)
def test_a_lookup_that_is_wrong_is_named_by_its_place_among_all(graph, field, at, value, why):
    graph.drive(3)
    answer = many_with(graph, 40, field, at, value)
    assert not answer.success
    assert answer.message.startswith(why)


@pytest.mark.parametrize("seed", range(4))
def test_any_lookups_as_arrays_find_what_the_record_form_finds(graph, seed):
    """Whatever they share, tilted poses, stamps left open and latents of any size included."""
    rng = np.random.default_rng(seed)
    graph.drive(30)
    records = []
    for turn in turns(rng, 40):
        stamp_ns, latent_D = int(rng.integers(1, 3 * 10**9)), rng.normal(size=4).astype(np.float32)
        own = {"encoder_id": "e1", "frame_id": "map", "yaw": yaw_of(turn), "orientation": turn}
        records.append(MemoryRecord(stamp_ns, latent_D, *rng.uniform(0, 3, 2), **own))
    graph.memory._memory.insert(records)
    found = refused = 0
    for _ in range(12):
        packed, single = random_lookups(rng, int(rng.integers(1, 80)))
        mine = graph.call(QueryMemoryArrays, "query_arrays", packed)
        theirs = graph.call(QueryMemoryBatch, "query_batch", single)
        assert mine.success == theirs.success, (mine.message, theirs.message)
        if not mine.success:
            refused += 1
            continue
        ids = packed_from_msg(mine.records).rows.id_N
        assert [ids[row] for row in mine.rows] == [each.id for matches in theirs.matches for each in matches.records]
        assert list(mine.candidate_counts) == [matches.candidate_count for matches in theirs.matches]
        for name in ("distances", "latent_distances", "pose_distances"):
            expected = np.concatenate([getattr(matches, name) for matches in theirs.matches])
            np.testing.assert_array_equal(np.array(getattr(mine, name)), expected)
        found += len(mine.rows)
    assert found
    assert refused < 12


def turns(rng: np.random.Generator, count: int) -> list[tuple[float, ...]]:
    """Return rotations about z, and some that tilt."""
    yaws = [quaternion_of(yaw) for yaw in rng.uniform(-3, 3, count)]
    tilts = [(0.0, sin(pitch), 0.0, cos(pitch)) for pitch in rng.uniform(-0.3, 0.3, count)]
    return [tuple(compose(np.array(yaw), np.array(tilt)).tolist()) if rng.random() < 0.3 else yaw
            for yaw, tilt in zip(yaws, tilts)]  # fmt: skip


def random_lookups(rng: np.random.Generator, count: int) -> tuple[QueryMemoryArrays.Request, QueryMemoryBatch.Request]:
    """Return any lookups as arrays and as records."""
    has = dict(zip(("poses", "latents", "stamps_ns"), rng.random(3) < (0.7, 0.5, 0.5)))
    shared = {
        "k": int(rng.integers(0, 12)),
        "rank_by": int(rng.integers(0, 4)),
        "radius_m": float(rng.choice([0.0, 0.5, 2.0])),
        "exclude_recent_s": float(rng.choice([0.0, 0.3])),
        "rotation_tolerance_rad": float(rng.choice([0.0, 0.4])),
        "successors": bool(rng.random() < 0.5),
    }
    position_Q3, turn_Q = rng.uniform(0, 3, (count, 3)) * (1, 1, 0), turns(rng, count)
    latent_QD = rng.normal(size=(count, 4)).astype(np.float32)
    stamps = [int(each) for each in rng.choice([0, 10**9, 2 * 10**9, 4 * 10**9], count)]
    queries = [at(0.5, **shared) for _ in range(count)]
    packed = QueryMemoryArrays.Request(query=at(0.5, **shared), count=count)
    if has["poses"]:
        packed.poses = array_of("d", np.column_stack([position_Q3, turn_Q]))
        for msg, position, turn in zip(queries, position_Q3.tolist(), turn_Q):
            fill_pose(msg.pose.position, msg.pose.orientation, position, turn)
    if has["latents"]:
        packed.latents = array_of("f", latent_QD)
        for msg, latent_D in zip(queries, latent_QD):
            msg.latent = floats(latent_D)
    if has["stamps_ns"]:
        packed.stamps_ns = array_of("q", np.array(stamps))
        for msg, stamp in zip(queries, stamps):
            msg.stamp.sec, msg.stamp.nanosec = divmod(stamp, 10**9)
    return packed, QueryMemoryBatch.Request(queries=queries)


@pytest.mark.parametrize("change", ["transform", "clear"])
def test_lookups_that_a_change_of_the_whole_memory_parts_are_to_be_asked_again(graph, monkeypatch, change):
    graph.drive(10)
    memory = graph.memory._memory
    search, records = memory.query_batch, memory.everything()
    asked = []

    def interrupted(queries):
        asked.append(len(queries))
        if len(asked) == 2 and change == "transform":
            memory.transform(Rigid(0.1, 0.0, 0.0, 0.0))
        if len(asked) == 2 and change == "clear":
            memory.clear()
            memory.insert([replace(each, id=0, encoder_id="e2", frame_id="odom") for each in records])
        return search(queries)

    monkeypatch.setattr(memory, "query_batch", interrupted)
    request = QueryMemoryArrays.Request(query=at(0.5, k=3), count=40)
    answer = graph.call(QueryMemoryArrays, "query_arrays", request)
    assert asked == [32, 8]
    assert (answer.success, len(answer.rows)) == (False, 0)
    assert "ask again" in answer.message
    assert graph.call(QueryMemoryArrays, "query_arrays", request).success


def fill(graph: Graph, window: Window) -> MemoryWindow.Response:
    response = graph.call(MemoryWindow, "window", ask_to_request(window.ask(AREA)))
    assert response.success, response.message
    assert window.apply(update_from_response(response, AREA), AREA)
    return response


def test_a_window_through_ros_holds_what_the_memory_holds(graph):
    graph.drive(30)
    window = Window()
    first = fill(graph, window)
    assert (first.whole, first.reason) == (True, "first")
    assert not first.is_everything
    assert len(window) == 16  # x = 0, 0.2 ... 3.0
    graph.drive(4, start_ns=60 * 10**9, encoder_id="e1")
    changed = fill(graph, window)
    assert not changed.whole
    assert len(window) == 20
    graph.call(DeleteMemory, "delete", DeleteMemory.Request(ids=[1, 2]))
    assert sorted(fill(graph, window).removed_ids) == [1, 2]
    assert len(window) == 18
    move = Transform()
    move.translation.x, move.rotation.w = 100.0, 1.0
    graph.call(TransformMemory, "transform", TransformMemory.Request(transform=move))
    assert fill(graph, window).reason == "transformed"
    assert len(window) == 0


def test_a_window_that_cannot_be_is_refused_in_words(graph):
    graph.drive(2)
    answer = graph.call(MemoryWindow, "window", MemoryWindow.Request(radius_m=1.0, frame_id="odom"))
    assert not answer.success
    assert "odom" in answer.message
    answer = graph.call(MemoryWindow, "window", MemoryWindow.Request(radius_m=0.0))
    assert not answer.success


@pytest.mark.slow
def test_packed_arrays_of_another_layout_or_length_are_refused(graph):
    graph.drive(4)
    update = graph.memory.window_source.window(Window().ask(AREA))
    msg = packed_to_msg(update.records)
    msg.latents.pop()
    with pytest.raises(MessageError, match="latents has 15 values"):
        packed_from_msg(msg)
    msg = packed_to_msg(update.records)
    msg.version += 1
    with pytest.raises(MessageError, match="layout 2"):
        packed_from_msg(msg)
    assert graph.memory._memory.delete(Forget(ids=(1, 2, 3, 4))) == 4
    empty = graph.memory.window_source.window(Window().ask(AREA))
    assert len(packed_from_msg(packed_to_msg(empty.records))) == 0


@pytest.mark.slow
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("field", ["poses", "yaws", "latents", "successor_times_s", "successor_latents"])
def test_packed_arrays_of_impossible_numbers_are_refused(graph, field, value):
    graph.drive(25)
    update = graph.memory.window_source.window(Window().ask(AREA))
    response = update_to_response(update, MemoryWindow.Response())
    assert len(update_from_response(response, AREA).records) == len(update.records)
    getattr(response.records, field)[0] = value
    with pytest.raises(MessageError, match=f"{field}: a value is not finite") as refused:
        update_from_response(response, AREA)
    assert refused.value.reason == "arrays-value"


@pytest.mark.parametrize("area", [{"center_x": np.nan}, {"center_y": 1e12}, {"radius_m": np.inf}, {"radius_m": 0.0}])
def test_an_area_that_is_none_is_refused(area):
    response = MemoryWindow.Response(**{"radius_m": 1.0, **area})
    response.records.version = 1
    with pytest.raises(MessageError) as refused:
        update_from_response(response, AREA)
    assert refused.value.reason == "arrays-value"


@pytest.mark.slow
def test_ids_that_are_none_are_refused(graph):
    graph.drive(4)
    msg = packed_to_msg(graph.memory.window_source.window(Window().ask(AREA)).records)
    msg.ids[0] = 2**63 - 1
    assert packed_from_msg(msg).rows.id_N[0] == 2**63 - 1
    msg.ids[0] = 2**63
    with pytest.raises(MessageError, match="ids: at most"):
        packed_from_msg(msg)
