"""Of several memories that answer, the one that answered is kept to: what two of them hold is never mixed."""

from __future__ import annotations

import math
from time import monotonic

from rclpy.node import Node

from wm_ros.duplicates import rival_servers
from wm_ros.health import Health

# The one kept to may be silent for so long before another one is taken.
_KEPT_S = 3.0
_MOST_NAMED = 5


class OneMemory:
    """Tells answers of the memory kept to from those of another one, which is named.

    A restart, or another one where the former is gone, is taken at once.

    Args:
        node: Who looks around for memories.
        health: Where another one is named.
    """

    def __init__(self, node: Node, health: Health) -> None:
        self._node, self._health = node, health
        self._epoch = 0
        self._of_it_s = self._other_s = -math.inf

    def takes(self, epoch: int, service: str, what: str) -> bool:
        """Return whether an answer is of the memory kept to; the first one, and one that is alone, becomes that.

        Args:
            epoch: Of the memory that answered; 0: it does not say, and is believed.
            service: That was asked.
            what: Answers of it, as ``WHAT_of_another_memory`` counts them.
        """
        now_s = monotonic()
        if epoch and self._epoch not in (0, epoch) and now_s - self._of_it_s < _KEPT_S:
            servers = rival_servers(self._node, self._node.resolve_service_name(service))
            if servers:
                self._other_s = now_s
                self._health.count(f"{what}_of_another_memory")
                text = f"{len(servers)} memories answer ({', '.join(servers[:_MOST_NAMED])}): kept to the one held"
                self._health.degrade("memories", text, cause="two")
                return False
        if epoch:
            self._epoch, self._of_it_s = epoch, now_s
        if math.isfinite(self._other_s) and now_s - self._other_s > _KEPT_S:
            self._health.degrade("memories", None)
        return True
