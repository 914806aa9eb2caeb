"""The node in process: what goes in by topic and service comes out whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from rclpy.parameter import Parameter

from spatial_memory.node import SpatialMemory
from spatial_memory.params import SpatialMemoryParams
from wm_core.memory.errors import CorruptStoreError
from wm_core.memory.journal import Area, WindowAsk
from wm_core.memory.keyframes import Spacing
from wm_core.memory.reference_batch import remember
from wm_interfaces.msg import LatentState, MemoryQuery, MemoryRecord, MemorySuccessor, PredictionError
from wm_interfaces.srv import (
    DeleteMemory,
    InsertMemory,
    MemoryStats,
    MemoryWindow,
    QueryMemory,
    QueryMemoryArrays,
    QueryMemoryBatch,
    RecallMemory,
    RecognisePlace,
    TransformMemory,
)
from wm_ros import ConfigurationError, floats, qos, stamp_msg, stamp_ns
from wm_testing.nodes import assert_file_sets_every_parameter, ros_context, spin_until

from .node_graph import STEP_NS, Graph, at, graph, state, turned

__all__ = ["graph", "ros_context"]


CONFIG = Path(__file__).parents[3] / "config" / "spatial_memory.yaml"


def test_a_large_memory_is_loaded_while_others_are_served(ros_context, tmp_path, monkeypatch):
    monkeypatch.setattr("spatial_memory.node._LOADED_AT_ONCE_BYTES", 0)
    kept = [Parameter("db_path", value=str(tmp_path / "m.sqlite3"))]
    first = SpatialMemory(beside=True, parameter_overrides=kept)
    assert first.is_active, "there was nothing to load"
    first.destroy_node()
    later = SpatialMemory(beside=True, parameter_overrides=kept)
    assert not later.is_active
    assert later.window_source.window(WindowAsk(Area(0.0, 0.0, 1.0))) is None
    spin_until(lambda: later.is_active, later)
    assert later.window_source.window(WindowAsk(Area(0.0, 0.0, 1.0))) is not None
    later.destroy_node()


def test_states_are_stored_and_found_with_what_followed(graph):
    graph.drive(25)
    answer = graph.call(QueryMemory, "query", QueryMemory.Request(query=at(0.41, k=2, radius_m=1.0, successors=True)))
    assert answer.success, answer.message
    first = answer.matches.records[0]
    assert [record.position.x for record in answer.matches.records] == pytest.approx([0.4, 0.6])
    assert answer.matches.candidate_count == 8  # -0.6 < x - 0.41 <= 1: 0.0, 0.2 ... 1.4
    assert list(first.latent) == [2.0] * 4
    assert list(first.action) == [2.0, 0.0]
    assert list(first.previous_action) == [1.0, 0.0]
    assert first.encoder_id == "e1"
    assert [(round(item.horizon_s, 3), round(item.dt_s, 3), item.latent[0]) for item in first.successors] == [
        (0.05, 0.05, 3.0),
        (1.0, 1.0, 22.0),
    ]


def test_surprise_joins_by_stamp(graph):
    graph.drive(3)
    msg = PredictionError(horizon_s=1.0, error=2.5)
    msg.header.stamp = stamp_msg(10**9 + STEP_NS)
    graph.errors.publish(msg)

    def surprise() -> float:
        answer = graph.call(QueryMemory, "query", QueryMemory.Request(query=at(0.2, k=1)))
        return answer.matches.records[0].surprise

    spin_until(lambda: surprise() == 2.5, graph.talker, graph.memory)


def test_batch_answers_each_query_and_names_the_wrong_one(graph):
    graph.drive(5)
    request = QueryMemoryBatch.Request(queries=[at(0.0, k=1), at(0.8, k=1)])
    answer = graph.call(QueryMemoryBatch, "query_batch", request)
    assert answer.success, answer.message
    assert [matches.records[0].position.x for matches in answer.matches] == pytest.approx([0.0, 0.8])
    request.queries.append(at(float("nan")))
    answer = graph.call(QueryMemoryBatch, "query_batch", request)
    assert not answer.success
    assert "query 2" in answer.message


def test_bad_states_are_named_and_counted(graph):
    graph.drive(1)
    graph.drive(1, start_ns=2 * 10**9, encoder_id="e2")
    graph.drive(1, start_ns=3 * 10**9, has_pose=False)
    graph.states.publish(state(4 * 10**9, 1.0, value=float("nan")))
    graph.states.publish(state(4 * 10**9, float("inf")))
    graph.states.publish(state(4 * 10**9, 1e9))
    graph.states.publish(state(4 * 10**9, 1e7))
    spin_until(lambda: graph.counted("states_received") == 7, graph.talker, graph.memory)
    assert graph.counted("dropped/other-encoder") == 1
    assert graph.counted("skipped/no-pose") == 1
    assert graph.counted("dropped/latent-not-finite") == 1
    assert graph.counted("dropped/pose-not-finite") == 1
    assert graph.counted("dropped/pose-too-far") == 1
    assert graph.counted("dropped/impossible-place") == 1
    assert graph.call(MemoryStats, "stats", MemoryStats.Request()).memory_count == 1


def test_what_cannot_work_is_said_at_start(ros_context, tmp_path):
    path = tmp_path / "memory.sqlite3"
    path.write_bytes(b"not a memory" * 1000)
    with pytest.raises(ConfigurationError, match="damaged"):
        SpatialMemory(parameter_overrides=[Parameter("db_path", value=str(path))])


def test_config_file_sets_every_parameter():
    assert_file_sets_every_parameter(CONFIG, "spatial_memory", SpatialMemoryParams)


def test_default_path_is_durable(monkeypatch, tmp_path):
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    assert SpatialMemoryParams().path() == str(tmp_path / "world_model" / "memory.sqlite3")
    assert SpatialMemoryParams().path("r", is_simulated=True) == str(tmp_path / "world_model" / "r" / "replay.sqlite3")
    assert SpatialMemoryParams(db_path="mine").path("", is_simulated=True).endswith("mine.sqlite3")


@pytest.mark.slow
def test_a_simulator_that_fills_the_robots_file_is_named(ros_context, monkeypatch, tmp_path):
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    other = Node("wm_sim")
    graph = Graph(db_path="")
    spin_until(
        lambda: "start with --memory simulated" in graph.memory._health.status().message, graph.memory, graph.talker
    )
    graph.close()
    other.destroy_node()


def test_poses_of_another_frame_are_refused_and_named(graph):
    graph.drive(2)
    graph.states.publish(turned(state(2 * 10**9, 5.0), "odom"))
    spin_until(lambda: graph.counted("dropped/other-frame") == 1, graph.talker, graph.memory)
    status = graph.memory._health.status()
    assert status.level == DiagnosticStatus.WARN
    assert "pose in frame odom, the memory's are in map" in status.message
    answer = graph.call(QueryMemory, "query", QueryMemory.Request(query=at(0.0, frame_id="odom")))
    assert not answer.success
    assert answer.message == "the query is in frame odom, the memory's places are in map"
    assert graph.call(MemoryStats, "stats", MemoryStats.Request()).frame_id == "map"
    move = TransformMemory.Request(frame_id="odom")
    move.transform.translation.x = 3.0
    assert graph.call(TransformMemory, "transform", move).moved_count == 2
    answer = graph.call(QueryMemory, "query", QueryMemory.Request(query=at(3.0, k=1, frame_id="odom")))
    assert [(record.frame_id, record.position.x) for record in answer.matches.records] == [("odom", 3.0)]
    graph.states.publish(turned(state(3 * 10**9, 5.0), "odom"))
    spin_until(lambda: graph.counted("states_stored") == 3, graph.talker, graph.memory)
    assert "odom" not in graph.memory._health.status().message.replace("messages dropped", "")


def test_a_whole_rotation_and_features_go_in_and_come_out(graph):
    record = MemoryRecord(encoder_id="e1", latent=floats(np.ones(4)), session="s", frame_id="map", feature_id="net")
    turn = record.orientation
    turn.x, turn.y, turn.z, turn.w = 0.1, -0.3, 0.5, np.sqrt(1 - 0.35)
    record.feature = [1, -128, 127]
    record.successors = [MemorySuccessor(horizon_s=0.05, dt_s=0.05, latent=floats(np.ones(4)), feature=[4, 5, 6])]
    assert graph.call(InsertMemory, "insert", InsertMemory.Request(records=[record])).success
    live = state(10**9, 1.0)
    live.pose.orientation, live.feature, live.feature_id = turn, [7, 8, 9], "net"
    graph.states.publish(live)
    spin_until(lambda: graph.counted("states_stored") == 1, graph.talker, graph.memory)
    answer = graph.call(QueryMemory, "query", QueryMemory.Request(query=at(0.0, k=2, successors=True)))
    for found in answer.matches.records:
        kept = found.orientation
        assert (kept.x, kept.y, kept.z, kept.w) == pytest.approx((turn.x, turn.y, turn.z, turn.w), abs=1e-7)
        assert found.feature_id == "net"
    assert [list(found.feature) for found in answer.matches.records] == [[1, -128, 127], [7, 8, 9]]
    assert list(answer.matches.records[0].successors[0].feature) == [4, 5, 6]
    asked = at(5.0, k=1, feature=[7, 8, 9], rank_by=MemoryQuery.RANK_LATENT)
    found = graph.call(QueryMemory, "query", QueryMemory.Request(query=asked)).matches
    assert (found.candidate_count, list(found.records[0].feature), list(found.latent_distances)) == (
        2,
        [7, 8, 9],
        [0.0],
    )
    for tolerance_rad, count in ((0.3, 0), (2.0, 2)):
        asked = at(0.0, rotation_tolerance_rad=tolerance_rad)
        assert graph.call(QueryMemory, "query", QueryMemory.Request(query=asked)).matches.candidate_count == count
    for wish, word in (({"feature": [1, 2]}, "2 values"), ({"feature": [1, 2, 3], "feature_id": "other"}, "other")):
        answer = graph.call(QueryMemory, "query", QueryMemory.Request(query=at(0.0, **wish)))
        assert not answer.success
        assert word in answer.message


def slow_state(stamp_ns: int, x: float, value: float) -> LatentState:
    msg = state(stamp_ns, x, value)
    msg.step_s, msg.horizons_s, msg.top_k = 0.2, [0.2, 2.0], 3
    return msg


def test_step_horizons_and_top_k_come_with_the_states(graph):
    for number in range(25):
        graph.states.publish(slow_state(10**9 + number * 200_000_000, 0.2 * number, float(number)))
        spin_until(lambda n=number: graph.counted("states_received") == n + 1, graph.talker, graph.memory)
    answer = graph.call(QueryMemory, "query", QueryMemory.Request(query=at(0.0, successors=True)))
    assert len(answer.matches.records) == 3
    items = answer.matches.records[0].successors
    assert [(round(item.horizon_s, 3), item.latent[0]) for item in items] == [(0.2, 1.0), (2.0, 10.0)]
    stats = MemoryStats.Response()

    def is_counted() -> bool:
        nonlocal stats
        stats = graph.call(MemoryStats, "stats", MemoryStats.Request())
        return stats.successors_usable == 24 + 15

    spin_until(is_counted, graph.talker)
    assert (stats.step_s, list(stats.horizons_s)) == (0.2, [0.2, 2.0])
    assert stats.successors_unusable == 0


@pytest.mark.slow
def test_successors_of_another_model_are_counted_and_named(ros_context, tmp_path):
    graph = Graph(db_path=str(tmp_path / "memory.sqlite3"))
    graph.drive(25)
    graph.close()
    graph = Graph(db_path=str(tmp_path / "memory.sqlite3"))
    graph.states.publish(slow_state(10**11, 0.0, 1.0))
    spin_until(lambda: "are not used" in graph.memory._health.status().message, graph.talker, graph.memory)
    assert "successors held lie 0.05, 0.95, 1 s ahead and fit none of the model's horizons 0.2, 2 s" in (
        graph.memory._health.status().message
    )
    graph.close()


def test_a_step_that_was_not_expected_is_refused_by_name(ros_context):
    graph = Graph(step_s=0.05)
    graph.states.publish(slow_state(10**9, 0.0, 1.0))
    spin_until(lambda: graph.counted("dropped/other-step") == 1, graph.talker, graph.memory)
    graph.drive(2, start_ns=2 * 10**9)
    assert graph.counted("states_stored") == 2
    graph.close()


def measured(stamp_ns: int, x: float) -> PoseWithCovarianceStamped:
    msg = PoseWithCovarianceStamped()
    msg.header.stamp, msg.header.frame_id = stamp_msg(stamp_ns), "map"
    msg.pose.pose.position.x, msg.pose.pose.orientation.w = x, 1.0
    return msg


@pytest.mark.slow
def test_a_predicted_pose_waits_for_the_measured_one_and_is_kept_with_it(graph):
    poses = graph.talker.create_publisher(PoseWithCovarianceStamped, "/latent/pose", qos.STREAM)
    spin_until(lambda: poses.get_subscription_count() == 1, graph.talker, graph.memory)
    graph.drive(3, pose_status=LatentState.POSE_PREDICTED)
    assert graph.counted("states_stored") == 0
    for at_step in (0, 1, 2):
        poses.publish(measured(10**9 + at_step * STEP_NS, 5.0 + at_step))
    spin_until(lambda: graph.counted("states_stored") == 3, graph.talker, graph.memory)
    answer = graph.call(QueryMemory, "query", QueryMemory.Request(query=at(5.0, k=3, radius_m=3.0)))
    assert [record.position.x for record in answer.matches.records] == pytest.approx([5.0, 6.0, 7.0])
    assert [record.latent[0] for record in answer.matches.records] == [0.0, 1.0, 2.0]


@pytest.mark.slow
def test_a_state_whose_measured_pose_stays_away_is_not_kept(ros_context):
    graph = Graph(pose_join_s=0.02)
    try:
        graph.drive(2, pose_status=LatentState.POSE_PREDICTED)
        spin_until(lambda: graph.counted("poses_late") == 2, graph.talker, graph.memory)
        graph.drive(1, start_ns=2 * 10**9)
        assert graph.counted("states_stored") == 1
        assert graph.counted("skipped/no-pose") == 2
    finally:
        graph.close()


def test_the_artifact_decides_the_encoder_not_the_first_record(ros_context):
    graph = Graph(model_path="artifact://tiny")
    records = [MemoryRecord(encoder_id="e1", latent=floats(np.ones(4)), session="s")]
    answer = graph.call(InsertMemory, "insert", InsertMemory.Request(records=records))
    assert not answer.success
    assert "record 0 is of encoder e1, artifact://tiny (model_path) has" in answer.message
    graph.states.publish(state(10**9, 0.0))
    spin_until(lambda: graph.counted("dropped/other-encoder") == 1, graph.talker, graph.memory)
    assert graph.call(MemoryStats, "stats", MemoryStats.Request()).encoder_id == ""
    graph.close()


@pytest.mark.slow
def test_one_record_stamped_in_the_future_makes_nothing_old(graph):
    now = graph.memory.get_clock().now().nanoseconds
    records = []
    for age_s in (7200, 60, 1, -(3 * 10**8)):
        record = MemoryRecord(
            encoder_id="e1", latent=floats([1.0, 0.0]), session="s", stamp=stamp_msg(now - age_s * 10**9)
        )
        records.append(record)
    assert graph.call(InsertMemory, "insert", InsertMemory.Request(records=records)).success
    deleted = graph.call(DeleteMemory, "delete", DeleteMemory.Request(older_than_s=3600.0))
    assert (deleted.success, deleted.deleted_count) == (True, 1)


def test_every_answer_says_which_memory_it_is_of(graph):
    graph.drive(2)
    asks = [
        (QueryMemory, "query", QueryMemory.Request(query=at(0.0))),
        (QueryMemory, "query", QueryMemory.Request(query=at(float("nan")))),
        (QueryMemoryBatch, "query_batch", QueryMemoryBatch.Request(queries=[at(0.0)])),
        (QueryMemoryArrays, "query_arrays", QueryMemoryArrays.Request(query=at(0.0), count=1)),
        (RecognisePlace, "recognise", RecognisePlace.Request()),
        (RecallMemory, "recall", RecallMemory.Request(ids=[1])),
        (MemoryStats, "stats", MemoryStats.Request()),
        (MemoryWindow, "window", MemoryWindow.Request(has_area=True, radius_m=5.0)),
    ]
    (epoch,) = {graph.call(*ask).epoch for ask in asks}
    assert epoch
    again = SpatialMemory(parameter_overrides=[Parameter("db_path", value=":memory:")])
    assert again._answering.epoch != epoch, "another run"
    again.destroy_node()


def test_successors_that_cannot_be_counted_are_named_and_no_fault(graph, monkeypatch):
    def damaged() -> np.ndarray:
        raise CorruptStoreError("memory.sqlite3 is damaged: malformed", "malformed")

    monkeypatch.setattr(graph.memory._memory, "successor_times", damaged)
    msg = state(10**9, 0.0)
    msg.step_s, msg.horizons_s, msg.top_k = 0.2, [0.2, 2.0], 3
    graph.states.publish(msg)
    spin_until(
        lambda: any("malformed" in item.value for item in graph.memory._health.status().values),
        graph.talker, graph.memory,
    )  # fmt: skip
    assert graph.counted("faults") == 0


@pytest.mark.slow
def test_in_a_small_world_the_node_keeps_what_training_remembers(graph):
    rng, count = np.random.default_rng(11), 800
    stamp_T = 10**12 + np.arange(count) * STEP_NS + rng.integers(-15_000_000, 15_000_000, count)
    angle_T = stamp_T / 1e9 * 2 * np.pi / 10
    pose_T4 = np.column_stack([0.5 * np.cos(angle_T), 0.5 * np.sin(angle_T), np.zeros((count, 2))])
    for row in range(count):
        msg = state(int(stamp_T[row]), float(pose_T4[row, 0]), value=float(row))
        msg.pose.position.y = float(pose_T4[row, 1])
        graph.states.publish(msg)
        spin_until(lambda row=row: graph.counted("states_received") > row, graph.talker, graph.memory)
    answer = graph.call(QueryMemory, "query", QueryMemory.Request(query=at(0.0, k=4096)))
    known = remember(stamp_T, pose_T4, np.zeros((count, 1), np.float32), np.zeros((count, 2), np.float32))
    assert sorted(stamp_ns(record.stamp) for record in answer.matches.records) == known.stamp_N.tolist()
    in_a_building = remember(
        stamp_T, pose_T4, np.zeros((count, 1), np.float32), np.zeros((count, 2), np.float32), spacing=Spacing()
    )
    assert len(known) > 1.4 * len(in_a_building)
