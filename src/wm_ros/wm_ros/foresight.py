"""What a forecast expects, for a viewer: where the robot will be, how surely, and which memories say so."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from time import monotonic

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from std_msgs.msg import Header

from wm_core.drawing import Color, Shape, star
from wm_core.memory.packed import Neighbours
from wm_interfaces.msg import LatentForecast
from wm_ros import qos
from wm_ros.markers import MarkerSheet
from world_model.runtime.retrieved import Memory

_DRAW_EVERY_S = 0.2
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


class Foresight:
    """Publishes ``latent_next/pose`` and ``~/markers`` for whoever looks; costs nothing while nobody does.

    Args:
        node: Who publishes.
    """

    def __init__(self, node: Node) -> None:
        self._poses = node.create_publisher(PoseWithCovarianceStamped, "latent_next/pose", qos.STREAM)
        self._sheet = MarkerSheet(node, "~/markers")
        self._next_s = 0.0

    def publish(
        self, forecast: LatentForecast, memories: Iterable[Sequence[Memory] | Neighbours] | None, header: Header
    ) -> None:
        """Publishes what one forecast expects.

        Args:
            forecast: The furthest.
            memories: Answers in which its memories are; None: there were none.
            header: Stamp of what it was made from, and frame of its pose.
        """
        if forecast.has_pose and self._poses.get_subscription_count():
            msg = PoseWithCovarianceStamped(header=header)
            msg.pose.pose, msg.pose.covariance = forecast.pose, covariance_of(forecast.pose_std)
            self._poses.publish(msg)
        if monotonic() < self._next_s or not self._sheet.is_watched:
            return
        self._next_s = monotonic() + _DRAW_EVERY_S
        shapes = used_shapes(forecast, memories or ()) if forecast.has_pose else []
        self._sheet.show(shapes, header.frame_id)
