"""From messages to what is recorded, and nothing else.

Shape suffixes: N = points, 3 = x, y, z [m], 4 = red, green, blue, alpha.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from geometry_msgs.msg import Pose, PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid, Path
from visualization_msgs.msg import Marker, MarkerArray

from wm_core.drawing import Shape
from wm_core.errors import FrameError
from wm_view.recorder.sink import Costs, Key, Placed

_KINDS = {
    Marker.LINE_LIST: "lines",
    Marker.LINE_STRIP: "strip",
    Marker.POINTS: "points",
    Marker.SPHERE_LIST: "spheres",
    Marker.TRIANGLE_LIST: "triangles",
}


def placed_from_msg(msg: PoseWithCovarianceStamped) -> Placed:
    """Return a pose with its standard errors."""
    covariance = msg.pose.covariance
    std_xy = math.sqrt(max(0.0, covariance[0])), math.sqrt(max(0.0, covariance[7]))
    return _placed(msg.pose.pose, std_xy)


def _placed(pose: Pose, std_xy: tuple[float, float] = (0.0, 0.0)) -> Placed:
    at, turn = pose.position, pose.orientation
    return Placed((at.x, at.y, at.z), (turn.x, turn.y, turn.z, turn.w), std_xy)


def path_from_msg(msg: Path) -> np.ndarray:
    """Return the points of a path [N, 3]."""
    places = [each.pose.position for each in msg.poses]
    return np.array([(at.x, at.y, at.z) for at in places]).reshape(-1, 3)


def costs_from_msg(msg: OccupancyGrid) -> Costs:
    """Return a grid of costs."""
    cost_HW = np.array(msg.data, np.int8).reshape(msg.info.height, msg.info.width).view(np.uint8)
    return Costs(cost_HW, float(msg.info.resolution), _placed(msg.info.origin))


class Markers:
    """Follows a topic of markers.

    Attributes:
        shown: Keys of what is shown.
    """

    def __init__(self) -> None:
        self.shown: set[Key] = set()

    def taken(self, msg: MarkerArray) -> tuple[list[Shape], list[Key], str]:
        """Return what of a message is to be drawn, what is gone by it, and the frame."""
        shapes: dict[Key, Shape] = {}
        gone: dict[Key, None] = {}
        frame_id = ""
        for marker in msg.markers:
            key = (marker.ns, marker.id)
            if marker.action == Marker.DELETEALL:
                gone |= dict.fromkeys(key for key in self.shown if marker.ns in ("", key[0]))
            elif marker.action == Marker.DELETE:
                gone[key] = None
            elif marker.type in _KINDS and marker.points:
                shapes[key], frame_id = _shape(marker), marker.header.frame_id
                gone.pop(key, None)
        self.shown = (self.shown - gone.keys()) | shapes.keys()
        return list(shapes.values()), list(gone), frame_id


def _shape(marker: Marker) -> Shape:
    point_N3 = np.array([(each.x, each.y, each.z) for each in marker.points])
    color_N4 = np.array([(each.r, each.g, each.b, each.a) for each in marker.colors]) if marker.colors else None
    kind = _KINDS[marker.type]
    if kind == "strip":
        kind, point_N3 = "lines", np.repeat(point_N3, 2, axis=0)[1:-1]
        color_N4 = None if color_N4 is None else np.repeat(color_N4, 2, axis=0)[1:-1]
    color = marker.color
    return Shape(
        marker.ns, marker.id, kind, point_N3, (color.r, color.g, color.b, color.a), marker.scale.x or 0.01, color_N4
    )


def jpeg_of(image_HWC: np.ndarray, width: int, quality: int) -> bytes:
    """Return an RGB picture as JPEG, no wider than asked.

    Raises:
        FrameError: It cannot be encoded.
    """
    height, is_width = image_HWC.shape[:2]
    if is_width > width:
        size = width, max(1, round(height * width / is_width))
        image_HWC = cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA)
    is_done, encoded = cv2.imencode(".jpg", image_HWC[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not is_done:
        raise FrameError(f"a picture of shape {image_HWC.shape} cannot be written as JPEG")
    return bytes(encoded.tobytes())


class Paced:
    """Lets so many through a second, by their stamps; time that goes back begins anew.

    Args:
        rate_hz: Most a second.
    """

    def __init__(self, rate_hz: float) -> None:
        self._period_ns = round(1e9 / rate_hz)
        self._last_ns: int | None = None

    def lets(self, stamp_ns: int) -> bool:
        """Return whether one of this stamp is let through."""
        last_ns = self._last_ns
        if last_ns is not None and 0 <= stamp_ns - last_ns < 0.95 * self._period_ns:
            return False
        self._last_ns = stamp_ns
        return True
