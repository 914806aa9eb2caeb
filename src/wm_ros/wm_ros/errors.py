"""Errors of the ROS layer.

``ConfigurationError`` and its kin stop a node at start with one line and exit code 2; ``MessageError`` costs one
message, which is counted under its ``reason``.
"""

from __future__ import annotations

from wm_core.errors import MessageError

__all__ = ["ConfigurationError", "MessageError", "ParameterError"]


class ConfigurationError(ValueError):
    """What the node was given cannot work: said in one line, exit code 2."""


class ParameterError(ConfigurationError):
    """A parameter is misspelt, of the wrong type or out of range."""
