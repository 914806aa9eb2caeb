"""Types as peers ask a node for them: rcl logs a question that names none, whole and each time."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from wm_ros.bounded import NO_LIMITS, bound_service, refusing

_HASH = re.compile(r"RIHS01_[0-9a-f]{64}")


def refuse_no_types(node: Node) -> None:
    """Have a node answer by itself who asks it for the description of what can be no type.

    Args:
        node: Was just made; one of a distribution that describes no types is left as it is.
    """
    for service in node.services:
        if service.srv_type.__name__ == "GetTypeDescription":
            service.callback = refusing(_refusing_no_hash(service.callback), lambda _: None)
            bound_service(service, NO_LIMITS)


def _refusing_no_hash(callback: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def answer(request: Any, response: Any) -> Any:
        if _HASH.fullmatch(request.type_hash):
            return callback(request, response)
        response.failure_reason = "type_hash is no hash of a type, expected RIHS01_ and 64 hexadecimal digits"
        return response

    return answer
