"""A latent publisher under test, and a robot in a participant of its own that sends it messages of any type."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped, TransformStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image, JointState, Joy
from std_msgs.msg import Float32MultiArray, Float64MultiArray

from wm_core.se3 import quaternion_of
from wm_interfaces.msg import LatentState
from wm_ros import image_to_msg, own_domain_id, pose_to_msg, qos, stamp_msg
from wm_testing.nodes import spin_until

_DEADLINE_S, _AGAIN_S = 20.0, 1.0
START_NS = 1_000_000_000_000_000_000
STEP_NS = 50_000_000
COVARIANCE = [0.0] * 36
COVARIANCE[0], COVARIANCE[7], COVARIANCE[35] = 0.04, 0.09, 0.01


class Robot:
    """A node under test, and a robot in a participant of its own: within one, a topic has one type.

    Args:
        node: A ``LatentPublisher``.
        has_camera: Whether it publishes images; not where the node listens to video.
    """

    def __init__(self, node: Any, has_camera: bool = True) -> None:
        """Start the robot, and wait until both hear each other."""
        self.node = node
        self.context = rclpy.Context()
        rclpy.init(args=[], context=self.context, domain_id=own_domain_id())
        self.peer = Node("robot", context=self.context)
        self.listener = Node("listener")
        self.states: list[LatentState] = []
        self.listener.create_subscription(LatentState, "/latent/state", self.states.append, qos.STREAM)
        if has_camera:
            self.images = self.publisher(Image, "/camera/image_raw")
        self.until(lambda: self.node._state_publisher.get_subscription_count() > 0)

    def until(self, predicate: Callable[[], bool]) -> None:
        """Spin until something holds."""
        spin_until(predicate, self.node, self.listener)

    def publisher(self, kind: type, topic: str, count: int = 1) -> Publisher[Any]:
        """Return a publisher of the robot's, once it has so many readers and the node knows of it."""
        publisher: Publisher[Any] = self.peer.create_publisher(kind, topic, 10)
        self.until(lambda: publisher.get_subscription_count() == count and self.node.count_publishers(topic) > 0)
        return publisher

    def deliver(self, publisher: Publisher[Any], *messages: Any, counter: str) -> None:
        """Publish messages, all again where one was lost: a best-effort reader may learn of its writer late."""
        wanted, ends = self.counted(counter) + len(messages), monotonic() + _DEADLINE_S
        while self.counted(counter) < wanted:
            assert monotonic() < ends, f"{counter} stays at {self.counted(counter)}, expected {wanted}"
            for message in messages:
                publisher.publish(message)
            again = monotonic() + _AGAIN_S
            self.until(lambda again=again: self.counted(counter) >= wanted or monotonic() > again)  # type: ignore[misc]

    def frame(self, ns: int) -> None:
        """Send a grey picture."""
        msg = image_to_msg(np.full((4, 6, 3), 9, np.uint8), stamp_msg(ns), "camera")
        self.deliver(self.images, msg, counter="frames_received")

    def counted(self, name: str) -> int:
        """Return one of the node's counters."""
        return int(self.node._health.counted(name))

    def status(self) -> dict[str, str]:
        """Return what the node tells of itself."""
        return {item.key: item.value for item in self.node._health.status().values}

    def close(self) -> None:
        """End both."""
        self.node.destroy_node()
        self.listener.destroy_node()
        self.peer.destroy_node()
        rclpy.shutdown(context=self.context)


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
    if kind in (Float32MultiArray, Float64MultiArray):
        msg.data = list(values)
    elif kind is Joy:
        msg.axes = list(values)
    elif kind is JointState:
        msg.name, msg.position, msg.velocity = ["left", "right"], [9.0, 9.0], list(values)
    else:
        twist = getattr(msg, "twist", msg)
        twist.linear.x, twist.angular.z = values
    return msg
