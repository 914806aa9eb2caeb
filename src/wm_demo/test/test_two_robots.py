"""Two robots on one machine, in one domain: each hears, says and remembers only its own."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from latent_planner.node import LatentPlanner
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import Float32MultiArray

from bag_player.node import TAKES, BagPlayer
from bag_player.sent_log import SentLog
from latent_publisher.node import LatentPublisher
from spatial_memory.node import SpatialMemory
from transition_predictor.node import TransitionPredictor
from wm_api.node import WmApi
from wm_core.bags import Bag, match_topics
from wm_demo.film import Film
from wm_demo.film_ear import FilmEar
from wm_demo.graph import executable
from wm_demo.measurements import Measurements
from wm_demo.monitor import Monitor
from wm_interfaces.msg import LatentState
from wm_interfaces.srv import MemoryStats
from wm_ros import qos
from wm_sim_ros.node import SimulatedRobot
from wm_testing.nodes import ros_context, spin_until  # noqa: F401
from wm_testing.system import listening, make_bag, play, wait_until
from world_action.node import WorldAction

pytestmark = pytest.mark.slow

START_S = 120.0
ROBOTS = ("robot1", "robot2")
SHARED = {"/diagnostics", "/clock", "/tf", "/tf_static", "/rosout", "/parameter_events"}
"""What a machine has one of; all else belongs to one robot."""
NODES: dict[str, Callable[..., Node]] = {
    "latent_publisher": LatentPublisher,
    "transition_predictor": TransitionPredictor,
    "spatial_memory": SpatialMemory,
    "world_action": WorldAction,
    "wm_sim": SimulatedRobot,
}
ALONE: dict[str, Callable[..., Node]] = {
    "latent_planner": LatentPlanner,
    "wm_api": partial(WmApi, parameter_overrides=[Parameter("port", value=0)]),
}
"""Nodes that start only where they are asked for."""
EARS: dict[str, Callable[..., Node]] = {
    "demo_monitor": lambda **options: Monitor(Measurements(), **options),
    "demo_film": lambda **options: FilmEar(Film(), Lock(), **options),
}
"""The demo's."""


def names_of(node: Node) -> set[str]:
    """Returns the full names of everything that a node says, hears, serves and asks."""
    topics = [*node.publishers, *node.subscriptions]
    services = [*node.services, *node.clients]
    return {each.topic_name for each in topics} | {each.service_name for each in services}


@pytest.mark.parametrize("name", [*NODES, *ALONE, *EARS])
@pytest.mark.usefixtures("ros_context")
def test_everything_of_a_node_stands_in_its_namespace(monkeypatch: pytest.MonkeyPatch, artifact: Path, name: str):
    monkeypatch.setenv("WM_CHECKPOINT_PATH", str(artifact))
    node = {**NODES, **ALONE, **EARS}[name](namespace="robot1")
    try:
        outside = {each for each in names_of(node) if not each.startswith("/robot1/")}
    finally:
        node.destroy_node()
    assert outside <= SHARED, f"{name}: {sorted(outside - SHARED)}"
    assert "/diagnostics" in outside or name in EARS


@pytest.mark.usefixtures("ros_context")
def test_a_recording_is_played_within_the_namespace(tmp_path: Path):
    bag = Bag(make_bag(tmp_path / "bag", 3))
    player = BagPlayer(bag, match_topics(bag.types, {}, TAKES), namespace="robot1")
    try:
        outside = {each for each in names_of(player) if not each.startswith("/robot1/")}
    finally:
        player.destroy_node()
    assert outside <= SHARED, sorted(outside - SHARED)


@pytest.mark.usefixtures("ros_context")
def test_the_demo_hears_its_own_robot_only():
    found = {robot: Measurements() for robot in ROBOTS}
    ears = {robot: Monitor(each, namespace=robot) for robot, each in found.items()}
    peers = {robot: Node("peer", namespace=robot) for robot in ROBOTS}
    states = {robot: peer.create_publisher(LatentState, "latent/state", qos.STREAM) for robot, peer in peers.items()}
    told = {robot: peer.create_publisher(DiagnosticArray, "/diagnostics", 10) for robot, peer in peers.items()}
    everyone = [*ears.values(), *peers.values()]
    spin_until(lambda: all(each.get_subscription_count() == 1 for each in states.values()), *everyone)
    spin_until(lambda: all(each.get_subscription_count() == 2 for each in told.values()), *everyone)
    for robot, count in zip(ROBOTS, (1, 2)):
        assert "/robot" in ears[robot].missing()[0]
        assert f"/{robot}/latent/state" not in ears[robot].missing()
        value = KeyValue(key="memory_count", value=str(count))
        told[robot].publish(DiagnosticArray(status=[DiagnosticStatus(name=f"{robot}/spatial_memory", values=[value])]))
        for _ in range(count):
            states[robot].publish(LatentState(latent=[float(count)]))
    spin_until(lambda: [each.rates["/latent/state"].count for each in found.values()] == [1, 2], *everyone)
    spin_until(
        lambda: [each.diagnostic("spatial_memory", "memory_count") for each in found.values()] == [1, 2], *everyone
    )
    assert [list(each.diagnostics) for each in found.values()] == [["spatial_memory"]] * 2


@pytest.fixture
def graphs(artifact: Path) -> Iterator[dict[str, subprocess.Popen]]:
    """One process per robot, each with all four nodes."""
    command = [*executable("wm_bringup", "world_model"), "--model-path", str(artifact), "--ros-args", "-r"]
    processes = {robot: subprocess.Popen([*command, f"__ns:=/{robot}"]) for robot in ROBOTS}
    yield processes
    for process in processes.values():
        if process.poll() is None:
            process.kill()
            process.wait()


def stats_of(node: Node, robot: str) -> Any:
    """Returns what a robot's memory says of itself; ``node`` is spun elsewhere."""
    client = node.create_client(MemoryStats, f"/{robot}/spatial_memory/stats")
    wait_until(client.service_is_ready, START_S)
    future = client.call_async(MemoryStats.Request())
    wait_until(future.done)
    return future.result()


def test_two_robots_know_nothing_of_each_other(tmp_path: Path, graphs: dict[str, subprocess.Popen]):
    bags = {robot: make_bag(tmp_path / robot, count) for robot, count in zip(ROBOTS, (60, 20))}
    named: set[str] = set()
    topics = {topic: Float32MultiArray for topic in ("/robot1/latent_next", "/robot2/latent_next", "/latent", "/pose")}

    def round_of(robot: str) -> None:
        play(bags[robot], SentLog(), camera_count=2, namespace=robot)

    with listening(topics) as (node, heard):
        node.create_subscription(
            DiagnosticArray, "/diagnostics", lambda msg: named.update(status.name for status in msg.status), 10
        )
        assert stats_of(node, "robot2").memory_count == 0
        round_of("robot1")
        wait_until(lambda: heard["/robot1/latent_next"] > 0)
        alone = stats_of(node, "robot1")
        assert alone.memory_count > 20  # of 60 frames, 6 cm apart, at most every other
        assert heard["/robot2/latent_next"] == 0
        assert stats_of(node, "robot2").memory_count == 0

        with ThreadPoolExecutor(len(ROBOTS)) as pool:
            list(pool.map(round_of, ROBOTS))
        wait_until(lambda: heard["/robot2/latent_next"] > 0)
        both = {robot: stats_of(node, robot) for robot in ROBOTS}
        assert both["robot1"].memory_count > alone.memory_count
        assert 0 < both["robot2"].memory_count < 20
        assert all(both[robot].session.startswith(f"{robot}-") for robot in ROBOTS)

        expected = {f"{robot}/{name}" for robot in ROBOTS for name in NODES if name != "wm_sim"}
        wait_until(lambda: named >= expected)
        assert heard["/latent"] == 0
        assert not node.get_publishers_info_by_topic("/latent")
        assert "latent_publisher" not in named

    for process in graphs.values():
        process.send_signal(signal.SIGINT)
    assert [process.wait(timeout=30) for process in graphs.values()] == [0, 0]
    for robot, other in zip(ROBOTS, reversed(ROBOTS)):
        content = (tmp_path / "ros" / "world_model" / robot / "memory.sqlite3").read_bytes()
        assert f"{robot}-".encode() in content
        assert f"{other}-".encode() not in content
