"""What an answer says that refuses, whatever service it is of."""

from __future__ import annotations

from typing import Any


def refused(response: Any, text: str, reason: str = "") -> Any:
    """Returns an answer after saying in it that nothing was done, and why, where it has fields for that."""
    if hasattr(response, "success"):
        response.success = False
    for name, words in (("message", text), ("reason", reason)):
        if isinstance(getattr(response, name, None), str):
            setattr(response, name, words)
    return response
