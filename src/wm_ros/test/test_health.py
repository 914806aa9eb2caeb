"""Health: what is counted is what is published."""

from __future__ import annotations

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

from wm_ros import Health
from wm_testing.nodes import ros_context, spin_until  # noqa: F401


@pytest.fixture
def node(ros_context):  # noqa: F811
    node = Node("tested")
    yield node
    node.destroy_node()


def values(status: DiagnosticStatus) -> dict[str, str]:
    return {item.key: item.value for item in status.values}


def test_counts_rates_samples_and_gauges(node):
    health = Health(node)
    health.count("frames_received", 3)
    health.gauge("executor", "single")
    for value in range(101):
        health.sample("query_ms", float(value))
    health.tick("latent")
    status = health.status()
    assert status.level == DiagnosticStatus.OK
    found = values(status)
    assert found["frames_received"] == "3"
    assert found["executor"] == "single"
    assert float(found["query_ms/p50"]) == 50.0
    assert float(found["query_ms/p99"]) == 99.0
    assert found["latent_hz"] == "0.00"


def test_drops_warn_until_reported(node):
    health = Health(node)
    health.drop("image-empty", "0x0")
    health.drop("image-empty", "0x0")
    assert health.counted("dropped/image-empty") == 2
    assert health.status().level == DiagnosticStatus.WARN
    health.report()
    status = health.status()
    assert status.level == DiagnosticStatus.OK
    assert values(status)["dropped/image-empty"] == "2"


def test_degraded_modes_come_and_go(node):
    health = Health(node)
    health.degrade("memory", "absent")
    assert health.status().level == DiagnosticStatus.WARN
    assert "absent" in health.status().message
    health.degrade("memory", None)
    assert health.status().level == DiagnosticStatus.OK


def test_silence_is_noticed(node):
    health = Health(node)
    health.expect("images", 0.0)
    assert "no images for" in health.status().message


def test_is_published(node):
    seen: list[DiagnosticArray] = []
    listener = Node("listener")
    listener.create_subscription(DiagnosticArray, "/diagnostics", seen.append, 10)
    Health(node, period_s=0.05).count("n")
    spin_until(lambda: bool(seen), node, listener)
    assert seen[0].status[0].name == "tested"
    listener.destroy_node()
