"""What all tables that are read by record share: rows that are not committed yet, and those that were found damaged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

Read = Callable[..., list[tuple[Any, ...]]]
"""Returns all committed rows of a query with its values."""
RecentT = TypeVar("RecentT")


class Recent(Generic[RecentT]):
    """Rows of a table by record, kept in RAM until they are committed.

    Args:
        read: Returns all committed rows of a query with its values.
        name: What to call the file.
    """

    def __init__(self, read: Read, name: str) -> None:
        self._read, self._name = read, name
        self._damaged: set[int] = set()
        self._recent: dict[int, RecentT] = {}
        self._guard = threading.Lock()

    def forget(self, ids: Sequence[int]) -> None:
        """Return nothing of some records from RAM any more."""
        with self._guard:
            for record_id in ids:
                self._recent.pop(record_id, None)

    def forget_all(self) -> None:
        """Return nothing from RAM any more."""
        with self._guard:
            self._recent.clear()

    def renew(self) -> None:
        """Take note that the whole table is another one."""
        with self._guard:
            self._recent.clear()
        self._damaged.clear()
