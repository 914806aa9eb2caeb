"""The topic ``imagination/image``: seen, foreseen for now, foreseen next; made only while somebody looks."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from typing import Any

import numpy as np
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import CompressedImage, Image

from transition_predictor.imagining.node import ImaginationServer
from transition_predictor.imagining.worker import jpeg_of
from transition_predictor.showing.strip import (
    DECODED,
    REMEMBERED,
    Forecasts,
    Foreseen,
    Preference,
    read_jpeg,
    side_by_side,
)
from wm_core.errors import FrameError
from wm_ros import (
    CameraSubscription,
    FrameMsg,
    ManagedNode,
    MessageError,
    image_to_msg,
    picture_from_msg,
    qos,
    stamp_ns,
)
from world_model.runtime.prediction import Prediction

_MOST_FRAMES = 30
_LEAST_HZ = 1e-4
_WIDTH_PX = 192


class PictureTopic:
    """Publishes ``imagination/image`` and ``imagination/image/compressed``.

    Args:
        node: Who publishes.
        server: Whose thread and decoder make the pictures.
        step_s: Of the artifact [s].
        rate_hz: Pictures per second [Hz]; 0: never.
        kind: ``auto``, ``decoded`` or ``remembered``.
        transport: Of the camera.
    """

    def __init__(
        self,
        node: ManagedNode[Any],
        server: ImaginationServer,
        step_s: float,
        rate_hz: float,
        kind: str,
        transport: str,
    ) -> None:
        self._node, self._server, self._transport = node, server, transport
        self._raw = node.create_publisher(Image, "imagination/image", qos.STREAM)
        self._compressed = node.create_publisher(CompressedImage, "imagination/image/compressed", qos.STREAM)
        self._frames: deque[FrameMsg] = deque(maxlen=_MOST_FRAMES)
        self._forecasts, self._preference = Forecasts(round(step_s * 0.75e9)), Preference(kind)
        self._camera: CameraSubscription | None = None
        self._making: Future[None] | None = None
        self._shown_ns = 0
        if rate_hz > 0.0:
            # Nanoseconds between two of a rate next to none are more than a timer can count.
            node.create_timer(
                1.0 / max(rate_hz, _LEAST_HZ), self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME)
            )

    @property
    def is_watched(self) -> bool:
        """Whether somebody looks."""
        return self._camera is not None

    def foresee(self, prediction: Prediction) -> None:
        """Take note of a prediction: of what it foresees furthest ahead."""
        if self._camera is None:
            return
        far, made_ns = prediction.forecasts[-1], prediction.stamp_ns
        target_ns = made_ns + round(far.horizon_s * 1e9)
        self._forecasts.add(Foreseen(made_ns, target_ns, far.latent_D, far.memory_ids))

    def _on_timer(self) -> None:
        if not (self._raw.get_subscription_count() or self._compressed.get_subscription_count()):
            self._stop()
            return
        if self._camera is None:
            self._camera = CameraSubscription(self._node, "camera/image_raw", self._frames.append, self._transport)
        if self._making is not None and not self._making.done():
            return
        # A frame is shown together with what was foreseen for its time; it may well come after what was foreseen by it.
        frames = {stamp_ns(frame.header.stamp): frame for frame in self._frames}
        newest = self._forecasts.newest(frames)
        if newest is None or newest.made_ns == self._shown_ns:
            return
        frame, due = frames[newest.made_ns], self._forecasts.due(newest.made_ns)
        self._shown_ns = newest.made_ns
        self._making = self._server.work.submit(lambda: self._make(frame, due, newest))

    def _stop(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None
            self._frames.clear()
            self._forecasts.clear()

    # ---------------------------------------------------------------- on the server's thread

    def _make(self, frame: FrameMsg, due: Foreseen | None, newest: Foreseen) -> None:
        """Publish one picture."""
        try:
            seen_HW3 = picture_from_msg(frame)
            due_by_kind, next_by_kind = self._pictures(due), self._pictures(newest)
            self._preference.learn(seen_HW3, due_by_kind)
            ahead_s = (newest.target_ns - newest.made_ns) * 1e-9
            tiles = [
                (seen_HW3, "seen"),
                self._tile(due_by_kind, f"{ahead_s:.0f} s ago"),
                self._tile(next_by_kind, f"in {ahead_s:.0f} s"),
            ]
            strip_HW3 = side_by_side(tiles, _WIDTH_PX)
        except (MessageError, FrameError) as error:
            self._node._health.drop("picture", str(error))
            return
        if self._raw.get_subscription_count():
            self._raw.publish(image_to_msg(strip_HW3, frame.header.stamp, frame.header.frame_id))
        if self._compressed.get_subscription_count():
            msg = CompressedImage(header=frame.header, format="rgb8; jpeg compressed bgr8", data=jpeg_of(strip_HW3))
            self._compressed.publish(msg)
        self._node._health.count("pictures_shown")

    def _pictures(self, foreseen: Foreseen | None) -> dict[str, np.ndarray]:
        """Return what can be shown of a forecast, by kind."""
        if foreseen is None:
            return {}
        found, imaginer = {}, self._server.imaginer
        if imaginer.has_decoder:
            found[DECODED] = imaginer.decoded(foreseen.latent_D[None])[0]
        if foreseen.memory_ids:
            picture = read_jpeg(imaginer.remembered(np.array([foreseen.memory_ids], np.int64))[0])
            if picture is not None:
                found[REMEMBERED] = picture
        return found

    def _tile(self, by_kind: dict[str, np.ndarray], caption: str) -> tuple[np.ndarray | None, str]:
        for kind in self._preference.order():
            if kind in by_kind:
                return by_kind[kind], f"{caption}, {kind}"
        return None, f"{caption}: no picture"
