"""Errors of the ROS layer.

``ConfigurationError`` and its kin stop a node at start with one line and exit code 2; ``MessageError`` costs one
message, which is counted under its ``reason``.
"""

from __future__ import annotations


class ConfigurationError(ValueError):
    """What the node was given cannot work: said in one line, exit code 2."""


class ParameterError(ConfigurationError):
    """A parameter is misspelt, of the wrong type or out of range."""


class MessageError(ValueError):
    """A message cannot be used.

    Args:
        reason: Short kebab-case name, the same for all messages with this fault; counters use it.
        detail: What was found, what was expected, with units.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
