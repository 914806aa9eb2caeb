"""The frame broadcaster in process; tf has no wheel: test_inputs_without_wheels.py builds it and runs this as well."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from rclpy.node import Node
from rclpy.parameter import Parameter

from wm_core.se3 import quaternion_of
from wm_ros import ConfigurationError, message_class, pose_to_msg, qos, stamp_msg
from wm_testing.nodes import ros_context, spin_until
from wm_view.node import FrameBroadcaster

__all__ = ["ros_context"]

HAS_TF = find_spec("tf2_msgs") is not None
needs_tf = pytest.mark.skipif(not HAS_TF, reason="tf2_msgs is not installed")


class Frames:
    """The node under test, and a peer that sends poses and hears tf."""

    def __init__(self, **params: object) -> None:
        overrides = [Parameter(name, value=value) for name, value in params.items()]
        self.node, self.peer = FrameBroadcaster(parameter_overrides=overrides), Node("peer")
        kind = message_class("tf2_msgs/msg/TFMessage", "the test")
        self.kind = kind
        self.moving: list[TransformStamped] = []
        self.still: list[list[TransformStamped]] = []
        self.peer.create_subscription(kind, "/tf", lambda msg: self.moving.extend(msg.transforms), qos.TF)
        self.peer.create_subscription(kind, "/tf_static", lambda msg: self.still.append(msg.transforms), qos.TF_STATIC)
        self.poses = self.peer.create_publisher(PoseWithCovarianceStamped, "latent/pose", qos.STREAM)
        self.others = self.peer.create_publisher(kind, "/tf", qos.TF)
        self.until(lambda: self.poses.get_subscription_count() and self.others.get_subscription_count() == 2)
        self.until(lambda: self.node._moving.get_subscription_count() == 2)

    def told(self) -> list[tuple[str, str]]:
        """Returns (parent, child) of the last message of what does not move; nothing before one came."""
        return [(each.header.frame_id, each.child_frame_id) for each in (self.still or [[]])[-1]]

    def until(self, condition) -> None:
        spin_until(condition, self.node, self.peer)

    def pose(self, number: int, frame_id: str, x: float = 1.0) -> list[tuple[str, str, float]]:
        """Sends a pose; returns (parent, child, x) of what is published with its stamp."""
        msg = PoseWithCovarianceStamped()
        msg.header.stamp, msg.header.frame_id = stamp_msg(number), frame_id
        msg.pose.pose = pose_to_msg((x, 2.0, 0.0), quaternion_of(0.3))
        count = self.node._health.counted("poses_received")
        self.poses.publish(msg)
        self.until(lambda: self.node._health.counted("poses_received") == count + 1)
        self.until(lambda: any(each.header.stamp == msg.header.stamp for each in self.moving) or not frame_id)
        mine = [each for each in self.moving if each.header.stamp == msg.header.stamp]
        return [(each.header.frame_id, each.child_frame_id, each.transform.translation.x) for each in mine]

    def close(self) -> None:
        self.node.destroy_node()
        self.peer.destroy_node()


@pytest.fixture
def make_frames(ros_context):
    made = []

    def make(**params: object) -> Frames:
        made.append(Frames(**params))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.skipif(HAS_TF, reason="tf2_msgs is installed")
def test_without_tf2_msgs_it_refuses_by_name(ros_context):
    with pytest.raises(ConfigurationError, match="tf2_msgs"):
        FrameBroadcaster()


@needs_tf
def test_the_robot_has_a_frame_and_the_fixed_one_exists_from_the_start(make_frames):
    frames = make_frames()
    frames.until(lambda: bool(frames.still))
    assert frames.told() == [("map", "wm_robot_origin")]
    assert frames.still[0][0].transform.rotation.w == 1.0
    assert frames.pose(1, "map", 1.5) == [("map", "wm_robot", 1.5)]


@needs_tf
def test_poses_in_odom_are_shown_as_if_it_were_the_map_until_somebody_says_better(make_frames):
    frames = make_frames(patience_s=0.0, robot_frame="r1/wm_robot")
    assert frames.pose(1, "odom") == [("odom", "r1/wm_robot", 1.0)]
    frames.until(lambda: frames.told() == [("map", "r1/wm_robot_origin"), ("map", "odom")])
    assert frames.pose(2, "odom") == [("odom", "r1/wm_robot", 1.0)]
    told = TransformStamped(child_frame_id="odom")
    told.header.frame_id, told.transform.translation.x, told.transform.rotation.w = "map", 7.0, 1.0
    frames.others.publish(frames.kind(transforms=[told]))
    frames.until(lambda: any(each.transform.translation.x == 7.0 for each in frames.moving))
    frames.until(lambda: frames.node._links._parents.get("odom") == "map")
    assert frames.pose(3, "odom") == [("odom", "r1/wm_robot", 1.0)]
    frames.until(lambda: frames.told() == [("map", "r1/wm_robot_origin")])


@needs_tf
def test_nothing_is_tied_where_that_is_not_wanted(make_frames):
    frames = make_frames(patience_s=0.0, tie=False)
    frames.until(lambda: frames.still)
    for number in (1, 2):
        assert frames.pose(number, "odom") == [("odom", "wm_robot", 1.0)]
    assert frames.told() == [("map", "wm_robot_origin")]


@needs_tf
def test_impossible_poses_are_dropped_by_name(make_frames):
    frames = make_frames()
    frames.pose(1, "")
    assert frames.node._health.counted("dropped/no-frame") == 1
    assert not frames.moving
