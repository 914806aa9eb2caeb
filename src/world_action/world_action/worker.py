"""A thread that works on the newest item only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Condition, Thread
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class LatestWorker(Generic[ItemT, ResultT]):
    """Run ``work`` on its own thread; an item that arrives while another waits replaces it.

    Args:
        work: Called on the worker's thread, one item at a time.
        announce: Called on the worker's thread after a result (or an error) became ready for ``collect``.
        prepare: Called once on the worker's thread before the first item.
    """

    def __init__(
        self,
        work: Callable[[ItemT], ResultT],
        announce: Callable[[], None],
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self._work = work
        self._announce = announce
        self._prepare = prepare
        self._changed = Condition()
        self._waiting: deque[ItemT] = deque(maxlen=1)
        self._results: deque[ResultT] = deque()
        self._error: BaseException | None = None
        self._stopped = False
        self._thread = Thread(target=self._run, name="world_action", daemon=True)
        self._thread.start()

    def submit(self, item: ItemT) -> bool:
        """Hand over an item without waiting; return whether it replaced one that was still waiting."""
        with self._changed:
            replaced = bool(self._waiting)
            self._waiting.append(item)
            self._changed.notify()
            return replaced

    def collect(self) -> list[ResultT]:
        """Return the results since the last call, oldest first.

        Raises:
            BaseException: Whatever ``work`` raised: the worker has stopped.
        """
        with self._changed:
            if self._error is not None:
                raise self._error
            results = list(self._results)
            self._results.clear()
            return results

    def stop(self, timeout_s: float = 2.0) -> None:
        """End the thread after the item in hand; return when it has ended or after ``timeout_s``."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _next(self) -> ItemT | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or bool(self._waiting))
            return None if self._stopped else self._waiting.popleft()

    def _run(self) -> None:
        try:
            self._prepare()
            while (item := self._next()) is not None:
                result = self._work(item)
                with self._changed:
                    self._results.append(result)
                self._announce()
        except BaseException as error:  # a bug: carried to the thread that collects, which stops the node
            with self._changed:
                self._error = error
                stopped = self._stopped
            if not stopped:
                self._announce()
