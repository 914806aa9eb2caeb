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

from wm_core.bounds import LARGEST_POSITION_M, checked_name
from wm_core.drawing import Shape
from wm_core.errors import FrameError
from wm_ros import MessageError, pose_from_msg
from wm_view.recorder.sink import Costs, Key, Placed

MOST_POINTS, MOST_CELLS, MOST_SHOWN = 200_000, 2**24, 10_000
"""Points of one message, cells of a grid, markers of a topic that are shown at a time."""
_KINDS = {
    Marker.LINE_LIST: "lines",
    Marker.LINE_STRIP: "strip",
    Marker.POINTS: "points",
    Marker.SPHERE_LIST: "spheres",
    Marker.TRIANGLE_LIST: "triangles",
}


def placed_from_msg(msg: PoseWithCovarianceStamped) -> Placed:
    """Return a pose with its standard errors.

    Raises:
        MessageError: It cannot be one.
    """
    covariance = msg.pose.covariance
    std_xy = [math.sqrt(max(0.0, covariance[at])) for at in (0, 7)]
    if not max(std_xy) <= LARGEST_POSITION_M:
        raise MessageError("pose-std", f"{std_xy}, expected at most {LARGEST_POSITION_M:g}")
    return _placed(msg.pose.pose, (std_xy[0], std_xy[1]))


def _placed(pose: Pose, std_xy: tuple[float, float] = (0.0, 0.0)) -> Placed:
    position, turn = pose_from_msg(pose)
    x, y, z = map(float, position)
    qx, qy, qz, qw = map(float, turn)
    return Placed((x, y, z), (qx, qy, qz, qw), std_xy)


def path_from_msg(msg: Path) -> np.ndarray:
    """Return the points of a path [N, 3].

    Raises:
        MessageError: There are too many, or one lies nowhere.
    """
    _check_count(len(msg.poses))
    places = [each.pose.position for each in msg.poses]
    return _checked(np.array([(at.x, at.y, at.z) for at in places]).reshape(-1, 3))


def costs_from_msg(msg: OccupancyGrid) -> Costs:
    """Return a grid of costs.

    Raises:
        MessageError: It is too large, of another size than its data, or lies nowhere.
    """
    height, width, resolution = msg.info.height, msg.info.width, float(msg.info.resolution)
    if not (0 < len(msg.data) == height * width <= MOST_CELLS and 0.0 < resolution <= LARGEST_POSITION_M):
        text = f"{height} x {width} cells of {resolution:g} m with {len(msg.data)} values, at most {MOST_CELLS}"
        raise MessageError("grid", text)
    cost_HW = np.array(msg.data, np.int8).reshape(height, width).view(np.uint8)
    return Costs(cost_HW, resolution, _placed(msg.info.origin))


def _check_count(count: int) -> None:
    if count > MOST_POINTS:
        raise MessageError("too-many-points", f"{count} points, at most {MOST_POINTS}")


def _checked(point_N3: np.ndarray) -> np.ndarray:
    """Return points, all of which lie somewhere."""
    if not (np.abs(point_N3) <= LARGEST_POSITION_M).all():
        raise MessageError("point-too-far", f"a point is not finite, or beyond {LARGEST_POSITION_M:g} m")
    return point_N3


class Markers:
    """Follows a topic of markers.

    Attributes:
        shown: Keys of what is shown.
    """

    def __init__(self) -> None:
        self.shown: set[Key] = set()

    def taken(self, msg: MarkerArray) -> tuple[list[Shape], list[Key], str]:
        """Return what of a message is to be drawn, what is gone by it, and the frame.

        Raises:
            MessageError: There is too much of it, or a part lies nowhere.
        """
        _check_count(sum(len(marker.points) + 1 for marker in msg.markers))
        shapes: dict[Key, Shape] = {}
        gone: dict[Key, None] = {}
        frame_id = ""
        for marker in msg.markers:
            key = (checked_name(marker.ns, "namespace of a marker"), marker.id)
            if marker.action == Marker.DELETEALL:
                gone |= dict.fromkeys(key for key in self.shown if marker.ns in ("", key[0]))
            elif marker.action == Marker.DELETE:
                gone[key] = None
            elif marker.type in _KINDS and marker.points:
                shapes[key], frame_id = _shape(marker), checked_name(marker.header.frame_id, "frame_id")
                gone.pop(key, None)
        if len(self.shown | shapes.keys()) > MOST_SHOWN:
            raise MessageError("too-many-markers", f"more than {MOST_SHOWN} markers of one topic")
        self.shown = (self.shown - gone.keys()) | shapes.keys()
        return list(shapes.values()), list(gone), frame_id


def _shape(marker: Marker) -> Shape:
    point_N3 = _checked(np.array([(each.x, each.y, each.z) for each in marker.points]))
    if len(marker.colors) not in (0, len(point_N3)):
        raise MessageError("marker-colors", f"{len(marker.colors)} colours of {len(point_N3)} points")
    color_N4 = np.array([(each.r, each.g, each.b, each.a) for each in marker.colors]) if marker.colors else None
    kind = _KINDS[marker.type]
    if kind == "strip":
        kind, point_N3 = "lines", np.repeat(point_N3, 2, axis=0)[1:-1]
        color_N4 = None if color_N4 is None else np.repeat(color_N4, 2, axis=0)[1:-1]
    color = (marker.color.r, marker.color.g, marker.color.b, marker.color.a)
    shares = np.array(color) if color_N4 is None else np.concatenate([color_N4.reshape(-1), color])
    if not (np.isfinite(shares).all() and 0.0 <= marker.scale.x <= LARGEST_POSITION_M):
        raise MessageError("marker", f"colours {color} or a width of {marker.scale.x:g} m make no sense")
    return Shape(marker.ns, marker.id, kind, point_N3, color, marker.scale.x or 0.01, color_N4)


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
