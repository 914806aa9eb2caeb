"""The recorder in process: what is said on each topic is in the file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point, PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid
from nav_msgs.msg import Path as PathMsg
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from wm_core.drawing import Shape
from wm_core.errors import FrameError
from wm_interfaces.msg import LatentForecast, LatentPrediction, PredictionError
from wm_ros import ConfigurationError, image_to_msg, qos, stamp_msg
from wm_ros.foresight import covariance_of
from wm_ros.markers import all_erased, erasure, marker_of
from wm_testing.nodes import ros_context, spin_until
from wm_view.recorder import messages
from wm_view.recorder.node import ViewRecorder

__all__ = ["ros_context"]

BEGIN_NS = 1_700_000_000_000_000_000
SHAPES = [
    Shape("trail", at, "lines", np.arange(6.0).reshape(2, 3), (1.0, 0.5, 0.0, 1.0), 0.25, np.full((2, 4), 0.5))
    for at in range(3)
]


def drawn(*markers: Marker) -> MarkerArray:
    return MarkerArray(markers=list(markers))


def test_markers_come_back_as_the_shapes_that_they_were():
    follower = messages.Markers()
    changed, gone, frame_id = follower.taken(drawn(*(marker_of(shape, "odom") for shape in SHAPES)))
    assert frame_id == "odom"
    assert gone == []
    assert all(mine.is_as(shape) for mine, shape in zip(changed, SHAPES, strict=True))
    assert follower.taken(drawn(erasure("trail", 1)))[1] == [("trail", 1)]
    changed, gone, _ = follower.taken(drawn(all_erased(), marker_of(SHAPES[2], "odom")))
    assert ([shape.key for shape in changed], gone) == ([("trail", 2)], [("trail", 0)])
    assert follower.shown == {("trail", 2)}


def test_a_strip_becomes_lines():
    strip = Marker(ns="s", type=Marker.LINE_STRIP, points=[Point(x=float(x)) for x in range(3)])
    strip.colors = [ColorRGBA(r=float(x)) for x in range(3)]
    ((shape,), _, _) = messages.Markers().taken(drawn(strip))
    assert shape.kind == "lines"
    assert shape.point_N3[:, 0].tolist() == [0, 1, 1, 2]
    assert shape.color_N4 is not None
    assert shape.color_N4[:, 0].tolist() == [0, 1, 1, 2]


def test_pictures_are_paced_by_their_stamps():
    paced = messages.Paced(2.0)
    assert [paced.lets(at * 100_000_000) for at in range(11)] == [at % 5 == 0 for at in range(11)]
    assert paced.lets(0)


def test_pictures_are_narrowed_and_never_widened():
    image_HWC = np.zeros((40, 100, 3), np.uint8)
    image_HWC[..., 0] = 200
    shape = {width: cv2.imdecode(np.frombuffer(messages.jpeg_of(image_HWC, width, 90), np.uint8), 1).shape
             for width in (50, 200)}  # fmt: skip
    assert shape == {50: (20, 50, 3), 200: (40, 100, 3)}
    red = cv2.imdecode(np.frombuffer(messages.jpeg_of(image_HWC, 50, 90), np.uint8), 1)[0, 0]
    assert red[2] > 150 > 50 > red[0]
    with pytest.raises((FrameError, cv2.error)):
        messages.jpeg_of(np.zeros((0, 0, 3), np.uint8), 50, 90)


def test_costs_keep_their_origin_and_what_is_unknown():
    msg = OccupancyGrid()
    msg.info.width, msg.info.height, msg.info.resolution = 3, 2, 0.05
    msg.info.origin.position.x, msg.info.origin.orientation.w = 1.5, 1.0
    msg.data = [0, 50, 100, -1, 10, 20]
    grid = messages.costs_from_msg(msg)
    assert grid.cost_HW.tolist() == [[0, 50, 100], [255, 10, 20]]
    assert (grid.cell_m, grid.origin.position[0]) == (pytest.approx(0.05), 1.5)


def test_an_unknown_kind_of_recording_is_refused(ros_context, tmp_path: Path):
    with pytest.raises(ConfigurationError, match="path: recording"):
        ViewRecorder(parameter_overrides=[Parameter("path", value=str(tmp_path / "view.avi"))])


def stamped(msg, at: int, frame_id: str = "odom"):
    msg.header.stamp, msg.header.frame_id = stamp_msg(BEGIN_NS + at * 10**9), frame_id
    return msg


def path_msg() -> PathMsg:
    msg = stamped(PathMsg(), 0)
    msg.poses = [PoseStamped(), PoseStamped()]
    msg.poses[1].pose.position.x = 2.0
    return msg


def pose_msg(at: int) -> PoseWithCovarianceStamped:
    msg = stamped(PoseWithCovarianceStamped(), at)
    msg.pose.pose.orientation.w, msg.pose.covariance = 1.0, covariance_of([0.1, 0.2])
    return msg


def test_what_is_said_is_in_the_file(ros_context, tmp_path: Path):
    pytest.importorskip("mcap", reason="mcap is not installed")
    decoding = pytest.importorskip("mcap_protobuf.decoder", reason="mcap-protobuf-support is not installed")
    from mcap.reader import make_reader

    path = tmp_path / "view.mcap"
    node = ViewRecorder(parameter_overrides=[Parameter("path", value=str(path))])
    peer = Node("peer")
    field = stamped(OccupancyGrid(), 0)
    field.info.width = field.info.height = 1
    field.info.resolution, field.info.origin.orientation.w, field.data = 0.05, 1.0, [7]
    held = DiagnosticStatus(name="spatial_memory", values=[KeyValue(key="memory_count", value="42")])
    error = stamped(PredictionError(horizon_s=1.0, error=0.5, error_without_memory=0.75), 1, "camera")
    picture = image_to_msg(np.zeros((4, 6, 3), np.uint8), stamp_msg(BEGIN_NS + 10**9), "camera")
    far = LatentForecast(horizon_s=1.0, memory_ids=[1, 2, 3], gate=0.5)
    said = [
        (LatentPrediction, "latent_next/state", qos.STREAM, stamped(LatentPrediction(forecasts=[far]), 1, "camera")),
        (PoseWithCovarianceStamped, "latent/pose", qos.STREAM, pose_msg(0)),
        (PoseWithCovarianceStamped, "latent_next/pose", qos.STREAM, pose_msg(0)),
        (PathMsg, "planned_path", qos.STREAM, path_msg()),
        (PathMsg, "latent_planner/route", qos.LATCHED, path_msg()),
        (OccupancyGrid, "latent_planner/field", qos.LATCHED, field),
        (MarkerArray, "spatial_memory/markers", qos.DRAWN, drawn(marker_of(SHAPES[0], "odom"))),
        (PredictionError, "prediction_error", qos.STREAM, error),
        (DiagnosticArray, "/diagnostics", qos.STREAM, DiagnosticArray(status=[held])),
        (Image, "camera/image_raw", qos.SENSOR, picture),
        (Image, "imagination/image", qos.STREAM, picture),
    ]  # fmt: skip
    speakers = [peer.create_publisher(kind, topic, profile) for kind, topic, profile, _ in said]
    spin_until(lambda: all(each.get_subscription_count() for each in speakers), node, peer)
    for number, (speaker, (*_, msg)) in enumerate(zip(speakers, said, strict=True)):
        topics: dict[str, int] = node._sink._channels
        before = dict(topics)
        speaker.publish(msg)
        if number != 8:  # the nodes' own reports come on that topic as well
            spin_until(lambda before=before, topics=topics: len(topics) > len(before), node, peer)
    spin_until(lambda: node._health.counted("pictures_imagination") == 1, node, peer)
    node.destroy_node()
    peer.destroy_node()
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[decoding.DecoderFactory()])
        topics = {channel.topic for _, channel, _ in reader.iter_messages()}
    assert topics == {
        "/camera", "/imagination", "/tf", "/scene/robot", "/scene/expected", "/scene/planned", "/scene/route",
        "/scene/memory", "/field", "/error", "/memory",
    }  # fmt: skip


def test_of_two_robots_in_one_domain_its_own_memory_is_recorded(ros_context, tmp_path: Path, monkeypatch):
    pytest.importorskip("mcap", reason="mcap is not installed")
    node = ViewRecorder(namespace="robot1", parameter_overrides=[Parameter("path", value=str(tmp_path / "view.mcap"))])
    recorded: list[dict[str, float]] = []
    monkeypatch.setattr(node._sink, "numbers", lambda name, stamp_ns, values: recorded.append(values))
    node._newest_ns = BEGIN_NS
    counts = {"robot1/spatial_memory": "42", "robot2/spatial_memory": "7", "spatial_memory": "9"}
    node._on_diagnostics(
        DiagnosticArray(
            status=[
                DiagnosticStatus(name=name, values=[KeyValue(key="memory_count", value=count)])
                for name, count in counts.items()
            ]
        )
    )
    node.destroy_node()
    assert recorded == [{"held": 42.0}]
