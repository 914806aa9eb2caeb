"""Why nothing comes on a topic: who publishes what on it, and which other topics carry what is missing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo

from wm_core.sources import OWN_TOPICS

_MOST_NAMED = 5


def why_silent(node: Node, topics: Sequence[str], kinds: Collection[str], what: str, remap: str = "") -> str:
    """Returns in words why nothing comes on a topic and what would help.

    Args:
        node: Who listens.
        topics: Resolved names of the topics that are listened to; the first is what remapping would name.
        kinds: Message types that could be taken.
        what: What they carry, in the plural: "images".
        remap: Name of the topic in remapping rules; "" advises none.
    """
    offers = {topic: node.get_publishers_info_by_topic(topic) for topic in topics}
    others = [other for other in topics_of(node, kinds) if other not in topics]
    advice = f"topics with {what}: {', '.join(others[:_MOST_NAMED])}" if others else f"no topic carries {what}"
    advice += f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
    if others and remap:
        advice += f"; to take one: -r {remap}:={others[0]}"
    if not any(offers.values()):
        return f"nobody publishes {topics[0]}; {advice}"
    named = "; ".join(_who(topic, infos, kinds) for topic, infos in offers.items() if infos)
    return f"{named}{f'; {advice}' if others else ''}"


def _who(topic: str, infos: Sequence[TopicEndpointInfo], kinds: Collection[str]) -> str:
    """Returns who publishes on a topic, and whether it could be taken."""
    names = sorted({f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos})
    types = {info.topic_type for info in infos}
    text = f"{' and '.join(names)} {'publish' if len(names) > 1 else 'publishes'} {topic}"
    if types & set(kinds):
        return f"{text} and send{'' if len(names) > 1 else 's'} nothing: is there any input?"
    return f"{text} as {' and '.join(sorted(types))}, which is not taken here"


def topics_of(node: Node, kinds: Collection[str]) -> list[str]:
    """Returns the topics of some types that somebody else publishes, sorted; without what the graph itself says."""
    own = {name for name, _ in node.get_publisher_names_and_types_by_node(node.get_name(), node.get_namespace())}
    found = [topic for topic, types in node.get_topic_names_and_types() if set(types) & set(kinds)]
    return sorted(
        topic for topic in found if topic not in own and not topic.endswith(OWN_TOPICS) and node.count_publishers(topic)
    )
