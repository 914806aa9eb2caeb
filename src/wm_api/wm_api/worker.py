"""A bounded place for what would hold up the event loop: a queue that refuses rather than grows."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import ParamSpec, TypeVar

from wm_api.errors import UnavailableError

P = ParamSpec("P")
T = TypeVar("T")
_MOST_RETRY_S = 30


class Worker:
    """Runs functions on its own threads, a bounded number of them at a time.

    Args:
        name: Of its threads, and in refusals.
        most: Functions that wait or run at a time.
        threads: How many run at once; 1 keeps what is not thread-safe from itself.

    Attributes:
        refused_count: Functions that found the queue full.
    """

    def __init__(self, name: str, most: int, threads: int = 1) -> None:
        self._name, self._most = name, most
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._held_count = 0
        self._usual_s = 0.01
        self.refused_count = 0

    @property
    def held_count(self) -> int:
        """Functions that wait or run."""
        return self._held_count

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a function returns; one whose caller goes before it begins is never run.

        Raises:
            UnavailableError: The queue is full.
        """
        with self._lock:
            if self._held_count >= self._most:
                self.refused_count += 1
                raise UnavailableError(f"{self._held_count} computations wait for {self._name}", self._retry_after_s())
            self._held_count += 1
        future: Future[T] = self._executor.submit(self._timed, function, args, kwargs)
        future.add_done_callback(self._release)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Drop what waits, and return when what runs is done."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _timed(self, function: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]) -> T:
        begin_s = perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            self._usual_s += 0.1 * (perf_counter() - begin_s - self._usual_s)

    def _release(self, _: Future[T]) -> None:
        with self._lock:
            self._held_count -= 1

    def _retry_after_s(self) -> int:
        return min(max(math.ceil(self._held_count * self._usual_s), 1), _MOST_RETRY_S)
