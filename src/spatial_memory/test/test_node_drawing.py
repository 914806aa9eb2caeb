"""The node in process: what viewers are shown."""

from __future__ import annotations

import pytest
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker

from wm_interfaces.msg import PredictionError
from wm_interfaces.srv import (
    MemoryStats,
    QueryMemory,
    RestoreMemory,
    SnapshotMemory,
    TransformMemory,
)
from wm_ros import qos, stamp_msg
from wm_testing.nodes import ros_context, spin_until
from wm_testing.viewer import Viewer

from .node_graph import STEP_NS, Graph, at, graph

__all__ = ["graph", "ros_context"]


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


@pytest.mark.parametrize("rate_hz", [5e-324, 1e-300, 0.0, 20.0])
def test_any_rate_that_a_parameter_allows_can_be_set_while_it_runs(graph, rate_hz):
    (result,) = graph.memory.set_parameters([Parameter("marker_rate", value=rate_hz)])
    assert result.successful
    timer = graph.memory._drawing.timer
    assert timer.is_canceled() if rate_hz == 0.0 else timer.timer_period_ns >= 50_000_000
