"""What every storage format gives: channels, counts, and messages in the order of their recording."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from wm_core.bags.errors import Damage


@dataclass(frozen=True)
class Channel:
    """One topic as one file has it.

    Attributes:
        topic: Name.
        type: Type as ``package/msg/Name``.
        definition: Its definition, "" when the recorder had none.
        definition_format: ``ros2msg``, ``ros2idl`` or "".
        serialization: ``cdr``, or what a recorder of something else wrote.
    """

    topic: str
    type: str
    definition: str = ""
    definition_format: str = ""
    serialization: str = "cdr"


@dataclass(frozen=True, slots=True)
class Stored:
    """One message as stored: when it was recorded [ns], by which channel, its bytes, and that time made steady [ns]."""

    time_ns: int
    channel: Channel
    data: bytes
    steady_ns: int


class Unwrapped:
    """The recorder's clock made steady: where it was set back while it recorded, time goes on instead.

    A step shows in one topic whose messages, in the order of their writing, lie more than a second before the last one;
    a file that was written topic by topic shows none.
    """

    def __init__(self) -> None:
        self._last_of: dict[int, int] = {}
        self._last_ns = self._offset_ns = 0
        self.steps = 0

    def steady_ns(self, channel: int, time_ns: int) -> int:
        """Returns the steady time of the next message as written."""
        if self._last_of.get(channel, time_ns) - time_ns > STEP_NS:
            self.steps += 1
            self._offset_ns += self._last_ns - time_ns
            self._last_of.clear()
        self._last_of[channel] = self._last_ns = time_ns
        return time_ns + self._offset_ns


class Storage(Protocol):
    """One file of a recording.

    Attributes:
        channels: All topics in it.
        counts: Messages of each channel that it claims to hold.
        start_ns: Time of the first message, None without any [ns].
        end_ns: Time of the last message, None without any [ns].
        damages: What could not be read so far; reading may add to it.
    """

    channels: list[Channel]
    counts: dict[Channel, int]
    start_ns: int | None
    end_ns: int | None
    damages: list[Damage]

    def messages(self, topics: frozenset[str]) -> Iterator[Stored]:
        """Yields the messages of some topics in the order of their times, equal ones as they were written."""


STEP_NS = 1_000_000_000
"""A clock that goes back by more was set."""
ItemT = TypeVar("ItemT")


def in_time_order(
    sources: Sequence[tuple[int, Callable[[], Iterator[ItemT]]]], time_of: Callable[[ItemT], int]
) -> Iterator[ItemT]:
    """Yields what several ordered sources hold in one order, opening each no earlier than needed.

    Items of equal times come in the order of their sources.

    Args:
        sources: (time from which it may have items, what opens it); each gives its items in order.
        time_of: Time of an item.
    """
    waiting = sorted(((start, index) for index, (start, _) in enumerate(sources)), reverse=True)
    heads: list[tuple[int, int, ItemT, Iterator[ItemT]]] = []
    while waiting or heads:
        while waiting and (not heads or waiting[-1][0] <= heads[0][0]):
            index = waiting.pop()[1]
            _advance(heads, index, sources[index][1](), time_of)
        if heads:
            _, index, item, rest = heapq.heappop(heads)
            yield item
            _advance(heads, index, rest, time_of)


def _advance(
    heads: list[tuple[int, int, ItemT, Iterator[ItemT]]],
    index: int,
    rest: Iterator[ItemT],
    time_of: Callable[[ItemT], int],
) -> None:
    item = next(rest, None)
    if item is not None:
        heapq.heappush(heads, (time_of(item), index, item, rest))
