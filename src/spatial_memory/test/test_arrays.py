"""What the node tells as packed arrays: the same as it tells as records."""

from __future__ import annotations

import math

import numpy as np
import pytest
from geometry_msgs.msg import Transform

from spatial_memory import Forget
from wm_core.memory.journal import Area
from wm_core.memory.window import Window
from wm_core.se3 import quaternion_of
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
