"""One publisher of a topic is followed, of several: two robots' states in one memory would be neither's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from rclpy.node import Node
from rclpy.subscription import Subscription

from wm_ros.health import Health
from wm_ros.saying import Seldom, clipped

# A slow one is waited for three of its messages, but never for longer than the longest.
_SILENT_S, _SILENT_GAPS, _LONGEST_SILENT_S = 1.0, 3.0, 10.0
_LOOK_EVERY_S = 0.5
_MOST_KNOWN = 16
_GID_BYTES = 16
# What the publishers of one process have in common, where the middleware follows RTPS.
_PROCESS_BYTES = 12
_NAMED_FOR_S = 10.0


@dataclass
class _Heard:
    """When a publisher was heard last, and how long after the time before [s]."""

    at_s: float
    gap_s: float = 0.0

    def again(self, now_s: float) -> None:
        self.gap_s, self.at_s = now_s - self.at_s, now_s

    def goes_on(self, now_s: float) -> bool:
        return now_s - self.at_s <= min(max(_SILENT_S, _SILENT_GAPS * self.gap_s), _LONGEST_SILENT_S)


class OneStream:
    """Lets through what comes from the publisher that was heard first, and the others' while that is silent or gone.

    What is left out is counted as ``dropped/other-stream`` and named as a degraded mode while it comes. Where the
    middleware does not tell who published a message, everything is let through, and nothing is certain while there are
    two.

    Args:
        node: Who hears.
        topic: As it is subscribed.
        health: Told of what is left out; None: the node's log is.
        beside: The stream of another topic of the same graph: once a publisher of the process that is followed there
            was heard here, no other is.
        hears_all: Lets through what all of them publish, and names it: commands, which a robot obeys whoever sends
            them.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        health: Health | None = None,
        *,
        beside: OneStream | None = None,
        hears_all: bool = False,
    ) -> None:
        self._node, self._topic, self._health = node, node.resolve_topic_name(topic), health
        self._beside, self._hears_all = beside, hears_all
        # By who was heard first.
        self._heard: dict[bytes, _Heard] = {}
        self._home = self._followed = self._kin_of = b""
        self._looked_s = -_LOOK_EVERY_S
        self._seldom = Seldom()

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
                return
            self._name()
            if self._hears_all:
                callback(msg)

        return take

    def _name(self) -> None:
        """Tell that another publishes, too."""
        what = "all of them are heard" if self._hears_all else "only the first is followed"
        text = f"{self._topic} is published by several at once, and {what}: two graphs in one domain?"
        if self._health is None:
            if self._seldom.count(self._topic):
                self._node.get_logger().warning(clipped(text))
            return
        if not self._hears_all:
            self._health.drop("other-stream", text)
        self._health.degrade_for(_NAMED_FOR_S, f"several on {self._topic}", text)

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
            self._begin(gid, now_s)
        else:
            self._heard[gid].again(now_s)
        is_kin = self._is_kin(gid)
        first = next(iter(self._heard))
        if is_kin is False or (is_kin is None and first != gid and self._is_heard_before(gid, now_s)):
            return False
        self._followed = gid
        return True

    def _is_kin(self, gid: bytes) -> bool | None:
        """Return whether a publisher is of the process followed beside; None where nothing of that one was heard."""
        process = b"" if self._beside is None else self._beside._followed[:_PROCESS_BYTES]
        if not process:
            return None
        if gid[:_PROCESS_BYTES] == process:
            self._kin_of = process
            return True
        return False if self._kin_of == process else None

    def _begin(self, gid: bytes, now_s: float) -> None:
        """Take note of one that was not heard before."""
        while len(self._heard) >= _MOST_KNOWN:
            others = [each for each in self._heard if each != self._followed]
            del self._heard[min(others, key=lambda each: self._heard[each].at_s)]
        if not self._home and self._node.count_publishers(self._topic) <= 1:
            self._home = gid
        self._heard[gid] = _Heard(now_s)
        self._looked_s = -_LOOK_EVERY_S  # it may have come in the place of one that is gone

    def _is_heard_before(self, gid: bytes, now_s: float) -> bool:
        """Return whether somebody else goes on who was heard first."""
        self._forget_gone(gid, now_s)
        for other, heard in self._heard.items():
            if other == gid:
                return False
            if heard.goes_on(now_s):
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
