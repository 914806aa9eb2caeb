"""A viewer of markers that keeps what it is told as rviz does, and takes for an error what rviz takes for one."""

from __future__ import annotations

import math

from geometry_msgs.msg import Point
from rclpy.node import Node
from rclpy.qos import QoSProfile
from visualization_msgs.msg import Marker, MarkerArray

from wm_ros import qos

_LISTS = {Marker.LINE_LIST: 2, Marker.POINTS: 1, Marker.SPHERE_LIST: 1, Marker.TRIANGLE_LIST: 3}
"""{type: points that make one thing}."""


class Viewer:
    """Hears a topic of markers.

    Args:
        node: Who subscribes.
        topic: Where.
        profile: Quality of service.

    Attributes:
        markers: {(namespace, id): the marker}.
        heard: Messages, oldest first.
    """

    def __init__(self, node: Node, topic: str, profile: QoSProfile = qos.DRAWN) -> None:
        self.markers: dict[tuple[str, int], Marker] = {}
        self.heard: list[MarkerArray] = []
        self._node = node
        self._subscription = node.create_subscription(MarkerArray, topic, self._on_markers, profile)

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._subscription)

    def of(self, group: str) -> list[Marker]:
        """Return the markers of a namespace, by id."""
        return [self.markers[key] for key in sorted(self.markers) if key[0] == group]

    def points(self, group: str) -> list[Point]:
        """Return all points of a namespace."""
        return [point for marker in self.of(group) for point in marker.points]

    @property
    def frames(self) -> set[str]:
        """The frames of all that is shown."""
        return {marker.header.frame_id for marker in self.markers.values()}

    @property
    def corners(self) -> int:
        """How many triangles the cells are made of: four a hexagon, three a pentagon."""
        return len(self.points("cells")) // 3

    def _on_markers(self, msg: MarkerArray) -> None:
        self.heard.append(msg)
        keys = [(marker.ns, marker.id) for marker in msg.markers if marker.action == Marker.ADD]
        assert len(keys) == len(set(keys)), "two markers of one name in a message"
        for marker in msg.markers:
            if marker.action == Marker.DELETEALL:
                self.markers.clear()
            elif marker.action == Marker.DELETE:
                self.markers.pop((marker.ns, marker.id), None)
            else:
                _check(marker)
                self.markers[marker.ns, marker.id] = marker


def _check(marker: Marker) -> None:
    """Refuse what rviz shows as an error."""
    assert marker.header.frame_id, marker.ns
    assert marker.points, f"{marker.ns}/{marker.id} has no points"
    assert len(marker.points) % _LISTS[marker.type] == 0, f"{marker.ns}/{marker.id} has {len(marker.points)} points"
    assert len(marker.colors) in (0, len(marker.points))
    assert min(marker.scale.x, marker.scale.y, marker.scale.z) > 0
    assert all(math.isfinite(value) for point in marker.points for value in (point.x, point.y, point.z))
