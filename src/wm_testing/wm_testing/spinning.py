"""Nodes of one test, spun by a thread of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rclpy.node import Node

from wm_ros.dispatcher import dispatching_executor
from wm_testing.system import wait_until


class Spinning:
    """Nodes on the executor that nodes run on.

    Args:
        threads: Of the executor.
        longest_s: How long anything is waited for.
    """

    def __init__(self, threads: int = 1, longest_s: float = 60.0) -> None:
        self.executor, self._longest_s = dispatching_executor(threads), longest_s
        self._pool = ThreadPoolExecutor(1)

    def start(self, nodes: Iterable[Node]) -> None:
        """Begin to spin."""
        for node in nodes:
            self.executor.add_node(node)
        self.future = self._pool.submit(self.executor.spin)

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait for something, as long as the nodes go on.

        Raises:
            AssertionError: It did not come true in time, or the nodes ended.
        """
        wait_until(lambda: bool(condition()) or self.future.done(), self._longest_s)
        assert not self.future.done(), self.future.result()

    def wait(self, future: Any) -> Any:
        """Return a future's result."""
        self.until(future.done)
        return future.result()

    def close(self) -> None:
        """Stop spinning; the nodes are left to their owner."""
        self.executor.shutdown()
        self._pool.shutdown()
