"""A thread that waits for what seldom becomes ready, so that the thread that serves need not name it in every wait."""

from __future__ import annotations

from collections.abc import Callable
from threading import Semaphore, Thread
from typing import Any, Generic, TypeVar

from rclpy.context import Context
from rclpy.guard_condition import GuardCondition

Ready = TypeVar("Ready")


class Lookout(Generic[Ready]):
    """Waits once each time that it is sent, and calls when something is ready; nothing is served on its thread.

    All methods are for the thread that serves.

    Args:
        context: Of what is waited for.
        call: Called on the lookout's thread when something is ready: wakes the thread that serves.
    """

    def __init__(self, context: Context, call: Callable[[], None]) -> None:
        self._call = call
        self._back = GuardCondition(None, None, context=context)
        self._go, self._done = Semaphore(0), Semaphore(0)
        self._wait: Callable[[Any], list[Ready]] | None = None
        self._found: list[Ready] = []
        self._thread: Thread | None = None
        self._error: RuntimeError | None = None
        self._is_out = False

    @property
    def is_out(self) -> bool:
        """Whether it was sent, and its answer was not heard yet."""
        return self._is_out

    def send(self, wait: Callable[[Any], list[Ready]]) -> None:
        """Have something waited for; not while it is out.

        Args:
            wait: Waits on the lookout's thread until anything is ready, or the guard condition that it is given, and
                returns what is.
        """
        if self._thread is None:
            self._thread = Thread(target=self._run, name="lookout", daemon=True)
            self._thread.start()
        self._wait, self._is_out = wait, True
        self._go.release()

    def hear(self) -> list[Ready]:
        """Return what became ready since it was sent; empty as long as nothing did.

        Raises:
            RuntimeError: ROS could not wait.
        """
        if not (self._is_out and self._done.acquire(blocking=False)):
            return []
        self._is_out = False
        if self._error is not None:
            raise self._error
        return self._found

    def call_back(self) -> None:
        """Wait until nothing is waited for any more; what is ready will be so when it is sent again."""
        if self._is_out:
            self._back.trigger()
            self._done.acquire()
            self._is_out = False

    def close(self) -> None:
        """Call it back for good."""
        self.call_back()
        if self._thread is not None:
            self._wait = None
            self._go.release()
            self._thread.join()
            self._thread = None
        self._back.destroy()

    def _run(self) -> None:
        while True:
            self._go.acquire()
            if self._wait is None:
                return
            self._found, self._error = [], None
            try:
                self._found = self._wait(self._back.handle)
            except RuntimeError as error:
                self._error = error
            has_news = bool(self._found) or self._error is not None
            self._done.release()
            if has_news:
                self._call()
