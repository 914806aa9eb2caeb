"""A latent publisher under test, and a robot in a participant of its own that sends it messages of any type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped, TransformStamped
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image, JointState, Joy
from std_msgs.msg import Float32MultiArray

from latent_publisher.encoder import Encoder
from latent_publisher.node import LatentPublisher
from wm_core.se3 import quaternion_of
from wm_interfaces.msg import LatentState
from wm_ros import image_to_msg, own_domain_id, pose_to_msg, qos, stamp_msg
from wm_testing.nodes import spin_until

START_NS = 1_000_000_000_000_000_000
STEP_NS = 50_000_000
COVARIANCE = [0.0] * 36
COVARIANCE[0], COVARIANCE[7], COVARIANCE[35] = 0.04, 0.09, 0.01


class Grey:
    """Stands for an encoder: the latent is the mean colour [3]."""

    encoder_id, z_dim, action_dim, step_s, wants_depth, proprioception_dim = "grey", 3, 2, 0.05, False, 0
    horizons_s, top_k = (0.05, 1.0), 7

    def encode(self, image_HW3: np.ndarray, depth_HW: Any = None, proprioception_P: Any = None) -> np.ndarray:
        """Return the mean colour [3]."""
        return np.asarray(image_HW3.mean((0, 1)), np.float32)


class Robot:
    """A node under test, and a robot in a participant of its own: within one, a topic has one type.

    Args:
        given: Parameters of the node.
    """

    def __init__(self, **given: Any) -> None:
        """Start both, and wait until they hear each other."""
        given = {"pose_wait_s": 1.0, **given}
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        self.node = LatentPublisher(cast(Encoder, Grey()), parameter_overrides=overrides)
        self.context = rclpy.Context()
        rclpy.init(args=[], context=self.context, domain_id=own_domain_id())
        self.peer = Node("robot", context=self.context)
        self.listener = Node("listener")
        self.states: list[LatentState] = []
        self.listener.create_subscription(LatentState, "/latent/state", self.states.append, qos.STREAM)
        self.images = self.peer.create_publisher(Image, "/camera/image_raw", 10)
        self.until(
            lambda: min(self.images.get_subscription_count(), self.node._state_publisher.get_subscription_count()) > 0
        )

    def until(self, predicate: Callable[[], bool]) -> None:
        """Spin until something holds."""
        spin_until(predicate, self.node, self.listener)

    def publisher(self, kind: type, topic: str, count: int = 1) -> Publisher[Any]:
        """Return a publisher of the robot's, once it has so many readers."""
        publisher: Publisher[Any] = self.peer.create_publisher(kind, topic, 10)
        self.until(lambda: publisher.get_subscription_count() == count)
        return publisher

    def frame(self, ns: int) -> None:
        """Send a grey picture."""
        self.images.publish(image_to_msg(np.full((4, 6, 3), 9, np.uint8), stamp_msg(ns), "camera"))

    def counted(self, name: str) -> int:
        """Return one of the node's counters."""
        return self.node._health.counted(name)

    def status(self) -> dict[str, str]:
        """Return what the node tells of itself."""
        return {item.key: item.value for item in self.node._health.status().values}

    def close(self) -> None:
        """End both."""
        self.node.destroy_node()
        self.listener.destroy_node()
        self.peer.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def make_robot(ros_context: None) -> Iterator[Callable[..., Robot]]:
    """Makes robots that end with the test; needs the fixture ``ros_context`` beside it."""
    robots: list[Robot] = []

    def make(**given: Any) -> Robot:
        robots.append(Robot(**given))
        return robots[-1]

    yield make
    for robot in robots:
        robot.close()


def posed(kind: type, ns: int, x: float, yaw: float) -> Any:
    """Return a message of any pose type at (x, 2, 0.5) in the map."""
    msg, pose = kind(), pose_to_msg((x, 2.0, 0.5), quaternion_of(yaw))
    msg.header.stamp, msg.header.frame_id = stamp_msg(ns), "map"
    if kind is TransformStamped:
        shift = msg.transform.translation
        shift.x, shift.y, shift.z = x, 2.0, 0.5
        msg.transform.rotation = pose.orientation
    elif kind is PoseStamped:
        msg.pose = pose
    else:
        msg.pose.pose, msg.pose.covariance = pose, COVARIANCE
    return msg


def acted(kind: type, ns: int, values: tuple[float, float]) -> Any:
    """Return a message of any action type with two values."""
    msg = kind()
    if hasattr(msg, "header"):
        msg.header.stamp = stamp_msg(ns)
    if kind is Float32MultiArray:
        msg.data = list(values)
    elif kind is Joy:
        msg.axes = list(values)
    elif kind is JointState:
        msg.name, msg.position, msg.velocity = ["left", "right"], [9.0, 9.0], list(values)
    else:
        twist = getattr(msg, "twist", msg)
        twist.linear.x, twist.angular.z = values
    return msg
