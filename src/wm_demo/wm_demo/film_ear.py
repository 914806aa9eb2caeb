"""The film's ear: the camera, and the forecasts that are made of its frames."""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import Any

import numpy as np
from rclpy.node import Node

from wm_core.errors import CoreError
from wm_core.se3 import yaw_of
from wm_demo.film import Film
from wm_demo.measurements import Spot
from wm_interfaces.msg import LatentForecast, LatentPrediction, LatentState
from wm_ros import CameraSubscription, FrameMsg, picture_from_msg, qos, stamp_ns
from wm_ros.one_stream import OneStream

CAMERA = "camera/image_raw"
_WIDEST = 160
_FAR_S = 0.9
_BLACK_HWC = np.zeros((2, 2, 3), np.uint8)


class FilmEar(Node):
    """Fills a film with what the graph sees and foresees.

    Args:
        film: What to fill.
        lock: Held while it is.
        **node_options: Passed to ``rclpy.node.Node``.
    """

    def __init__(self, film: Film, lock: Lock, **node_options: Any) -> None:
        super().__init__("demo_film", **node_options)
        self._film, self._lock = film, lock
        self._camera = CameraSubscription(self, CAMERA, self._on_frame)
        states = OneStream(self, "latent/state")
        self.create_subscription(LatentState, "latent/state", states.of(self._on_state), qos.STREAM)
        forecasts = OneStream(self, "latent_next/state", beside=states)
        take = forecasts.of(self._on_prediction)
        self.create_subscription(LatentPrediction, "latent_next/state", take, qos.STREAM)

    def _on_frame(self, msg: FrameMsg) -> None:
        with self._lock:
            self._film.frame(stamp_ns(msg.header.stamp), partial(_small, msg))

    def _on_state(self, msg: LatentState) -> None:
        if msg.has_pose:
            turn = msg.pose.orientation
            yaw = yaw_of((turn.x, turn.y, turn.z, turn.w))
            with self._lock:
                self._film.place(Spot(stamp_ns(msg.header.stamp), msg.pose.position.x, msg.pose.position.y, yaw))

    def _on_prediction(self, msg: LatentPrediction) -> None:
        if not msg.forecasts or msg.forecasts[-1].horizon_s < _FAR_S:
            return
        far = msg.forecasts[-1]
        latent_D = np.array(far.latent, np.float32)
        with self._lock:
            made_ns, target_ns = stamp_ns(msg.header.stamp), stamp_ns(far.target_stamp)
            self._film.forecast(made_ns, target_ns, latent_D, msg.encoder_id, _expected(far))


def _expected(forecast: LatentForecast) -> Spot | None:
    if not forecast.has_pose:
        return None
    turn, at = forecast.pose.orientation, forecast.pose.position
    return Spot(stamp_ns(forecast.target_stamp), at.x, at.y, yaw_of((turn.x, turn.y, turn.z, turn.w)))


def _small(msg: FrameMsg) -> np.ndarray:
    """Return a frame's picture, every few pixels of a large one; black where it cannot be read."""
    try:
        image_HWC = picture_from_msg(msg)
    except CoreError:
        return _BLACK_HWC
    step = max(1, image_HWC.shape[1] // _WIDEST)
    return np.ascontiguousarray(image_HWC[::step, ::step])
