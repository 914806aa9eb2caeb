"""Changes of a memory as a whole: they are made off the executor, and what comes in waits for their end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class WholeChanges:
    """Knows whether the whole memory is being changed.

    Args:
        later: Runs work on the thread that waits for the disk; returns a future of its result, or of the expected error
            it ended with.
        changed: Called when the whole memory is another.
        ended: Called on that thread after a change, or a copy, of the whole memory, however it went.

    Attributes:
        later: As given.
        under_way: Changes that have begun and not ended.
    """

    def __init__(self, later: Callable[..., Any], changed: Callable[[], None], ended: Callable[[], object]) -> None:
        self.later, self._changed, self._ended = later, changed, ended
        self.under_way = 0

    def make(self, change: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a change of the whole memory returns, called on that thread."""
        self.under_way += 1
        try:
            result = change(*arguments)
        finally:
            self.under_way -= 1
            self._ended()
        self._changed()
        return result

    def copied(self, copy: Callable[..., Any], *arguments: Any) -> Any:
        """Return what copying the whole memory returns, called on that thread; it goes on answering meanwhile."""
        try:
            return copy(*arguments)
        finally:
            self._ended()
