"""Long work that lets the other threads of the process go on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import monotonic, sleep
from typing import TypeVar

Item = TypeVar("Item")
_SLICE_S = 0.001


def giving_way(items: Iterable[Item]) -> Iterator[Item]:
    """Yields items, and lets the other threads work for as long as was worked here, every millisecond."""
    begin_s = monotonic()
    for item in items:
        yield item
        worked_s = monotonic() - begin_s
        if worked_s >= _SLICE_S:
            sleep(min(worked_s, 0.01))
            begin_s = monotonic()
