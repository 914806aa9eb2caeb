"""Health: what is counted is what is published."""

from __future__ import annotations

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Twist
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock as ClockMsg
from sensor_msgs.msg import Image
from std_msgs.msg import String

from wm_ros import Health, stamp_msg
from wm_ros.silence import why_silent
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


def test_a_rate_is_of_the_last_ten_seconds_and_what_was_before_is_forgotten(node, monkeypatch):
    now_s = 100.0
    for module in ("wm_ros.health", "wm_ros.present"):
        monkeypatch.setattr(f"{module}.monotonic", lambda: now_s)
    health = Health(node)
    for _ in range(400):
        now_s += 0.05
        health.tick("latent")
    assert values(health.status())["latent_hz"] == "20.00"
    assert len(health._ticks["latent"]) <= 202
    now_s += 60.0
    assert values(health.status())["latent_hz"] == "0.00"
    assert not health._ticks["latent"]


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


class Clock:
    """A steady clock that goes when it is told to."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def told(node, monkeypatch):
    """A health on a clock of its own, and what it logs."""
    clock, lines = Clock(), []
    monkeypatch.setattr("wm_ros.health.monotonic", clock)
    logger = type("Logger", (), {name: lambda _, text, **__: lines.append(text) for name in ("info", "warning")})()
    monkeypatch.setattr(node, "get_logger", lambda: logger)
    return Health(node), clock, lines


def test_a_mode_that_flickers_is_told_once_in_five_seconds_with_a_count(told):
    health, clock, lines = told
    for _ in range(60):  # on and off twice a second, for 30 s
        for message in ("outside", None):
            health.degrade("training range", message)
            clock.now_s += 0.25
        health.report()
    clock.now_s += 10.0
    health.report()
    assert len(lines) <= 8
    assert lines[0] == "training range: outside"
    assert all("changes since the last line" in line for line in lines[1:])
    assert lines[-1].startswith("training range: works again")


def test_the_log_ends_with_how_it_is(told):
    health, clock, lines = told
    health.degrade("memory", "absent")
    clock.now_s += 1.0
    health.degrade("memory", None)
    assert lines == ["memory: absent"]
    clock.now_s += 4.5
    health.report()
    health.report()
    assert lines == ["memory: absent", "memory: works again"]


def test_another_cause_is_told_and_another_number_is_not(told):
    health, clock, lines = told
    for second, cause in ((1, "a"), (2, "a"), (12, "b")):
        clock.now_s = 100.0 + second
        health.degrade("no_pose", f"none for {second} s: {cause}", cause)
    assert lines == ["no_pose: none for 1 s: a", "no_pose: none for 12 s: b"]


@pytest.fixture
def followed(ros_context, monkeypatch):  # noqa: F811
    """A health of a node under ``/clock``, the steady clock, and what tells the time that it follows [s]."""
    clock = Clock()
    monkeypatch.setattr("wm_ros.present.monotonic", clock)
    node = Node("tested", parameter_overrides=[Parameter("use_sim_time", value=True)])
    peer = Node("simulation")
    publisher = peer.create_publisher(ClockMsg, "/clock", 1)

    def tell(time_s: float) -> None:
        publisher.publish(ClockMsg(clock=stamp_msg(round(time_s * 1e9))))
        spin_until(lambda: node.get_clock().now().nanoseconds == round(time_s * 1e9), node, peer)

    spin_until(publisher.get_subscription_count, node, peer)
    yield Health(node), clock, tell, lambda: peer.destroy_publisher(publisher)
    node.destroy_node()
    peer.destroy_node()


def test_under_a_slow_clock_silence_lasts_as_long_as_that_says(followed):
    health, clock, tell, _ = followed
    health.expect("latents", 2.0)
    tell(1000.0)
    health.tick("latents")
    for number in range(1, 8):
        clock.now_s += 1.0
        tell(1000.0 + 0.25 * number)
        assert health.status().message == "ok"
    tell(1003.0)
    assert health.status().message == "no latents for 3 s"


def test_a_clock_that_begins_or_is_set_back_is_no_silence_of_years(followed):
    health, clock, tell, _ = followed
    health.expect("latents", 2.0)
    clock.now_s += 1.0
    tell(1e9)
    assert health.status().message == "ok"
    health.tick("latents")
    tell(1e9 - 3600.0)
    assert health.status().message == "ok"
    for number in range(1, 5):
        clock.now_s += 1.0
        tell(1e9 - 3600.0 + number)
    assert health.status().message == "no latents for 4 s"


def test_a_clock_that_stands_still_is_told_and_real_time_counts(followed):
    health, clock, tell, end = followed
    health.expect("latents", 2.0)
    tell(1000.0)
    health.tick("latents")
    health.report()
    clock.now_s += 3.0
    health.report()
    status = health.status()
    assert "no latents for 3 s" in status.message
    assert values(status)["degraded/clock"] == "/clock, which is followed (use_sim_time), stands still: is it paused"
    end()
    health.report()
    assert values(health.status())["degraded/clock"].endswith("nobody publishes it")


def test_silence_that_is_no_fault_degrades_nothing(node):
    health = Health(node)
    health.expect("action", 0.0, lambda: None)
    assert health.status().level == DiagnosticStatus.OK
    health.expect("pose", 0.0, lambda: "nobody publishes /pose")
    assert health.status().message == "no pose for 0 s: nobody publishes /pose"


def test_silence_names_topics_publishers_and_what_would_help(node):
    def why() -> str:
        return why_silent(node, ("/camera/image_raw",), ("sensor_msgs/msg/Image",), "images", "camera/image_raw")

    assert why() == "nobody publishes /camera/image_raw; no topic carries images"
    driver = Node("driver", namespace="/front")
    driver.create_publisher(Image, "image", 1)
    driver.create_publisher(Twist, "cmd_vel", 1)
    driver.create_publisher(Image, "/imagination/image", 1)
    spin_until(lambda: "/front/image" in why(), node, driver)
    assert why() == (
        "nobody publishes /camera/image_raw; topics with images: /front/image; "
        "to take one: -r camera/image_raw:=/front/image"
    )
    wrong = driver.create_publisher(String, "/camera/image_raw", 1)
    spin_until(lambda: "String" in why(), node, driver)
    assert why().startswith("/front/driver publishes /camera/image_raw as std_msgs/msg/String, which is not taken here")
    driver.destroy_publisher(wrong)
    driver.create_publisher(Image, "/camera/image_raw", 1)
    spin_until(lambda: "sends nothing" in why(), node, driver)
    driver.destroy_node()


def test_is_published(node):
    seen: list[DiagnosticArray] = []
    listener = Node("listener")
    listener.create_subscription(DiagnosticArray, "/diagnostics", seen.append, 10)
    Health(node, period_s=0.05).count("n")
    spin_until(lambda: bool(seen), node, listener)
    assert seen[0].status[0].name == "tested"
    listener.destroy_node()
