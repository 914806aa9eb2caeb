"""How long ago something was for a node: by the clock that it follows, as long as that goes on."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from rclpy.clock import ROSClock
from rclpy.node import Node

_STANDS_S = 2.0


@dataclass(frozen=True)
class Moment:
    """When something was: on the steady clock [s], and by the clock that the node followed [ns]; None: none."""

    steady_s: float
    followed_ns: int | None


class Present:
    """The present of one node.

    Under ``/clock`` what is expected comes as slowly as that goes on. One that stands still tells nothing: real time
    counts.

    Args:
        node: Whose.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._moved = self._looked = self.now()
        self._lived_s = 0.0

    def now(self) -> Moment:
        """Returns the present."""
        clock = self._node.get_clock()
        follows = isinstance(clock, ROSClock) and clock.ros_time_is_active
        return Moment(monotonic(), clock.now().nanoseconds if follows else None)

    def look(self) -> None:
        """Notices whether the clock goes on; to be called every now and then."""
        now = self.now()
        if now.followed_ns is None or now.followed_ns != self._moved.followed_ns:
            self._moved = now

    def lived_s(self) -> float:
        """Returns the time that has passed for the node [s], never less than before; a clock set back does not count.

        To be asked every now and then: of a clock that stood still meanwhile real time counts.
        """
        self._lived_s += self.elapsed_s(self._looked)
        self._looked = self.now()
        self.look()
        return self._lived_s

    def elapsed_s(self, since: Moment) -> float:
        """Returns how long ago a moment was [s]."""
        now = self.now()
        real_s = now.steady_s - since.steady_s
        # At 0 a clock has not begun: its first time would be years later.
        if not now.followed_ns or not since.followed_ns or self._standing_s(now) > _STANDS_S:
            return real_s
        followed_s = (now.followed_ns - since.followed_ns) * 1e-9
        # Set back, it tells nothing of what was before.
        return followed_s if followed_s >= 0.0 else real_s

    def complaint(self) -> str | None:
        """Returns that the clock stands still and what would help; None: it goes on, or none is followed."""
        now = self.now()
        if now.followed_ns is None or self._standing_s(now) <= _STANDS_S:
            return None
        topic = self._node.resolve_topic_name("/clock")
        publishes = "is it paused" if self._node.count_publishers(topic) else "nobody publishes it"
        return f"{topic}, which is followed (use_sim_time), stands still: {publishes}"

    def _standing_s(self, now: Moment) -> float:
        return now.steady_s - self._moved.steady_s if now.followed_ns == self._moved.followed_ns else 0.0
