"""Shapes on a topic: what changed, everything for who comes late, everything again before it is out of reach."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import rclpy
from rclpy.node import Node
from visualization_msgs.msg import Marker

from wm_core.drawing import Shape, ramp
from wm_ros import markers, qos
from wm_ros.markers import MOST_POINTS, MarkerSheet, marker_of
from wm_testing.nodes import ros_context, spin_until
from wm_testing.viewer import Viewer

__all__ = ["ros_context"]


def shape(number: int, value: float = 0.0, count: int = 1) -> Shape:
    return Shape("g", number, "points", np.full((count, 3), value), (1.0, 0.5, 0.25, 1.0), 0.1)


class Stage:
    """A node that shows and one that looks."""

    def __init__(self) -> None:
        self.shower, self.looker = Node("shower"), Node("looker")
        self.sheet = MarkerSheet(self.shower, "drawn")

    def look(self, profile=qos.DRAWN) -> Viewer:
        return Viewer(self.looker, "/drawn", profile)

    def until(self, condition: Callable[[], bool]) -> None:
        spin_until(condition, self.shower, self.looker)

    def told(self, viewer: Viewer, *numbers: int) -> None:
        self.until(lambda: {number for _, number in viewer.markers} == set(numbers))


@pytest.fixture
def stage(ros_context):
    made = Stage()
    yield made
    made.shower.destroy_node()
    made.looker.destroy_node()


def test_only_what_changed_is_told(stage):
    viewer = stage.look()
    stage.until(lambda: stage.sheet.is_watched)
    stage.sheet.show([shape(0), shape(1)], "odom")
    stage.told(viewer, 0, 1)
    assert viewer.frames == {"odom"}
    stage.sheet.show([shape(0), shape(1, 2.0)], "odom")
    stage.until(lambda: viewer.points("g")[1].x == 2.0)
    assert [(marker.action, marker.id) for marker in viewer.heard[-1].markers] == [(Marker.ADD, 1)]
    stage.sheet.show([shape(1, 2.0)], "odom")
    stage.told(viewer, 1)
    assert [(marker.action, marker.id) for marker in viewer.heard[-1].markers] == [(Marker.DELETE, 0)]
    count = len(viewer.heard)
    stage.sheet.show([shape(1, 2.0)], "odom")
    stage.sheet.show([shape(1, 2.0), shape(4)], "odom")
    stage.told(viewer, 1, 4)
    assert len(viewer.heard) == count + 1


def test_another_frame_takes_away_what_lay_in_the_former(stage):
    viewer = stage.look()
    stage.until(lambda: stage.sheet.is_watched)
    stage.sheet.show([shape(0), shape(1)], "odom")
    stage.sheet.show([shape(1)], "map")
    stage.until(lambda: viewer.frames == {"map"})
    assert viewer.markers.keys() == {("g", 1)}


@pytest.mark.parametrize("profile", [qos.DRAWN, qos.STREAM], ids=["latched", "volatile"])
def test_who_comes_late_sees_everything(stage, profile):
    first = stage.look()
    stage.until(lambda: stage.sheet.is_watched)
    for count in range(1, 5):
        stage.sheet.show([shape(number) for number in range(count)], "map")
    stage.told(first, 0, 1, 2, 3)
    late = stage.look(profile)
    stage.until(lambda: stage.sheet._publisher.get_subscription_count() == 2)
    stage.sheet.show([shape(number) for number in range(4)], "map")
    stage.told(late, 0, 1, 2, 3)


def test_the_latest_messages_hold_everything_at_least_once(stage):
    stage.sheet.show([shape(number) for number in range(3)], "map")
    for value in range(3 * qos.DRAWN.depth):
        stage.sheet.show([shape(0, float(value)), shape(1), shape(2)], "map")
    # Nobody looked, so that nothing but what is kept can tell.
    late = stage.look()
    stage.until(lambda: len(late.markers) == 3 and late.points("g")[0].x == 3 * qos.DRAWN.depth - 1)
    assert late.points("g")[1].x == 0.0


def test_everything_is_told_again_for_a_viewer_that_forgot(stage, monkeypatch):
    monkeypatch.setattr(markers, "REFRESH_S", 0.0)
    viewer = stage.look()
    stage.until(lambda: stage.sheet.is_watched)
    stage.sheet.show([shape(0)], "map")
    stage.told(viewer, 0)
    viewer.markers.clear()  # as rviz does when its fixed frame is changed
    stage.sheet.show([shape(0)], "map")
    stage.told(viewer, 0)


def test_messages_are_bounded(stage):
    viewer = stage.look()
    stage.until(lambda: stage.sheet.is_watched)
    stage.sheet.show([shape(number, count=MOST_POINTS // 2 + 1) for number in range(5)], "map")
    stage.told(viewer, *range(5))
    assert [len(msg.markers) for msg in viewer.heard] == [2, 1, 1, 1, 1]  # the first with what takes all away


def test_a_sheet_whose_node_is_gone_is_silent(ros_context):
    node = rclpy.create_node("gone")
    sheet = MarkerSheet(node, "drawn")
    node.destroy_node()
    assert not sheet.is_watched
    sheet.show([shape(0)], "map")


def test_a_marker_carries_every_field():
    drawn = Shape("g", 7, "lines", np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), (0.1, 0.2, 0.3, 0.4), 0.5)
    msg = marker_of(drawn, "odom")
    assert (msg.ns, msg.id, msg.type, msg.action) == ("g", 7, Marker.LINE_LIST, Marker.ADD)
    assert (msg.header.frame_id, msg.header.stamp.sec, msg.pose.orientation.w) == ("odom", 0, 1.0)
    assert [(point.x, point.y, point.z) for point in msg.points] == [(1, 2, 3), (4, 5, 6)]
    assert (msg.scale.x, round(msg.color.a, 3), list(msg.colors)) == (0.5, 0.4, [])
    colored = Shape("g", 7, "points", drawn.point_N3, drawn.color, 0.5, ramp(np.array([0.0, np.nan])))
    assert [round(color.r, 2) for color in marker_of(colored, "odom").colors] == [0.2, 0.55]
    triangles = Shape("g", 0, "triangles", np.zeros((3, 3)), drawn.color, 0.5)
    assert marker_of(triangles, "odom").scale.x == 1.0
