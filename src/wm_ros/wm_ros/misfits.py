"""Peers whose quality of service does not fit a node's own, so that nothing passes between them."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.topic_endpoint_info import TopicEndpointInfo

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:
    # As Humble calls it.
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

_EVERY_S = 2.0
_MOST_NAMED = 3


class MisfitWatch:
    """Names who publishes or hears a node's topics in a way that the middleware cannot connect, while they are there.

    The middleware tells that there is one; only then the graph is asked who it is.

    Args:
        node: Whose topics.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._heard, self._published = set[str](), set[str]()
        self._next_s = 0.0
        self._told: str | None = None

    def of_subscription(self, topic: str) -> SubscriptionEventCallbacks:
        """Return what a subscription is to be made with.

        Args:
            topic: As it is subscribed.
        """
        return SubscriptionEventCallbacks(incompatible_qos=lambda _: self._suspect(self._heard, topic))

    def of_publisher(self, topic: str) -> PublisherEventCallbacks:
        """Return what a publisher is to be made with.

        Args:
            topic: As it is published.
        """
        return PublisherEventCallbacks(incompatible_qos=lambda _: self._suspect(self._published, topic))

    def _suspect(self, topics: set[str], topic: str) -> None:
        topics.add(self._node.resolve_topic_name(topic))
        self._next_s = 0.0

    def complaint(self) -> str | None:
        """Return who cannot be heard, or cannot hear, and why; None: nobody."""
        if (self._heard or self._published) and monotonic() >= self._next_s:
            self._next_s = monotonic() + _EVERY_S
            found = [*self._unheard(), *self._unserved()]
            more = f"; and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
            self._told = "; ".join(found[:_MOST_NAMED]) + more or None
        return self._told

    def _unheard(self) -> Iterable[str]:
        for topic, own in _own(self._node.subscriptions, self._heard):
            for info in self._node.get_publishers_info_by_topic(topic):
                if why := _why_not(info.qos_profile, own):
                    yield f"nothing is heard of {_name(info)}, which publishes {topic}: {why}"

    def _unserved(self) -> Iterable[str]:
        for topic, own in _own(self._node.publishers, self._published):
            for info in self._node.get_subscriptions_info_by_topic(topic):
                if why := _why_not(own, info.qos_profile):
                    yield f"nothing is sent to {_name(info)}, which hears {topic}: {why}"


def _own(entities: Iterable[Any], topics: set[str]) -> Iterable[tuple[str, QoSProfile]]:
    """Yield topic and quality of service of those entities whose topic is one of some."""
    return [(each.topic_name, each.qos_profile) for each in entities if each.topic_name in topics]


def _why_not(offered: QoSProfile, requested: QoSProfile) -> str:
    """Return why what is offered is less than what is requested; "" where it is not."""
    compatibility, reason = qos_check_compatible(offered, requested)
    return reason.removeprefix("ERROR: ").strip("; ") if compatibility == QoSCompatibility.ERROR else ""


def _name(info: TopicEndpointInfo) -> str:
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"
