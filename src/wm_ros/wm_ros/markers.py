"""Shapes as markers on a topic: stable names, only what changed, and everything for who comes late."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from time import monotonic, sleep

import numpy as np
from geometry_msgs.msg import Point
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from wm_core.drawing import Board, Shape
from wm_ros import qos

_TYPES = {
    "lines": Marker.LINE_LIST,
    "points": Marker.POINTS,
    "spheres": Marker.SPHERE_LIST,
    "triangles": Marker.TRIANGLE_LIST,
}
REFRESH_S = 10.0
"""Everything is told anew so often: a viewer forgets it when its fixed frame is changed, without asking again."""
MOST_POINTS = 3000
"""Points of one message; more would hold up whoever shares the interpreter."""
_PAUSE_S = 0.002


def marker_of(shape: Shape, frame_id: str) -> Marker:
    """Returns a shape as a marker that stays where it is in its frame, however that moves."""
    marker = Marker(ns=shape.group, id=shape.number, type=_TYPES[shape.kind], action=Marker.ADD, frame_locked=True)
    # No stamp: a viewer then takes the newest transform instead of one that it has forgotten.
    marker.header.frame_id = frame_id
    marker.pose.orientation.w = 1.0
    scale, color = marker.scale, marker.color
    scale.x = scale.y = scale.z = 1.0 if shape.kind == "triangles" else shape.size_m
    color.r, color.g, color.b, color.a = shape.color
    marker.points = [Point(x=x, y=y, z=z) for x, y, z in shape.point_N3.tolist()]
    if shape.color_N4 is not None:
        marker.colors = _colors(shape.color_N4)
    return marker


def _colors(color_N4: np.ndarray) -> list[ColorRGBA]:
    made: dict[tuple[float, ...], ColorRGBA] = {}
    rows = [tuple(row) for row in color_N4.tolist()]
    for row in rows:
        if row not in made:
            made[row] = ColorRGBA(r=row[0], g=row[1], b=row[2], a=row[3])
    return [made[row] for row in rows]


def erasure(group: str, number: int) -> Marker:
    """Returns the marker that takes another away."""
    return Marker(ns=group, id=number, action=Marker.DELETE)


def all_erased() -> Marker:
    """Returns the marker that takes all others away."""
    return Marker(action=Marker.DELETEALL)


class MarkerSheet:
    """Publishes shapes (visualization_msgs/MarkerArray, transient local).

    A message holds what changed since the last. Whoever comes late gets as many of the latest messages as ``qos.DRAWN``
    keeps, which always hold everything at least once, and everything anew when it is seen to have come.

    Args:
        node: Who publishes.
        topic: Where.
    """

    def __init__(self, node: Node, topic: str) -> None:
        self._publisher = node.create_publisher(MarkerArray, topic, qos.DRAWN)
        self._board = Board()
        self._made: dict[tuple[str, int], tuple[Shape, Marker]] = {}
        self._frame_id = ""
        self._viewers = self._since_whole = 0
        self._is_begun = False
        self._whole_until_s = 0.0

    @property
    def is_watched(self) -> bool:
        """Whether anybody looks."""
        try:
            count: int = self._publisher.get_subscription_count()
        except rclpy_implementation.InvalidHandle:  # the node is being taken down
            return False
        if count == 0:
            self._viewers = 0
        return count > 0

    def show(self, shapes: Iterable[Shape], frame_id: str) -> None:
        """Shows these shapes and no others; may be called from any thread, by one at a time.

        Args:
            shapes: All that is to be seen.
            frame_id: Of their points.
        """
        changed, gone = self._board.replace(shapes)
        begins = not self._is_begun or frame_id != self._frame_id
        if begins:
            self._made.clear()
        for key in gone:
            self._made.pop(key, None)
        self._frame_id = frame_id
        is_whole = self._is_whole_due() or begins
        told = self._board.all() if is_whole else changed
        erased = [all_erased()] if begins else [erasure(*key) for key in gone]
        parts = list(_parts(told))
        if is_whole:
            self._since_whole, self._whole_until_s = 0, monotonic() + REFRESH_S
        elif not (parts or erased):
            return
        self._is_begun = True
        self._publish(erased, parts)

    def _is_whole_due(self) -> bool:
        """Returns whether everything is to be told: somebody came, or the last time is soon out of reach."""
        try:
            viewers = self._publisher.get_subscription_count()
        except rclpy_implementation.InvalidHandle:
            return False
        has_come, self._viewers = viewers > self._viewers, viewers
        return has_come or monotonic() >= self._whole_until_s or 2 * self._since_whole >= qos.DRAWN.depth

    def _publish(self, erased: list[Marker], parts: Sequence[Sequence[Shape]]) -> None:
        for at, part in enumerate(parts or [()]):
            markers = [*(erased if at == 0 else ()), *map(self._marker, part)]
            if at:
                sleep(_PAUSE_S)
            try:
                self._publisher.publish(MarkerArray(markers=markers))
            except rclpy_implementation.InvalidHandle:
                return
            self._since_whole += 1

    def _marker(self, shape: Shape) -> Marker:
        """Returns a shape's marker; what is told again is not made again."""
        made = self._made.get(shape.key)
        if made is None or made[0] is not shape:
            made = self._made[shape.key] = shape, marker_of(shape, self._frame_id)
        return made[1]


def _parts(shapes: Sequence[Shape]) -> Iterator[list[Shape]]:
    """Yields shapes in messages of a bounded size."""
    part: list[Shape] = []
    size = 0
    for shape in shapes:
        if part and size + len(shape.point_N3) > MOST_POINTS:
            yield part
            part, size = [], 0
        part.append(shape)
        size += len(shape.point_N3)
    if part:
        yield part
