"""The configuration of rviz against the graph: each topic is published, of that type, to be heard, in a known frame."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from ament_index_python.packages import get_package_prefix
from latent_planner.node import LatentPlanner
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)

from bag_player.sent_log import SentLog
from wm_bringup.configuration import NODES
from wm_bringup.viewing import Shown, adapted, displays, written
from wm_ros import message_class
from wm_testing.nodes import ros_context
from wm_testing.system import listening, make_bag, play, wait_until

__all__ = ["ros_context"]

SHIPPED = Path(__file__).parents[3] / "config"
CONFIGURATION = yaml.safe_load((SHIPPED / "world_model.rviz").read_text())
DISPLAYS = list(displays(CONFIGURATION))
PLANNED = {"/latent_planner/field", "/latent_planner/markers", "/latent_planner/route", "/planned_path"}
ON_REQUEST = set() if "latent_planner" in NODES else PLANNED
"""What nobody publishes unless a node is started that the graph does not need."""
IMAGES = {"/camera/image_raw", "/imagination/image"}
"""What has no place in the world, so that its frame need not be known."""
PLUGINS = {"Grid", "Image", "Map", "MarkerArray", "Path", "PoseWithCovariance"}
START_S = 120.0


def profile_of(display: Shown) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=display.depth,
        reliability=ReliabilityPolicy.RELIABLE if display.reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if display.latched else DurabilityPolicy.VOLATILE,
    )


def test_every_display_is_of_a_plugin_that_rviz_has_and_of_its_own_name():
    given = CONFIGURATION["Visualization Manager"]["Displays"]
    assert {each["Class"] for each in given} == {f"rviz_default_plugins/{name}" for name in PLUGINS}
    assert all(each["Enabled"] is each["Value"] is True for each in given)
    assert len({each["Name"] for each in given}) == len(given)


def test_adapting_changes_frames_and_topics_and_nothing_else():
    same = adapted(CONFIGURATION, "map", "wm_robot", lambda topic: topic)
    assert same == CONFIGURATION
    mine = adapted(CONFIGURATION, "odom", "base_link", lambda topic: f"/r1{topic}")
    assert [each.topic for each in displays(mine)] == [f"/r1{each.topic}" for each in DISPLAYS]
    back = adapted(mine, "map", "wm_robot", lambda topic: topic.removeprefix("/r1"))
    assert back == CONFIGURATION


def test_the_shipped_file_is_used_where_it_fits():
    assert written(SHIPPED, "map", "wm_robot", lambda topic: topic) == SHIPPED / "world_model.rviz"
    made = written(SHIPPED, "odom", "wm_robot", lambda topic: topic)
    assert yaml.safe_load(made.read_text())["Visualization Manager"]["Global Options"]["Fixed Frame"] == "odom"


@pytest.mark.usefixtures("ros_context")
def test_what_the_planner_publishes_is_of_that_type_and_to_be_heard(monkeypatch: pytest.MonkeyPatch, artifact: Path):
    monkeypatch.setenv("WM_CHECKPOINT_PATH", str(artifact))
    planner = LatentPlanner()
    offered = {each.topic_name: each for each in planner.publishers}
    for display in (each for each in DISPLAYS if each.topic in PLANNED):
        publisher = offered[display.topic]
        assert publisher.msg_type is message_class(display.type, display.name)
        level, why = qos_check_compatible(publisher.qos_profile, profile_of(display))
        assert level != QoSCompatibility.ERROR, f"{display}: {why}"
    planner.destroy_node()
    assert {each.topic for each in DISPLAYS} >= PLANNED


@pytest.fixture
def graph(artifact: Path, tmp_path: Path) -> Iterator[None]:
    """The graph as one process."""
    program = Path(get_package_prefix("wm_bringup")) / "lib" / "wm_bringup" / "world_model"
    memory = ["--memory", str(tmp_path / "memory.sqlite3")]
    process = subprocess.Popen([sys.executable, program, "--model-path", str(artifact), *memory])
    yield
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Watcher:
    """Hears each display's topic as rviz would."""

    def __init__(self, node: Node) -> None:
        self.frames: dict[str, set[str]] = defaultdict(set)
        self.offered: dict[str, list[Any]] = defaultdict(list)
        self._node = node
        for display in DISPLAYS:
            kind = message_class(display.type, display.name)
            node.create_subscription(kind, display.topic, self._hearing(display.topic), profile_of(display))

    def _hearing(self, topic: str) -> Callable[[Any], None]:
        def hear(msg: Any) -> None:
            parts = [each for each in msg.markers if each.points] if hasattr(msg, "markers") else [msg]
            self.offered[topic] = self.offered[topic] or self.publishers(topic)
            self.frames[topic] |= {part.header.frame_id for part in parts}

        return hear

    def silent(self) -> set[str]:
        """Returns the topics on which nothing was heard yet."""
        return {display.topic for display in DISPLAYS} - {topic for topic, found in self.frames.items() if found}

    def publishers(self, topic: str) -> list[Any]:
        return self._node.get_publishers_info_by_topic(topic)


@pytest.mark.slow
@pytest.mark.usefixtures("graph")
def test_each_topic_is_published_with_that_type_to_be_heard_and_in_the_frame_of_the_poses(tmp_path: Path):
    bag = make_bag(tmp_path / "bag", 100, frame_id="odom")
    with listening({}) as (node, _), ThreadPoolExecutor(1) as pool:
        watcher = Watcher(node)
        wait_until(lambda: bool(watcher.publishers("/spatial_memory/markers")), START_S)
        playing = pool.submit(play, bag, SentLog(None), 3)
        wait_until(lambda: watcher.silent() <= ON_REQUEST, START_S)
        playing.result()
    for display in DISPLAYS:
        for publisher in watcher.offered[display.topic]:
            assert publisher.topic_type == display.type, display
            level, why = qos_check_compatible(publisher.qos_profile, profile_of(display))
            assert level != QoSCompatibility.ERROR, f"{display}: {why}"
        assert watcher.offered[display.topic] or display.topic in ON_REQUEST
        assert display.topic in IMAGES or watcher.frames[display.topic] <= {"odom"}, display
