"""Between a robot and the graph: what the sensors send goes on as it comes, late, again, or by another clock."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

from wm_ros import stamp_msg, stamp_ns

Publish = Callable[[Any], Any]
_REMEMBERED, _SHUFFLED = 60, 6


class Relay:
    """Hands stamped messages on.

    Args:
        rng: Decides on the order where that is to be another.

    Attributes:
        offset_ns: How far the sensors' clock is off, added to every stamp [ns].
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.offset_ns = 0
        self._recent: deque[tuple[Publish, Any]] = deque(maxlen=_REMEMBERED)
        self._held: list[tuple[Publish, Any]] = []
        self._loop: Iterator[tuple[Publish, Any]] | None = None
        self._way: Callable[[Publish, Any], None] = self._straight

    def take(self, publish: Publish, msg: Any) -> None:
        """Take a message of the robot's, and hand on what is due.

        Args:
            publish: Where it goes.
            msg: With a header.
        """
        msg.header.stamp = stamp_msg(stamp_ns(msg.header.stamp) + self.offset_ns)
        self._way(publish, msg)

    def straight(self) -> None:
        """Hand on what was held back, and everything as it comes from now on."""
        held, self._held = self._held, []
        for publish, msg in held:
            publish(msg)
        self._way = self._straight

    def delay(self) -> None:
        """Hold everything back until ``straight``."""
        self._way = self._hold

    def loop(self) -> None:
        """Play the last messages again and again, stamps and all, in the place of what comes."""
        if self._recent:
            self._loop = cycle(list(self._recent))
            self._way = self._again

    def shuffle(self) -> None:
        """Send each message twice, and a few at a time in another order."""
        self._way = self._mix

    def _straight(self, publish: Publish, msg: Any) -> None:
        self._recent.append((publish, msg))
        publish(msg)

    def _hold(self, publish: Publish, msg: Any) -> None:
        self._held.append((publish, msg))

    def _again(self, _publish: Publish, _msg: Any) -> None:
        assert self._loop is not None
        publish, msg = next(self._loop)
        publish(msg)

    def _mix(self, publish: Publish, msg: Any) -> None:
        self._held += [(publish, msg), (publish, msg)]
        if len(self._held) >= _SHUFFLED:
            held, self._held = self._held, []
            self._rng.shuffle(held)
            for each, of in held:
                each(of)
