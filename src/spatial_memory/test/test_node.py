"""The node in process: what goes in by topic and service comes out whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker

from spatial_memory.node import SpatialMemory
from spatial_memory.params import SpatialMemoryParams
from wm_core.memory.journal import Area, WindowAsk
from wm_core.se3 import quaternion_of
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
    RestoreMemory,
    SnapshotMemory,
    TransformMemory,
)
from wm_ros import ConfigurationError, floats, qos, stamp_msg
from wm_testing.nodes import assert_file_sets_every_parameter, ros_context, spin_until
from wm_testing.viewer import Viewer

__all__ = ["ros_context"]

CONFIG = Path(__file__).parents[3] / "config" / "spatial_memory.yaml"
STEP_NS = 50_000_000
OPEN = {"db_path": ":memory:", "allow_destructive": True, "allow_restore": True}


class Graph:
    """The node under test and one that talks to it."""

    def __init__(self, **params: object) -> None:
        self.talker = Node("talker")
        self.states = self.talker.create_publisher(LatentState, "/latent/state", qos.STREAM)
        self.errors = self.talker.create_publisher(PredictionError, "/prediction_error", qos.STREAM)
        overrides = [Parameter(name, value=value) for name, value in {**OPEN, **params}.items()]
        self.memory = SpatialMemory(parameter_overrides=overrides)
        spin_until(lambda: self.states.get_subscription_count() == 1, self.talker, self.memory)

    def counted(self, name: str) -> int:
        return self.memory._health.counted(name)

    def drive(self, count: int, start_ns: int = 10**9, **fields: object) -> None:
        """Publish states 0.2 m apart, one step after the other, and wait until all arrived."""
        wanted = self.counted("states_received") + count
        for at in range(count):
            self.states.publish(state(start_ns + at * STEP_NS, 0.2 * at, value=float(at), **fields))
            reached = self.counted("states_received") + 1
            spin_until(lambda reached=reached: self.counted("states_received") >= reached, self.talker, self.memory)
        assert self.counted("states_received") == wanted

    def call(self, kind: type, name: str, request: object):
        client = self.talker.create_client(kind, f"/spatial_memory/{name}")
        spin_until(client.service_is_ready, self.talker, self.memory)
        future = client.call_async(request)
        spin_until(future.done, self.talker, self.memory)
        self.talker.destroy_client(client)
        return future.result()

    def close(self) -> None:
        self.memory.destroy_node()
        self.talker.destroy_node()


def state(
    stamp_ns: int, x: float, value: float = 1.0, encoder_id: str = "e1", has_pose: bool = True, pose_status: int = 0
) -> LatentState:
    msg = LatentState(encoder_id=encoder_id, has_pose=has_pose, pose_frame_id="map", pose_status=pose_status)
    msg.header.stamp = stamp_msg(stamp_ns)
    msg.latent = floats(np.full(4, value))
    msg.pose.position.x = x
    msg.pose.orientation.w = 1.0
    msg.has_action, msg.action = True, floats([value, 0.0])
    return msg


def at(x: float, **fields: object) -> MemoryQuery:
    msg = MemoryQuery(has_pose=True, **fields)
    msg.pose.position.x = x
    msg.pose.orientation.w = 1.0
    return msg


@pytest.fixture
def graph(ros_context, monkeypatch, tmp_path):
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    graph = Graph()
    yield graph
    graph.close()


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
    graph.states.publish(state(4 * 10**9, 9e6))
    spin_until(lambda: graph.counted("states_received") == 7, graph.talker, graph.memory)
    assert graph.counted("dropped/other-encoder") == 1
    assert graph.counted("skipped/no-pose") == 1
    assert graph.counted("dropped/latent-not-finite") == 1
    assert graph.counted("dropped/pose-not-finite") == 1
    assert graph.counted("dropped/pose-too-far") == 1
    assert graph.counted("dropped/impossible-place") == 1
    assert graph.call(MemoryStats, "stats", MemoryStats.Request()).memory_count == 1


def test_insert_delete_transform_clear(graph):
    records = [MemoryRecord(encoder_id="e1", latent=floats([1.0, 0.0]), session="s") for _ in range(3)]
    for x, record in enumerate(records):
        record.position.x = float(x)
    answer = graph.call(InsertMemory, "insert", InsertMemory.Request(records=records))
    assert answer.success, answer.message
    assert len(set(answer.ids)) == 3
    refused = graph.call(InsertMemory, "insert", InsertMemory.Request(records=[MemoryRecord(encoder_id="e1")]))
    assert not refused.success
    assert "record 0" in refused.message
    deleted = graph.call(DeleteMemory, "delete", DeleteMemory.Request(ids=[answer.ids[1]]))
    assert (deleted.success, deleted.deleted_count) == (True, 1)
    assert not graph.call(DeleteMemory, "delete", DeleteMemory.Request()).success
    request = TransformMemory.Request()
    request.transform.translation.x = 10.0
    turn = request.transform.rotation
    turn.x, turn.y, turn.z, turn.w = quaternion_of(np.pi / 2)
    moved = graph.call(TransformMemory, "transform", request)
    assert (moved.success, moved.moved_count) == (True, 2)
    found = graph.call(QueryMemory, "query", QueryMemory.Request(query=at(10.0, k=8)))
    places = [(round(r.position.x, 3), round(r.position.y, 3)) for r in found.matches.records]
    assert places == [(10.0, 0.0), (10.0, 2.0)]
    assert graph.call(Trigger, "clear", Trigger.Request()).success
    assert graph.call(MemoryStats, "stats", MemoryStats.Request()).memory_count == 0


def test_snapshot_and_restore(graph):
    graph.drive(4)
    request = SnapshotMemory.Request(path="kitchen")
    assert graph.call(SnapshotMemory, "snapshot", request).memory_count == 4
    assert graph.call(Trigger, "clear", Trigger.Request()).success
    answer = graph.call(RestoreMemory, "restore", RestoreMemory.Request(path=request.path))
    assert (answer.success, answer.memory_count) == (True, 4)
    answer = graph.call(RestoreMemory, "restore", RestoreMemory.Request(path="none"))
    assert not answer.success
    assert "no snapshot" in answer.message


def test_a_refused_restore_leaves_the_memory_as_it_was(graph, tmp_path):
    graph.drive(4)
    path = tmp_path / "world_model" / "snapshots" / "kitchen"
    assert graph.call(SnapshotMemory, "snapshot", SnapshotMemory.Request(path="kitchen")).success
    content = path.read_bytes()
    graph.drive(3, start_ns=2 * 10**9)
    for damaged in (content[:-5000], content.replace(b"CREATE TABLE record", b"CREATE TABLE recerd"), b""):
        path.write_bytes(damaged)
        answer = graph.call(RestoreMemory, "restore", RestoreMemory.Request(path="kitchen"))
        assert not answer.success
        assert "snapshot kitchen" in answer.message
        assert str(tmp_path) not in answer.message
        assert graph.call(MemoryStats, "stats", MemoryStats.Request()).memory_count == 7
    path.write_bytes(content)
    assert graph.call(RestoreMemory, "restore", RestoreMemory.Request(path="kitchen")).memory_count == 4


def test_the_largest_id_ends_nothing(ros_context, tmp_path):
    for start in range(2):
        graph = Graph(db_path=str(tmp_path / "memory.sqlite3"))
        record = MemoryRecord(encoder_id="e1", latent=floats([1.0, 0.0, 0.0, 0.0]), session="s")
        largest = MemoryRecord(id=2**63 - 1 - start, encoder_id="e1", latent=record.latent, session="s")
        answer = graph.call(InsertMemory, "insert", InsertMemory.Request(records=[record, largest, record]))
        assert answer.success, answer.message
        graph.drive(2)
        assert graph.call(MemoryStats, "stats", MemoryStats.Request()).memory_count == 5 * (start + 1)
        graph.close()


@pytest.mark.slow
def test_markers_show_cells_memories_trail_and_the_last_retrieval(graph):
    drawn = Viewer(graph.talker, "/spatial_memory/markers")
    graph.drive(3)
    graph.call(QueryMemory, "query", QueryMemory.Request(query=at(0.2, k=2)))
    spin_until(lambda: len(drawn.points("retrieval")) == 7, graph.talker, graph.memory)
    found, asked, lines = drawn.of("retrieval")
    assert sorted(point.x for point in found.points) == pytest.approx([0.0, 0.2])  # of 0.0 and 0.4, equally far
    assert [point.x for point in asked.points] == pytest.approx([0.2])
    assert [point.x for point in lines.points[::2]] == pytest.approx([0.2, 0.2])
    assert [point.x for point in lines.points[1::2]] == [point.x for point in found.points]
    assert {marker.type for marker in drawn.of("cells")} == {Marker.TRIANGLE_LIST}
    assert [point.x for point in drawn.points("memories")] == pytest.approx([0.0, 0.2, 0.4])
    assert [point.x for point in drawn.points("trail")] == pytest.approx([0.0, 0.2, 0.2, 0.4])
    assert all(marker.frame_locked for marker in drawn.markers.values())
    assert drawn.frames == {"map"}


@pytest.mark.slow
def test_a_message_holds_what_changed_and_a_late_viewer_gets_everything(ros_context):
    graph = Graph(marker_rate=20.0)
    drawn = Viewer(graph.talker, "/spatial_memory/markers")
    graph.drive(3)
    spin_until(lambda: len(drawn.points("memories")) == 3, graph.talker, graph.memory)
    told = len(drawn.heard)
    graph.errors.publish(judged(10**9, 0.5))
    spin_until(lambda: len(drawn.heard) > told, graph.talker, graph.memory)
    assert [(marker.ns, marker.id) for marker in drawn.heard[told].markers] == [("memories", 0)]
    late = Viewer(graph.talker, "/spatial_memory/markers")
    spin_until(lambda: late.markers.keys() == drawn.markers.keys(), graph.talker, graph.memory)
    hasty = Viewer(graph.talker, "/spatial_memory/markers", qos.STREAM)
    spin_until(lambda: hasty.markers.keys() == drawn.markers.keys(), graph.talker, graph.memory)
    graph.close()


def judged(stamp_ns: int, error: float) -> PredictionError:
    msg = PredictionError(horizon_s=1.0, error=error)
    msg.header.stamp = stamp_msg(stamp_ns)
    return msg


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


def turned(msg: LatentState, frame_id: str) -> LatentState:
    msg.pose_frame_id = frame_id
    return msg


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


def drawn_places(graph: Graph, drawn: Viewer, count: int, frame_id: str = "map") -> list[float]:
    """Returns x of what is drawn once that is what the memory says that it holds."""
    stats = graph.call(MemoryStats, "stats", MemoryStats.Request())
    assert stats.memory_count == count

    def agrees() -> bool:
        # Each cell is a hexagon, or one of the few pentagons.
        filled = 3 * stats.cell_count <= drawn.corners <= 4 * stats.cell_count
        return filled and len(drawn.points("memories")) == count and drawn.frames <= {frame_id}

    spin_until(agrees, graph.talker, graph.memory)
    assert stats.frame_id in ("", frame_id)
    return sorted(point.x for point in drawn.points("memories"))


@pytest.mark.slow
def test_markers_show_the_memory_after_restart_transform_clear_and_restore(ros_context, tmp_path):
    settings = {"db_path": str(tmp_path / "m.sqlite3"), "marker_rate": 20.0}
    graph = Graph(**settings)
    graph.drive(4)
    drawn = Viewer(graph.talker, "/spatial_memory/markers")
    assert drawn_places(graph, drawn, 4) == pytest.approx([0.0, 0.2, 0.4, 0.6])
    path = "copy"
    assert graph.call(SnapshotMemory, "snapshot", SnapshotMemory.Request(path=path)).success
    graph.close()

    graph = Graph(**settings)
    drawn = Viewer(graph.talker, "/spatial_memory/markers")
    assert drawn_places(graph, drawn, 4) == pytest.approx([0.0, 0.2, 0.4, 0.6])
    graph.call(QueryMemory, "query", QueryMemory.Request(query=at(0.2, k=2)))
    spin_until(lambda: drawn.points("retrieval"), graph.talker, graph.memory)
    request = TransformMemory.Request(frame_id="house")
    request.transform.translation.x, request.transform.rotation.w = 10.0, 1.0
    assert graph.call(TransformMemory, "transform", request).success
    assert drawn_places(graph, drawn, 4, "house") == pytest.approx([10.0, 10.2, 10.4, 10.6])
    assert not drawn.points("retrieval")
    assert graph.call(Trigger, "clear", Trigger.Request()).success
    assert drawn_places(graph, drawn, 0) == []
    spin_until(lambda: not drawn.markers, graph.talker, graph.memory)
    assert graph.call(RestoreMemory, "restore", RestoreMemory.Request(path=path)).success
    assert drawn_places(graph, drawn, 4) == pytest.approx([0.0, 0.2, 0.4, 0.6])
    spin_until(lambda: len(drawn.points("trail")) == 6, graph.talker, graph.memory)
    graph.close()


@pytest.mark.slow
def test_the_trail_is_coloured_by_error_and_unknown_is_grey(graph):
    drawn = Viewer(graph.talker, "/spatial_memory/markers")
    graph.drive(3)
    graph.errors.publish(judged(10**9 + STEP_NS, 0.0))
    graph.errors.publish(judged(10**9 + 2 * STEP_NS, 1.5))

    def colors() -> list[tuple[float, float, float]]:
        each = [color for marker in drawn.of("memories") for color in marker.colors]
        return [(round(color.r, 3), round(color.g, 3), round(color.b, 3)) for color in each]

    unknown, good, bad = (0.55, 0.55, 0.55), (0.2, 0.35, 0.85), (0.9, 0.2, 0.15)
    spin_until(lambda: colors() == [unknown, good, bad], graph.talker, graph.memory)


def test_spacing_and_marker_rate_are_followed_while_driving(graph):
    graph.drive(3)
    assert graph.counted("states_stored") == 3
    changed = [Parameter("store_distance_m", value=5.0), Parameter("store_time_s", value=60.0)]
    assert all(result.successful for result in graph.memory.set_parameters(changed))
    graph.drive(3, start_ns=10**9 + 3 * STEP_NS)
    # One that lies back at the start, 0.4 m from the last: none is stored.
    assert graph.counted("states_stored") == 3
    assert graph.memory.set_parameters([Parameter("marker_rate", value=0.0)])[0].successful
    assert graph.memory._drawing.timer.is_canceled()
    assert graph.memory.set_parameters([Parameter("marker_rate", value=10.0)])[0].successful
    assert not graph.memory._drawing.timer.is_canceled()
    assert not graph.memory.set_parameters([Parameter("db_path", value="/elsewhere")])[0].successful


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


@pytest.mark.parametrize(
    ("kind", "name", "parameter"),
    [(Trigger, "clear", "allow_destructive"), (DeleteMemory, "delete", "allow_destructive"),
     (RestoreMemory, "restore", "allow_restore")],
)  # fmt: skip
def test_what_loses_memories_is_off_unless_allowed(ros_context, tmp_path, kind, name, parameter):
    graph = Graph(allow_destructive=False, allow_restore=False, db_path=str(tmp_path / "m.sqlite3"))
    graph.drive(4)
    assert graph.call(SnapshotMemory, "snapshot", SnapshotMemory.Request(path="here")).success
    request = kind.Request(**({"session": "s"} if name == "delete" else {"path": "here"} if name == "restore" else {}))
    answer = graph.call(kind, name, request)
    assert not answer.success
    assert f"set the parameter {parameter} to true" in answer.message
    assert graph.call(MemoryStats, "stats", MemoryStats.Request()).memory_count == 4
    graph.close()


NO_NAMES = ["", ".", "..", "../up", "/etc/passwd", "~/x", "~nobody_here/x", "a/b", "a\x01b", "a\nb", ".hidden", "-x",
            "na me", "n" * 101, "n" * 5000, "n\u00e4me", "memory.sqlite3/", "\\x"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", NO_NAMES)
def test_peers_name_snapshots_and_no_paths(graph, tmp_path, name):
    graph.drive(2)
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    for kind, service in ((SnapshotMemory, "snapshot"), (RestoreMemory, "restore")):
        answer = graph.call(kind, service, kind.Request(path=name))
        assert not answer.success
        assert "is no name of a snapshot" in answer.message
        assert len(answer.message) < 500
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


def test_only_snapshots_are_replaced_and_only_files_are_read(graph, tmp_path):
    graph.drive(2)
    folder = tmp_path / "world_model" / "snapshots"
    assert graph.call(SnapshotMemory, "snapshot", SnapshotMemory.Request(path="mine")).success
    assert graph.call(SnapshotMemory, "snapshot", SnapshotMemory.Request(path="mine")).success
    (folder / "letter").write_text("dear")
    (folder / "folder").mkdir()
    (folder / "link").symlink_to(tmp_path / "target")
    for name in ("letter", "folder", "link"):
        answer = graph.call(SnapshotMemory, "snapshot", SnapshotMemory.Request(path=name))
        assert not answer.success
        assert "no snapshot" in answer.message
        assert str(tmp_path) not in answer.message
        assert not graph.call(RestoreMemory, "restore", RestoreMemory.Request(path=name)).success
    assert (folder / "letter").read_text() == "dear"
    assert not (tmp_path / "target").exists()


def test_snapshots_are_bounded(ros_context, tmp_path):
    graph = Graph(db_path=str(tmp_path / "m.sqlite3"), snapshot_limit=2)
    graph.drive(2)
    answers = [
        graph.call(SnapshotMemory, "snapshot", SnapshotMemory.Request(path=name)) for name in ("a", "b", "c", "a")
    ]
    assert [answer.success for answer in answers] == [True, True, False, True]
    assert "snapshot_limit is 2" in answers[2].message
    graph.close()


def undone(graph) -> str:
    answer = graph.call(Trigger, "undo", Trigger.Request())
    assert answer.success, answer.message
    return answer.message


@pytest.mark.slow
def test_undo_takes_back_the_last_change_and_keeps_what_came_since(ros_context, tmp_path):
    settings = {"db_path": str(tmp_path / "m.sqlite3")}
    graph = Graph(**settings)

    def count() -> int:
        return graph.call(MemoryStats, "stats", MemoryStats.Request()).memory_count

    def places() -> list[float]:
        answer = graph.call(QueryMemory, "query", QueryMemory.Request(query=at(0.0, k=50)))
        return sorted(round(record.position.x, 3) for record in answer.matches.records)

    graph.drive(4)
    assert not graph.call(Trigger, "undo", Trigger.Request()).success
    before = places()
    assert graph.call(Trigger, "clear", Trigger.Request()).success
    graph.drive(2, start_ns=10**11)
    assert undone(graph) == "took back the last clear: 4 memories"
    assert count() == 6
    assert not graph.call(Trigger, "undo", Trigger.Request()).success

    request = TransformMemory.Request()
    request.transform.translation.x, request.transform.rotation.w = 10.0, 1.0
    assert graph.call(TransformMemory, "transform", request).success
    graph.drive(1, start_ns=2 * 10**11)
    graph.close()
    graph = Graph(**settings)
    assert "transform" in undone(graph)
    assert places() == sorted([*before, 0.0, 0.2, 0.0])

    assert graph.call(SnapshotMemory, "snapshot", SnapshotMemory.Request(path="seven")).success
    assert graph.call(DeleteMemory, "delete", DeleteMemory.Request(ids=[1, 2])).deleted_count == 2
    assert not graph.call(DeleteMemory, "delete", DeleteMemory.Request()).success
    assert undone(graph) == "took back the last delete: 2 memories"
    assert count() == 7

    graph.drive(2, start_ns=3 * 10**11)
    assert graph.call(RestoreMemory, "restore", RestoreMemory.Request(path="seven")).memory_count == 7
    graph.drive(1, start_ns=4 * 10**11)
    assert undone(graph) == "took back the last restore: 10 memories"
    assert count() == 10
    graph.close()
    graph = Graph(**settings)
    assert count() == 10
    graph.close()


@pytest.mark.slow
def test_undo_of_a_move_to_another_frame_moves_back_what_came_since(ros_context, tmp_path):
    graph = Graph(db_path=str(tmp_path / "m.sqlite3"))
    graph.drive(2)
    request = TransformMemory.Request(frame_id="odom")
    request.transform.translation.x = 10.0
    turn = request.transform.rotation
    turn.x, turn.y, turn.z, turn.w = quaternion_of(np.pi / 2)
    assert graph.call(TransformMemory, "transform", request).success
    graph.states.publish(turned(state(10**11, 10.0), "odom"))
    spin_until(lambda: graph.counted("states_stored") == 3, graph.talker, graph.memory)
    undone(graph)
    assert graph.call(MemoryStats, "stats", MemoryStats.Request()).frame_id == "map"
    answer = graph.call(QueryMemory, "query", QueryMemory.Request(query=at(0.0, k=5)))
    assert sorted(round(record.position.x, 3) for record in answer.matches.records) == pytest.approx([0.0, 0.0, 0.2])
    assert {record.frame_id for record in answer.matches.records} == {"map"}
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


def test_the_same_key_stores_nothing_twice(ros_context, tmp_path):
    records = [MemoryRecord(encoder_id="e1", latent=floats([x, 0.0]), session="s") for x in (1.0, 2.0)]
    request = InsertMemory.Request(records=records, idempotence_key="robot 7, message 12")
    ids = []
    for _ in range(2):
        graph = Graph(db_path=str(tmp_path / "m.sqlite3"))
        for _ in range(2):
            answer = graph.call(InsertMemory, "insert", request)
            assert answer.success, answer.message
            ids.append(list(answer.ids))
        assert graph.call(MemoryStats, "stats", MemoryStats.Request()).memory_count == 2
        graph.close()
    assert ids == ids[:1] * 4
    graph = Graph(db_path=str(tmp_path / "m.sqlite3"))
    request.idempotence_key = "robot 7, message 13"
    assert not set(graph.call(InsertMemory, "insert", request).ids) & set(ids[0])
    for wrong in ({"idempotence_key": "k" * 201}, {"records": [MemoryRecord(id=5, encoder_id="e1", session="s")]}):
        for field, value in wrong.items():
            setattr(request, field, value)
        answer = graph.call(InsertMemory, "insert", request)
        assert not answer.success
        assert "idempotence key" in answer.message
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
