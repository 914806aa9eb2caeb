"""One camera's pictures, raw or compressed, whichever is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer
from sensor_msgs.msg import CompressedImage, Image

from wm_ros import qos
from wm_ros.errors import MessageError
from wm_ros.health import Health
from wm_ros.images import picture_from_msg
from wm_ros.inputs import NOT_YET, message_class
from wm_ros.one_stream import OneStream
from wm_ros.saying import clipped
from wm_ros.silence import why_silent
from wm_ros.video import VIDEO_KINDS, VideoPictures

FrameMsg: TypeAlias = Image | CompressedImage

__all__ = ["TRANSPORTS", "CameraSubscription", "FrameMsg", "picture_from_msg"]

TRANSPORTS = ("auto", "raw", "compressed", *VIDEO_KINDS)
_LOOK_AGAIN_S, _PATIENCE = 0.2, 25
IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
"""Types that carry a picture."""


class CameraSubscription:
    """Listens to one camera: sensor_msgs/Image on TOPIC, or sensor_msgs/CompressedImage on TOPIC or TOPIC/compressed.

    With ``auto`` it listens to raw images, and turns to compressed ones when nobody publishes raw ones, until the first
    frame came: listening to both would make image_transport compress for nobody. Video packets are taken where they are
    asked for (``foxglove_video``: foxglove_msgs/CompressedVideo on TOPIC; ``ffmpeg``: FFMPEGPacket on TOPIC/ffmpeg) and
    handed on as images; every packet has to be read, since later ones build on it.

    Args:
        node: Who listens.
        topic: Camera topic, remapped as any other.
        callback: Called with each message.
        transport: One of ``TRANSPORTS``.
        callback_group: Of the subscription.
        refused: Called with why for each video packet that does not decode.
        health: Told where another camera publishes on the topic; None: the node's log is.

    Raises:
        ConfigurationError: The packets' type is not installed.

    Attributes:
        was_heard: Whether any frame has come.
        is_video: Whether every message has to be read.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        callback: Callable[[FrameMsg], None],
        transport: str = "auto",
        callback_group: CallbackGroup | None = None,
        refused: Callable[[MessageError], None] = lambda _: None,
        health: Health | None = None,
    ) -> None:
        self._node, self._callback, self._group = node, callback, callback_group
        self._name, self._health = topic, health
        self._camera = node.resolve_topic_name(topic)
        self.was_heard, self._failures = False, 0
        self._finder: Timer | None = None
        self.is_video, self._refused, self._video = transport in VIDEO_KINDS, refused, VideoPictures()
        if self.is_video:
            kind = message_class(VIDEO_KINDS[transport], "image_transport")
            self._listen(kind, f"{self._camera}/ffmpeg" if transport == "ffmpeg" else self._camera)
            return
        compressed = transport == "compressed"
        self._listen(
            CompressedImage if compressed else Image, f"{self._camera}/compressed" if compressed else self._camera
        )
        if transport == "auto":
            steady = Clock(clock_type=ClockType.STEADY_TIME)
            self._finder = node.create_timer(_LOOK_AGAIN_S, self._find, clock=steady)

    @property
    def topic(self) -> str:
        """The topic that is listened to now."""
        return self._source[1]

    def close(self) -> None:
        """Listen no more."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        if self._finder is not None:
            self._node.destroy_timer(self._finder)

    def why_silent(self) -> str:
        """Return in words why no frame comes and what would help."""
        if self.is_video:
            return why_silent(self._node, (self.topic,), tuple(VIDEO_KINDS.values()), "video")
        return why_silent(self._node, (self._camera, f"{self._camera}/compressed"), IMAGE_TYPES, "images", self._name)

    def _listen(self, kind: type, topic: str) -> None:
        self._source = (kind, topic)
        hear, profile = (self._on_packet, qos.INPUT) if self.is_video else (self._on_frame, qos.SENSOR)
        take = OneStream(self._node, topic, self._health).of(hear)
        self._subscription: Any = None
        try:
            self._subscription = self._node.create_subscription(kind, topic, take, profile, callback_group=self._group)
        except NOT_YET as error:
            self._failures += 1
            if self._failures == _PATIENCE:
                self._node.get_logger().warning(f"cannot listen to {topic} yet: {clipped(error)}")

    def _on_frame(self, msg: FrameMsg) -> None:
        self.was_heard = True
        self._callback(msg)

    def _on_packet(self, msg: Any) -> None:
        self.was_heard = True
        try:
            for _, picture in self._video.pictures(msg):
                self._callback(picture)
        except MessageError as error:
            self._refused(error)

    def _find(self) -> None:
        if self.was_heard and self._finder is not None:
            self._finder.cancel()
            return
        offered = self._on_offer()
        if offered is not None and offered != self._source:
            self._node.get_logger().info(f"listening to {offered[1]} ({offered[0].__name__})")
            if self._subscription is not None:
                self._node.destroy_subscription(self._subscription)
            self._listen(*offered)
        elif self._subscription is None:
            self._listen(*self._source)

    def _on_offer(self) -> tuple[type, str] | None:
        for topic in (self._camera, f"{self._camera}/compressed"):
            types = {info.topic_type for info in self._node.get_publishers_info_by_topic(topic)}
            for kind in (Image, CompressedImage):
                if f"sensor_msgs/msg/{kind.__name__}" in types:
                    return kind, topic
        return None
