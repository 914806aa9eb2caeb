"""What a forecast expects, for a viewer: where the robot will be, how surely, and which memories say so."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from time import monotonic

import numpy as np
from geometry_msgs.msg import Pose, PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Path
from rclpy.node import Node
from std_msgs.msg import Header

from wm_core.drawing import Color, Shape, star
from wm_core.memory.packed import Neighbours
from wm_core.se3 import quaternion_of
from wm_interfaces.msg import Imagined, LatentForecast
from wm_ros import qos
from wm_ros.markers import MarkerSheet
from wm_ros.messages import pose_to_msg
from world_model.runtime.retrieved import Memory

_DRAW_EVERY_S = 0.2
_HELD_S = 5.0
"""So long what was imagined for somebody is shown, and not what the forecasts say."""
_EXPECTED: Color = (0.20, 0.85, 0.95, 1.0)
_USED: Color = (0.95, 0.85, 0.20, 1.0)
_AXES = (0, 7, 14, 21, 28, 35)


def covariance_of(pose_std: Sequence[float]) -> list[float]:
    """Returns the covariance [36] of the standard errors of x, y, z and about them; 0 for what is not told."""
    values = [0.0] * 36
    for at, error in zip(_AXES, pose_std):
        values[at] = 0.0 if math.isnan(error) else error * error
    return values


def used_shapes(forecast: LatentForecast, memories: Iterable[Sequence[Memory] | Neighbours]) -> list[Shape]:
    """Returns the memories that conditioned a forecast, with a line to each from where the robot is expected.

    Args:
        forecast: The forecast.
        memories: Answers in which its memories are.
    """
    wanted = set(forecast.memory_ids)
    found: dict[int, Sequence[float]] = {}
    for answer in memories:
        if isinstance(answer, Neighbours):
            found |= {key: place for key, place in zip(answer.id_K.tolist(), answer.pose_K4.tolist()) if key in wanted}
        else:
            places = {each.id: (each.pose.x, each.pose.y, each.pose.z) for each in answer if each.id in wanted}
            found |= places
    place_K3 = np.array([place[:3] for place in found.values()], np.float64).reshape(-1, 3)
    at = forecast.pose.position
    return star("used", place_K3, np.array((at.x, at.y, at.z)), _USED, _EXPECTED)


def path_of(poses: Iterable[Pose], header: Header) -> Path:
    """Returns a path through some poses."""
    return Path(header=header, poses=[PoseStamped(header=header, pose=pose) for pose in poses])


def imagined_path(imagined: Imagined) -> Path:
    """Returns the path of the first candidate that was imagined; without poses, an empty one."""
    count = len(imagined.times_s) if imagined.has_poses else 0
    pose_H3 = np.array(imagined.poses[: 3 * count], np.float64).reshape(-1, 3)
    poses = [pose_to_msg((x, y, 0.0), quaternion_of(yaw)) for x, y, yaw in pose_H3.tolist()]
    return path_of(poses, Header(stamp=imagined.stamp, frame_id=imagined.pose_frame_id or "map"))


class Foresight:
    """Publishes ``latent_next/pose``, ``imagination/path`` and ``~/markers`` for whoever looks.

    Costs nothing while nobody does.

    Args:
        node: Who publishes.
    """

    def __init__(self, node: Node) -> None:
        self._poses = node.create_publisher(PoseWithCovarianceStamped, "latent_next/pose", qos.STREAM)
        self._paths = node.create_publisher(Path, "imagination/path", qos.LATCHED)
        self._sheet = MarkerSheet(node, "~/markers")
        self._next_s = self._path_next_s = 0.0

    def imagined(self, imagined: Imagined) -> None:
        """Shows the path of what was imagined for somebody."""
        self._path_next_s = monotonic() + _HELD_S
        self._paths.publish(imagined_path(imagined))

    def publish(
        self,
        here: Pose | None,
        forecasts: Sequence[LatentForecast],
        memories: Iterable[Sequence[Memory] | Neighbours] | None,
        header: Header,
    ) -> None:
        """Publishes what forecasts expect, and which memories say so of the furthest.

        Args:
            here: Where the robot is; None: not known.
            forecasts: By their horizon.
            memories: Answers in which their memories are; None: there were none.
            header: Stamp of what they were made from, and frame of their poses.
        """
        forecast = forecasts[-1]
        if forecast.has_pose and self._poses.get_subscription_count():
            msg = PoseWithCovarianceStamped(header=header)
            msg.pose.pose, msg.pose.covariance = forecast.pose, covariance_of(forecast.pose_std)
            self._poses.publish(msg)
        if here is not None and monotonic() >= self._path_next_s and self._paths.get_subscription_count():
            self._path_next_s = monotonic() + _DRAW_EVERY_S
            self._paths.publish(path_of([here, *(each.pose for each in forecasts if each.has_pose)], header))
        if monotonic() < self._next_s or not self._sheet.is_watched:
            return
        self._next_s = monotonic() + _DRAW_EVERY_S
        shapes = used_shapes(forecast, memories or ()) if forecast.has_pose else []
        self._sheet.show(shapes, header.frame_id)
