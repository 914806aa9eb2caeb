"""Publishes ``/spatial_memory/markers``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from spatial_memory.drawing.picture import MOST_MEMORIES, TRAIL_MEMORIES, Picture, retrieval_of
from wm_core.memory.protocol import Memory
from wm_core.memory.query import Matches, Place
from wm_ros.markers import MarkerSheet

_LEAST_HZ = 1e-4


class Drawing:
    """Shows what a memory holds, whatever run it comes from, while somebody watches.

    Args:
        node: Publishes.
        memory: The memory.
        picture: What is shown of it.
        last: Returns what was asked last, and the answer.
    """

    def __init__(
        self, node: Node, memory: Memory, picture: Picture, last: Callable[[], tuple[Place | None, Matches]]
    ) -> None:
        self._memory, self._picture, self._last = memory, picture, last
        self._sheet = MarkerSheet(node, "spatial_memory/markers")
        self._under_way: Future[Any] | None = None

    def begin(
        self, node: Node, later: Callable[[Callable[[], Any]], Future[Any]], how: Callable[[], tuple[str, str]]
    ) -> None:
        """Draw from now on.

        Args:
            node: Owns the timer.
            later: Runs work off the executor.
            how: Returns how to colour, and the frame of a memory that has none.
        """

        def draw() -> None:
            if self._sheet.is_watched and (self._under_way is None or self._under_way.done()):
                self._under_way = later(lambda: self._draw(*how()))

        self.timer = node.create_timer(1.0, draw, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def pace(self, rate_hz: float) -> None:
        """Draw so often [Hz]; 0: not at all."""
        if rate_hz > 0:
            # Nanoseconds between two of a rate next to none are more than a timer can count.
            self.timer.timer_period_ns = int(1e9 / max(rate_hz, _LEAST_HZ))
            self.timer.reset()
        else:
            self.timer.cancel()

    def _draw(self, color: str, frame_id: str) -> None:
        asked, matches = self._last()
        overview = self._memory.overview(MOST_MEMORIES, TRAIL_MEMORIES)
        shapes = self._picture.shapes(overview, retrieval_of(asked, matches.records), color)
        self._sheet.show(shapes, overview.frame_id or frame_id)
