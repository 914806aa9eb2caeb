"""What nobody should publish: dropped and named, and the recording goes on."""

from __future__ import annotations

import random
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Point, PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid, Path
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from visualization_msgs.msg import Marker, MarkerArray

from wm_core.errors import MessageError
from wm_interfaces.msg import LatentPrediction, PredictionError
from wm_ros import qos
from wm_testing.hostile import hostile
from wm_testing.nodes import ros_context, spin_until
from wm_view.recorder import messages
from wm_view.recorder.node import ViewRecorder

__all__ = ["ros_context"]

USUAL = {"w": 1.0, "frame_id": "map", "type": Marker.LINE_LIST, "resolution": 0.05}
TOPICS = {
    "/latent/pose": (PoseWithCovarianceStamped, qos.STREAM),
    "/latent_next/state": (LatentPrediction, qos.STREAM),
    "/prediction_error": (PredictionError, qos.STREAM),
    "/planned_path": (Path, qos.STREAM),
    "/imagination/image": (Image, qos.STREAM),
    "/spatial_memory/markers": (MarkerArray, qos.DRAWN),
    "/latent_planner/field": (OccupancyGrid, qos.LATCHED),
    "/diagnostics": (DiagnosticArray, qos.STREAM),
}


@pytest.mark.slow
def test_whatever_is_said_is_recorded_or_dropped_by_name(ros_context, tmp_path):
    pytest.importorskip("mcap")
    pytest.importorskip("mcap_protobuf")
    rng, node = random.Random(2), Node("talker")
    recorder = ViewRecorder(parameter_overrides=[Parameter("path", value=str(tmp_path / "view.mcap"))])
    publishers = {name: node.create_publisher(kind, name, of) for name, (kind, of) in TOPICS.items()}
    spin_until(lambda: all(each.get_subscription_count() for each in publishers.values()), node, recorder)
    for _ in range(80):
        name = rng.choice(list(TOPICS))
        publishers[name].publish(hostile(TOPICS[name][0], rng, USUAL, rng.choice([0.05, 0.2, 0.6])))
        turns = iter(range(2))
        spin_until(lambda turns=turns: next(turns, None) is None, node, recorder)
        assert recorder._health.counted("faults") == 0, name
    poses = recorder._health.counted("poses")
    pose = PoseWithCovarianceStamped()
    pose.header.stamp.sec, pose.pose.pose.orientation.w = 5, 1.0
    publishers["/latent/pose"].publish(pose)
    spin_until(lambda: recorder._health.counted("poses") > poses, node, recorder)
    assert recorder._health.counted("faults") == 0
    recorder.destroy_node()
    node.destroy_node()


def grid(height: int, width: int, count: int, resolution: float = 0.05) -> OccupancyGrid:
    msg = OccupancyGrid()
    msg.info.height, msg.info.width, msg.info.resolution = height, width, resolution
    msg.info.origin.orientation.w = 1.0
    msg.data = [0] * count
    return msg


def path(count: int, x: float) -> Path:
    one = PoseStamped()
    one.pose.position.x = x
    return Path(poses=[one] * count)


@pytest.mark.parametrize(
    ("read", "msg", "reason"),
    [
        (messages.costs_from_msg, grid(3, 4, 5), "grid"),
        (messages.costs_from_msg, grid(2**31, 2**31, 4), "grid"),
        (messages.costs_from_msg, grid(2, 2, 4, float("nan")), "grid"),
        (messages.path_from_msg, path(200_001, 0.0), "too-many-points"),
        (messages.path_from_msg, path(2, float("nan")), "point-too-far"),
        (messages.path_from_msg, path(2, 1e20), "point-too-far"),
        (messages.placed_from_msg, PoseWithCovarianceStamped(), ""),
    ],
)
def test_what_cannot_be_is_refused_by_name(read: Any, msg: Any, reason: str):
    if not reason:
        msg.pose.covariance[0] = float("inf")
        reason = "pose-std"
    with pytest.raises(MessageError) as refused:
        read(msg)
    assert refused.value.reason == reason


def test_markers_are_bounded_in_number():
    follower = messages.Markers()

    def some(begin: int) -> MarkerArray:
        kind = Marker.POINTS
        return MarkerArray(markers=[Marker(id=begin + at, type=kind, points=[Point()]) for at in range(6000)])

    follower.taken(some(0))
    with pytest.raises(MessageError, match="10000 markers"):
        follower.taken(some(6000))
    assert len(follower.shown) == 6000
