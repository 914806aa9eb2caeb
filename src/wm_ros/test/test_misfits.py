"""Peers that the middleware does not connect with a node are named, and why, for as long as they are there."""

from __future__ import annotations

import pytest
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Float32

from wm_ros import ManagedNode, ManagedParams, qos
from wm_ros.misfits import PublisherEventCallbacks, SubscriptionEventCallbacks
from wm_testing.nodes import ros_context, spin_until

__all__ = ["ros_context"]

# rclpy's own callbacks warn by a deprecated name.
QUIET = SubscriptionEventCallbacks(use_default_callbacks=False)
QUIET_PUBLISHER = PublisherEventCallbacks(use_default_callbacks=False)


class Relay(ManagedNode[ManagedParams]):
    """Hears and sends reliably, and keeps nothing for those who come late."""

    def __init__(self) -> None:
        super().__init__("relay", ManagedParams)
        self.heard: list[float] = []
        self.start()

    def configure(self) -> None:
        self.create_publisher(Float32, "out", qos.STREAM)

    def activate(self) -> None:
        self.create_subscription(Float32, topic="in", callback=self.on_number, qos_profile=qos.STREAM)

    def on_number(self, msg: Float32) -> None:
        self.heard.append(msg.data)


@pytest.fixture
def relay(ros_context):
    node = Relay()
    yield node
    node.destroy_node()


def said(relay: Relay) -> str:
    return relay._health.status().message


def profile(**changes: object) -> QoSProfile:
    return QoSProfile(**{"depth": 10, "reliability": ReliabilityPolicy.RELIABLE, **changes})


def test_who_cannot_be_heard_is_named_until_it_goes(relay):
    camera = Node("camera")
    camera.create_publisher(
        Float32, "in", profile(reliability=ReliabilityPolicy.BEST_EFFORT), event_callbacks=QUIET_PUBLISHER
    )
    text = "nothing is heard of /camera, which publishes /in: Best effort publisher and reliable subscription"
    spin_until(lambda: text in said(relay), relay, camera)
    fits = Node("fits")
    sends = fits.create_publisher(Float32, "in", profile(durability=DurabilityPolicy.TRANSIENT_LOCAL))
    spin_until(lambda: sends.get_subscription_count() == 1, relay, fits)
    sends.publish(Float32(data=1.0))
    spin_until(lambda: relay.heard == [1.0], relay, fits)
    assert "/fits" not in said(relay)
    camera.destroy_node()
    spin_until(lambda: "nothing is heard" not in said(relay), relay)
    fits.destroy_node()


def test_who_cannot_hear_is_named_until_it_goes(relay):
    view = Node("view")
    heard = view.create_subscription(
        Float32, "out", lambda _: None, profile(durability=DurabilityPolicy.TRANSIENT_LOCAL), event_callbacks=QUIET
    )
    spin_until(lambda: "nothing is sent to /view, which hears /out" in said(relay), relay, view)
    view.destroy_subscription(heard)
    spin_until(lambda: "nothing is sent" not in said(relay), relay)
    view.destroy_node()


def test_however_many_there_are_some_are_named_and_the_others_counted(relay):
    views = [Node(f"view_{number}") for number in range(5)]
    late = profile(durability=DurabilityPolicy.TRANSIENT_LOCAL)
    for view in views:
        view.create_subscription(Float32, "out", lambda _: None, late, event_callbacks=QUIET)
    spin_until(lambda: "and 2 more" in said(relay), relay, *views)
    for view in views:
        view.destroy_node()
