"""An input whose topic turns out to carry another type is heard, in the executor that nodes run in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from time import monotonic, sleep

import pytest
import rclpy
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.node import Node
from rclpy.utilities import get_default_context
from sensor_msgs.msg import CompressedImage

from wm_ros import CameraSubscription, Health, PoseInput, qos
from wm_ros.lean_executor import LeanExecutor
from wm_testing.nodes import ros_context  # noqa: F401

pytestmark = pytest.mark.skipif(not LeanExecutor.is_supported(), reason="this rclpy lacks what the executor builds on")


@pytest.fixture
def elsewhere(ros_context) -> Iterator[Node]:  # noqa: F811
    """A node of another process, as far as the middleware knows."""
    context = Context()
    rclpy.init(context=context, domain_id=get_default_context().get_domain_id())
    node = rclpy.create_node("elsewhere", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def served(node: Node, until) -> bool:
    """Serves a node until something is true; returns whether it became so."""
    executor = LeanExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    end = monotonic() + 20.0
    while not until() and monotonic() < end:
        sleep(0.02)
    executor.shutdown()
    thread.join(5.0)
    return bool(until())


def test_odometry_is_heard_on_the_pose_topic(elsewhere):
    publisher = elsewhere.create_publisher(Odometry, "pose", qos.INPUT)
    msg = Odometry()
    msg.pose.pose.orientation.w = 1.0
    node, heard = rclpy.create_node("hears"), []
    PoseInput(node, Health(node), "auto", "", "", heard.append)

    def is_heard() -> bool:
        publisher.publish(msg)
        return bool(heard)

    assert served(node, is_heard)
    node.destroy_node()


def test_compressed_pictures_are_heard_on_the_cameras_own_topic_beside_another_listener(elsewhere):
    publisher = elsewhere.create_publisher(CompressedImage, "camera/image_raw", qos.SENSOR)
    node, heard, too = rclpy.create_node("hears"), [], []
    CameraSubscription(node, "camera/image_raw", heard.append)
    CameraSubscription(node, "camera/image_raw", too.append)

    def is_heard() -> bool:
        publisher.publish(CompressedImage(format="jpeg"))
        return bool(heard and too)

    assert served(node, is_heard)
    node.destroy_node()


def test_a_type_that_the_process_keeps_for_something_else_is_named(elsewhere):
    elsewhere.create_publisher(Odometry, "pose", qos.INPUT)
    node = rclpy.create_node("hears")
    node.create_subscription(PoseStamped, "pose", lambda _: None, qos.INPUT)
    health = Health(node)
    PoseInput(node, health, "auto", "", "", lambda _: None)

    assert served(node, lambda: any("cannot listen to nav_msgs/msg/Odometry" in text for text in modes(health)))
    node.destroy_node()


def modes(health: Health) -> list[str]:
    return [str(text) for text in health._degraded.values()]
