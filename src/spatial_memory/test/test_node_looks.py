"""Features through the node: a basis that changes, places recognised by look, the scale of what was seen."""

from __future__ import annotations

import array
from itertools import count

import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import Header

from wm_core.projection import FeatureSpace, Projection
from wm_interfaces.msg import LatentState, MemoryRecord, MemorySuccessor
from wm_interfaces.msg import Projection as ProjectionMsg
from wm_interfaces.srv import InsertMemory, MemoryStats, QueryMemory, RecognisePlace
from wm_ros import ConfigurationError, floats, projection_to_msg, qos, stamp_msg
from wm_testing.nodes import ros_context, spin_until
from world_model.runtime.profile import Profile

from .node_graph import STEP_NS, Graph, at, graph, state

__all__ = ["graph", "ros_context"]

SPACE = FeatureSpace("net", 8, 1, 0.1, 2)


def projection(seed: int, space: FeatureSpace = SPACE) -> Projection:
    return Projection(space, np.zeros(space.size), np.random.default_rng(seed).normal(size=(4, space.size)))


FIRST, SECOND = projection(1), projection(2)


def feature(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(-128, 128, SPACE.size).astype(np.int8)


def seen(stamp_ns: int, x: float, feature_F: np.ndarray, basis: Projection = FIRST) -> LatentState:
    msg = state(stamp_ns, x, encoder_id=basis.encoder_id)
    msg.feature_id, msg.feature = "net", array.array("b", feature_F.tobytes())
    msg.latent = floats(basis.project(feature_F[None])[0])
    return msg


def remembered(number: int, x: float, **fields: object) -> MemoryRecord:
    own = feature(number)
    record = MemoryRecord(encoder_id=FIRST.encoder_id, session="before", feature_id="net", **fields)
    record.latent, record.feature = floats(FIRST.project(own[None])[0]), array.array("b", own.tobytes())
    record.position.x, record.orientation.w = x, 1.0
    return record


def publish(graph: Graph, basis: Projection, before: Projection | None = None) -> object:
    """Publish a basis, latched, and return the publisher, which has to be held as long as it is to be heard."""
    publisher = graph.talker.create_publisher(ProjectionMsg, "/latent/projection", qos.LATCHED)
    publisher.publish(projection_to_msg(basis, Header(), before.encoder_id if before else ""))
    return publisher


def stats(graph: Graph) -> MemoryStats.Response:
    return graph.call(MemoryStats, "stats", MemoryStats.Request())


def test_all_memories_follow_a_new_basis_and_states_of_both_are_kept(graph):
    drive = [seen(10**9 + step * STEP_NS, 0.2 * step, feature(step)) for step in range(10)]
    for msg in drive:
        graph.states.publish(msg)
        reached = graph.counted("states_stored") + 1
        spin_until(lambda reached=reached: graph.counted("states_stored") == reached, graph.talker, graph.memory)
    assert stats(graph).encoder_id == FIRST.encoder_id
    held = publish(graph, SECOND, FIRST)
    graph.states.publish(seen(10**9 + 10 * STEP_NS, 2.0, feature(10), SECOND))
    graph.states.publish(seen(10**9 + 11 * STEP_NS, 2.2, feature(11), FIRST))
    spin_until(lambda: stats(graph).memory_count == 12, graph.talker, graph.memory)
    asked = at(0.0, k=20, successors=True)
    found = graph.call(QueryMemory, "query", QueryMemory.Request(query=asked)).matches.records
    assert len(found) == 12
    for record in found:
        assert record.encoder_id == SECOND.encoder_id
        for each in (record, *record.successors):
            own = np.array(each.feature, np.int8)
            np.testing.assert_allclose(each.latent, SECOND.project(own[None])[0], rtol=1e-4, atol=1e-4)
    assert sum(len(record.successors) for record in found) >= 9
    graph.talker.destroy_publisher(held)


def test_a_second_graph_changes_neither_the_basis_nor_the_memory_and_the_first_goes_on_without_it(graph):
    """The second one's projection is latched, and its states are in it; the first one's follow when it tells so."""

    def drive(publisher, first: int, basis: Projection) -> None:
        counts = ("states_stored", "dropped/other-stream")
        for step in range(first, first + 5):
            before = [graph.counted(name) for name in counts]
            publisher.publish(seen(10**9 + step * STEP_NS, 0.2 * step, feature(step), basis))
            spin_until(
                lambda before=before: [graph.counted(name) for name in counts] != before, graph.talker, graph.memory
            )

    held = publish(graph, FIRST)
    drive(graph.states, 0, FIRST)
    second = Node("second")
    states = second.create_publisher(LatentState, "/latent/state", qos.STREAM)
    projections = second.create_publisher(ProjectionMsg, "/latent/projection", qos.LATCHED)
    projections.publish(projection_to_msg(SECOND, Header(), FIRST.encoder_id))
    told = graph.memory._keeping._told
    spin_until(lambda: told.asked_for(SECOND.encoder_id), graph.talker, graph.memory, second)
    spin_until(states.get_subscription_count, graph.talker, graph.memory, second)
    drive(graph.states, 5, FIRST)
    drive(states, 5, SECOND)
    assert stats(graph).encoder_id == FIRST.encoder_id
    assert (stats(graph).memory_count, graph.counted("dropped/other-stream")) == (10, 5)
    third = projection(3)
    held.publish(projection_to_msg(third, Header(), FIRST.encoder_id))
    spin_until(lambda: told.asked_for(third.encoder_id), graph.talker, graph.memory)
    drive(graph.states, 10, third)
    assert stats(graph).encoder_id == third.encoder_id
    second.destroy_node()
    drive(graph.states, 15, third)
    asked = graph.call(QueryMemory, "query", QueryMemory.Request(query=at(0.0, k=20, encoder_id=third.encoder_id)))
    assert [asked.success, len(asked.matches.records), stats(graph).memory_count] == [True, 20, 20]
    graph.talker.destroy_publisher(held)


def test_of_two_graphs_that_were_there_before_none_changes_the_basis_until_one_is_alone(graph):
    graph.call(InsertMemory, "insert", InsertMemory.Request(records=[remembered(n, 3.0 * n) for n in range(6)]))
    held = publish(graph, SECOND)
    second = Node("second")
    states = second.create_publisher(LatentState, "/latent/state", qos.STREAM)
    told = graph.memory._keeping._told
    spin_until(lambda: told.asked_for(SECOND.encoder_id), graph.talker, graph.memory)
    spin_until(lambda: graph.memory.count_publishers("/latent/state") == 2, graph.talker, graph.memory)

    def waits(step: int) -> bool:
        graph.states.publish(seen(10**9 + step * STEP_NS, 0.2 * step, feature(step), SECOND))
        return "does once one of them is alone" in graph.memory._health.status().message

    steps = count()
    spin_until(lambda: waits(next(steps)), graph.talker, graph.memory)
    assert stats(graph).encoder_id == FIRST.encoder_id
    second.destroy_publisher(states)
    spin_until(lambda: not waits(next(steps)), graph.talker, graph.memory)
    assert stats(graph).encoder_id == SECOND.encoder_id
    second.destroy_node()
    graph.talker.destroy_publisher(held)


def test_a_basis_of_other_features_is_refused_by_name(graph):
    graph.call(InsertMemory, "insert", InsertMemory.Request(records=[remembered(0, 0.0)]))
    other = projection(1, FeatureSpace("other", 8, 1, 0.1, 2))
    held = publish(graph, other)
    msg = seen(10**9, 0.0, feature(0), other)
    msg.feature_id = "other"

    def complaint() -> str:
        graph.states.publish(msg)
        return graph.memory._health.status().message

    spin_until(lambda: "network other came, the memory holds those of net" in complaint(), graph.talker, graph.memory)
    assert stats(graph).encoder_id == FIRST.encoder_id
    graph.talker.destroy_publisher(held)


@pytest.mark.slow
def test_a_place_is_recognised_by_its_look(graph):
    records = [remembered(number, 3.0 * number, stamp=stamp_msg((number + 1) * 10**9)) for number in range(6)]
    records[2].successors = [MemorySuccessor(horizon_s=1.0, dt_s=1.0, latent=floats(np.ones(4)), feature=[1] * 8)]
    ids = graph.call(InsertMemory, "insert", InsertMemory.Request(records=records)).ids
    sought = feature(4).astype(np.int16)
    sought[0] += 1 if sought[0] < 127 else -1
    request = RecognisePlace.Request(feature=sought.tolist(), feature_id="net", most=2)
    answer = graph.call(RecognisePlace, "recognise", request)
    assert answer.success, answer.message
    best, second = answer.places
    assert (best.id, best.pose.position.x, best.session) == (ids[4], 12.0, "before")
    units = [each / np.linalg.norm(each) for each in (sought.astype(np.float64), feature(4).astype(np.float64))]
    assert best.distance == pytest.approx(np.linalg.norm(units[0] - units[1]), rel=1e-4)
    assert best.stamp.sec == 5
    assert best.confidence > 0.99 > second.confidence
    assert (answer.ambiguous, answer.ambiguity, second.distance > 0.5) == (False, "", True)
    assert answer.second_ratio == pytest.approx(best.distance / second.distance)


def test_the_newest_state_is_recognised_but_not_in_itself(graph):
    graph.call(InsertMemory, "insert", InsertMemory.Request(records=[remembered(n, 3.0 * n) for n in range(6)]))
    graph.states.publish(seen(50 * 10**9, 9.1, feature(3)))
    spin_until(lambda: graph.counted("states_stored") == 1, graph.talker, graph.memory)
    answer = graph.call(RecognisePlace, "recognise", RecognisePlace.Request())
    assert (answer.places[0].pose.position.x, answer.places[0].session) == (9.0, "before")


def test_two_places_that_look_alike_are_said_to_be_ambiguous(graph):
    alike = [remembered(1, 0.0), remembered(1, 20.0), remembered(2, 40.0)]
    graph.call(InsertMemory, "insert", InsertMemory.Request(records=alike))
    nearly = feature(1).astype(np.int16)
    nearly[:2] += np.where(nearly[:2] < 0, 1, -1)
    answer = graph.call(RecognisePlace, "recognise", RecognisePlace.Request(feature=nearly.tolist()))
    assert answer.ambiguous
    assert "another place looks nearly as much like it" in answer.ambiguity
    assert [place.confidence for place in answer.places[:2]] == pytest.approx([0.5, 0.5])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("request_fields", "word"),
    [
        ({}, "no state came yet"),
        ({"feature": [1, 2, 3]}, "3 values"),
        ({"feature": [1] * 8, "feature_id": "other"}, "network other"),
        ({"feature": [1] * 8, "exclude_recent_s": float("nan")}, "exclude_recent_s"),
    ],
)
def test_what_cannot_be_recognised_is_refused_by_name(graph, request_fields, word):
    empty = graph.call(RecognisePlace, "recognise", RecognisePlace.Request(feature=[1] * 8))
    assert not empty.success
    assert "empty" in empty.message
    graph.call(InsertMemory, "insert", InsertMemory.Request(records=[remembered(0, 0.0)]))
    answer = graph.call(RecognisePlace, "recognise", RecognisePlace.Request(**request_fields))
    assert not answer.success
    assert word in answer.message


def test_a_memory_without_features_says_so(graph):
    graph.drive(3)
    for request, word in (({"feature": [1] * 8}, "the memory holds none"), ({}, "the newest state has none")):
        answer = graph.call(RecognisePlace, "recognise", RecognisePlace.Request(**request))
        assert not answer.success
        assert word in answer.message


def test_names_of_bases_are_bounded(graph):
    for number in range(200):
        msg = seen(10**9 + number * STEP_NS, 0.0, feature(0))
        msg.encoder_id = f"basis {number}"
        assert not graph.memory._keeping.awaits_basis(msg)
    msg.encoder_id = "b" * 1_000_000
    assert not graph.memory._keeping.awaits_basis(msg)
    assert list(graph.memory._keeping._bases) == [f"basis {number}" for number in range(136, 200)]
    held = publish(graph, SECOND)
    drawn = projection_to_msg(SECOND, Header(), "b" * 1_000_000)
    graph.memory._keeping.on_projection(drawn)
    spin_until(lambda: "name-too-long" in graph.memory._health.status().message, graph.talker, graph.memory)
    assert max(map(len, graph.memory._keeping._bases)) < 100
    del held


def test_the_scale_is_stated_and_what_the_user_set_wins(graph):
    before = stats(graph)
    assert (before.extent_m, before.tilts) == (0.0, False)
    assert (before.revisit_radius_m, before.retrieval_radius_m) == (1.0, 2.0)
    assert before.store_distance_m == pytest.approx(0.1)
    for step in range(700):  # 35 s to and fro over 2 m at 0.2 m/s
        phase = step * 0.01 % 4.0
        graph.memory._keeping.on_state(state(10**9 + step * STEP_NS, min(phase, 4.0 - phase)))
    known = stats(graph)
    assert known.extent_m == pytest.approx(2.0, abs=0.05)
    assert known.speed_mps == pytest.approx(0.2, rel=0.01)
    assert (known.revisit_radius_m, known.store_distance_m) == pytest.approx((0.2, 0.02), rel=0.05)
    told = graph.memory.set_parameters(
        [Parameter("store_distance_m", value=0.5), Parameter("revisit_radius_m", value=3.0)]
    )
    assert all(each.successful for each in told)
    assert (stats(graph).store_distance_m, stats(graph).revisit_radius_m) == (0.5, 3.0)


@pytest.mark.slow
def test_the_scale_is_kept_in_the_profile_and_known_at_the_next_start(ros_context, tmp_path):
    folder = tmp_path / "profile"
    graph = Graph(profile=f"{folder}/", revisit_radius_m=0.3)
    for step in range(700):
        phase = step * 0.01 % 4.0
        graph.memory._keeping.on_state(state(10**9 + step * STEP_NS, min(phase, 4.0 - phase)))
    spin_until(lambda: "scale" in Profile(folder).names(), graph.talker, graph.memory)
    graph.close()
    entries = Profile(folder).read("scale", 1).entries
    assert entries["extent_m"] == pytest.approx(2.0, abs=0.05)
    assert (entries["revisit_radius_m"], entries["store_distance_m"]) == (0.3, pytest.approx(0.02, rel=0.05))
    again = Graph(profile=f"{folder}/")
    assert stats(again).extent_m == pytest.approx(2.0, abs=0.05)
    again.close()
    (folder / "scale.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="damaged"):
        Graph(profile=f"{folder}/")
