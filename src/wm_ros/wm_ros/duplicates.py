"""Two of a kind in one graph: whatever should be there once, and is there twice, is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from time import monotonic

from rclpy.node import Node, NodeNameNonExistentError

from wm_ros.saying import clipped

_SHARED = {"/diagnostics", "/rosout", "/parameter_events", "/clock", "/tf", "/tf_static"}
_OURS = "wm_interfaces"
_EVERY_S = 2.0
_MOST_NAMED = 5
# With what the log puts around it, and " (... characters)", no more than a line may have of other nodes' names.
_MOST_CHARACTERS = 150


def duplicates_of(node: Node) -> str | None:
    """Return what of a node another one has as well: name, topics, services; None: nothing.

    Args:
        node: Who looks around.
    """
    return _bounded([*_names(node), *_topics(node), *_services(node)]) or None


def _bounded(found: list[str]) -> str:
    """Return the first of what was found, of which a line of a log has room, and how many more there are."""
    said = clipped(found[0], _MOST_CHARACTERS) if found else ""
    for at, text in enumerate(found[1:], 1):
        if len(said) + len(text) > _MOST_CHARACTERS:
            return f"{said}; and {len(found) - at} more"
        said += f"; {text}"
    return said


def _names(node: Node) -> Iterable[str]:
    names = Counter(f"{space.rstrip('/')}/{name}" for name, space in node.get_node_names_and_namespaces())
    mine = node.get_fully_qualified_name()
    if names[mine] > 1:
        yield f"{names[mine]} nodes are called {mine}: two graphs in one domain? Give one another namespace"


def _topics(node: Node) -> Iterable[str]:
    ours = {each.topic_name for each in node.publishers} - _SHARED
    ours |= {each.topic_name for each in node.subscriptions if each.msg_type.__module__.startswith(_OURS)}
    for topic in sorted(ours):
        infos = node.get_publishers_info_by_topic(topic)
        if len(infos) > 1:
            names = sorted(f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos)
            yield f"{topic} has {len(infos)} publishers: {', '.join(names[:_MOST_NAMED])}"


def _services(node: Node) -> Iterable[str]:
    """Yield what several nodes answer of what this one serves, or asks of our own."""
    prefix = f"{node.get_fully_qualified_name()}/"
    served = [(node.resolve_service_name(each.srv_name), each.srv_type) for each in node.services]
    asked = [(node.resolve_service_name(each.srv_name), each.srv_type) for each in node.clients]
    names = {name for name, kind in served if not name.startswith(prefix) or _is_ours(kind)}
    for name in sorted(names | {name for name, kind in asked if _is_ours(kind)}):
        servers = rival_servers(node, name)
        if servers:
            text = ", ".join(servers[:_MOST_NAMED])
            yield f"{len(servers)} nodes answer {name}: {text}; whose answer comes is chance"


def _is_ours(kind: type) -> bool:
    return _OURS in kind.__module__


def rival_servers(node: Node, service: str) -> list[str]:
    """Return which nodes serve a service, one of a name as often as there are such; none where fewer than two do.

    Args:
        node: Who looks around.
        service: Full name.
    """
    count = getattr(node, "count_services", None)  # not in Humble
    if count is not None and count(service) < 2:
        return []
    found = []
    for name, space in node.get_node_names_and_namespaces():
        try:
            served = node.get_service_names_and_types_by_node(name, space)
        except NodeNameNonExistentError:  # has just gone
            continue
        if any(each == service for each, _ in served):
            found.append(f"{space.rstrip('/')}/{name}")
    return sorted(found) if len(found) > 1 else []


class DuplicateWatch:
    """Looks for two of a kind every other second; what is seen once only may be a node that has just gone.

    Args:
        node: Who looks around.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._next_s = 0.0
        self._seen: str | None = None
        self._told: str | None = None

    def complaint(self) -> str | None:
        """Return what is there twice, and was so the last time, too; None: nothing."""
        if monotonic() >= self._next_s:
            self._next_s = monotonic() + _EVERY_S
            seen = duplicates_of(self._node)
            self._told, self._seen = (seen if self._seen else None), seen
        return self._told
