"""Two of a kind are named: nodes of one name, publishers of one topic, servers of one service."""

from __future__ import annotations

import pytest
from rclpy.node import Node
from std_srvs.srv import Trigger

from wm_interfaces.msg import LatentState
from wm_interfaces.srv import MemoryWindow
from wm_ros import Health, qos
from wm_ros.duplicates import duplicates_of
from wm_ros.saying import MOST_CHARACTERS
from wm_testing.nodes import ros_context, spin_until

__all__ = ["ros_context"]


def made(name: str, *, serves: bool = False, **options: object) -> Node:
    node = Node(name, **options)
    node.create_publisher(LatentState, "/latent/state", qos.STREAM)
    if serves:
        node.create_service(Trigger, "/spatial_memory/clear", lambda _, response: response)
    return node


def test_one_of_each_is_nothing_to_say(ros_context):
    first = made("a", serves=True)
    hears = Node("b")
    hears.create_subscription(LatentState, "/latent/state", lambda _: None, qos.STREAM)
    spin_until(lambda: len(first.get_node_names()) >= 2, first, hears)
    assert duplicates_of(first) is None
    assert duplicates_of(hears) is None


def test_two_of_each_are_named_by_who_publishes_and_by_who_hears(ros_context):
    first, second, hears = made("a", serves=True), made("b", serves=True), Node("c")
    hears.create_subscription(LatentState, "/latent/state", lambda _: None, qos.STREAM)
    spin_until(lambda: "answer" in (duplicates_of(first) or ""), first, second, hears)
    said = duplicates_of(first)
    assert "/latent/state has 2 publishers: /a, /b" in said
    assert "2 nodes answer /spatial_memory/clear: /a, /b" in said
    spin_until(lambda: duplicates_of(hears) == "/latent/state has 2 publishers: /a, /b", first, second, hears)


def test_however_much_is_there_twice_it_is_one_short_line(ros_context):
    first, second = (Node("n" * 60, namespace="s" * 60, start_parameter_services=False) for _ in range(2))
    for each in (first, second):
        for number in range(8):
            each.create_publisher(LatentState, f"topic_{number}_{'t' * 60}", qos.STREAM)
    spin_until(lambda: "more" in (duplicates_of(first) or ""), first, second)
    said = duplicates_of(first)
    assert said.startswith("2 nodes are called /sss")
    assert len(said) <= MOST_CHARACTERS
    first.destroy_node()
    second.destroy_node()


@pytest.mark.slow
def test_two_graphs_are_named_in_diagnostics_and_forgotten_when_one_goes(ros_context):
    first, second = made("same"), made("same", start_parameter_services=False)
    health = Health(first, period_s=0.1)
    spin_until(lambda: "2 nodes are called /same" in health.status().message, first, second)
    second.destroy_node()
    spin_until(lambda: "nodes are called" not in health.status().message, first)
    first.destroy_node()


def test_who_asks_is_told_of_two_that_answer(ros_context):
    first, second, asks = Node("same"), Node("same", start_parameter_services=False), Node("asks")
    for each in (first, second):
        each.create_service(MemoryWindow, "/spatial_memory/window", lambda _, response: response)
    asks.create_client(MemoryWindow, "/spatial_memory/window")
    asks.create_client(Trigger, "/somebody/elses")
    said = "2 nodes answer /spatial_memory/window: /same, /same; whose answer comes is chance"
    spin_until(lambda: duplicates_of(asks) == said, first, second, asks)
    second.destroy_node()
    spin_until(lambda: duplicates_of(asks) is None, first, asks)
    first.destroy_node()
    asks.destroy_node()
