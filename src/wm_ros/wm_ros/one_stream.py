"""One publisher of a topic is followed, of several: two robots' states in one memory would be neither's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from rclpy.node import Node
from rclpy.subscription import Subscription

from wm_ros.health import Health

_SILENT_S = 1.0
_LOOK_EVERY_S = 0.5
_MOST_KNOWN = 16
_GID_BYTES = 16


class OneStream:
    """Lets through what comes from the publisher that was heard first, and the others' while that is silent or gone.

    Where the middleware does not tell who published a message, everything is let through, and nothing is certain while
    there are two.

    Args:
        node: Who hears.
        topic: As it is subscribed.
        health: Told of what is left out, as ``dropped/other-stream``.
    """

    def __init__(self, node: Node, topic: str, health: Health) -> None:
        self._node, self._topic, self._health = node, node.resolve_topic_name(topic), health
        # By who was heard first; when heard last [s].
        self._heard: dict[bytes, float] = {}
        self._home = self._followed = b""
        self._looked_s = -_LOOK_EVERY_S

    def of(self, callback: Callable[[Any], None]) -> Callable[..., None]:
        """Return a callback for ``create_subscription`` that hears one stream.

        Args:
            callback: Takes a message.
        """
        if not hasattr(Subscription, "CallbackType"):  # Humble tells nothing of a message
            return callback

        def take(msg: Any, info: Mapping[str, Any]) -> None:
            if self._is_followed((info.get("publisher_gid") or {}).get("data", b"")[:_GID_BYTES]):
                callback(msg)
            else:
                text = f"{self._topic} is also published by another, which is not followed: two graphs in one domain?"
                self._health.drop("other-stream", text)

        return take

    @property
    def is_certain(self) -> bool:
        """Whether what came last is of the publisher that was alone when it was first followed, or is alone now."""
        if self._home and self._followed == self._home:
            return True
        if self._node.count_publishers(self._topic) > 1:
            return False
        self._home = self._followed
        return True

    def _is_followed(self, gid: bytes) -> bool:
        """Return whether a message of a publisher is of the stream."""
        now_s = monotonic()
        if gid not in self._heard:
            self._begin(gid)
        self._heard[gid] = now_s
        first = next(iter(self._heard))
        if first != gid and self._is_heard_before(gid, now_s):
            return False
        self._followed = gid
        return True

    def _begin(self, gid: bytes) -> None:
        """Take note of one that was not heard before."""
        while len(self._heard) >= _MOST_KNOWN:
            del self._heard[min(self._heard, key=lambda each: self._heard[each])]
        if not self._home and self._node.count_publishers(self._topic) <= 1:
            self._home = gid

    def _is_heard_before(self, gid: bytes, now_s: float) -> bool:
        """Return whether somebody else goes on who was heard first."""
        self._forget_gone(gid, now_s)
        for other, heard_s in self._heard.items():
            if other == gid:
                return False
            if now_s - heard_s <= _SILENT_S:
                return True
        return False

    def _forget_gone(self, gid: bytes, now_s: float) -> None:
        if now_s - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = now_s
        infos = self._node.get_publishers_info_by_topic(self._topic)
        present = {bytes(info.endpoint_gid)[:_GID_BYTES] for info in infos}
        if gid in present:  # else the graph names them otherwise, or does not know this one yet
            for gone in self._heard.keys() - present:
                del self._heard[gone]
