"""Work that takes long, on a thread of its own, awaited by callbacks of an executor."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future as Done
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

from rclpy.executors import Executor
from rclpy.task import Future

from wm_ros.errors import MessageError

ResultT = TypeVar("ResultT")
MOST_WAITING = 16
"""Things that wait for the thread; one more is refused."""


class LongWork:
    """A thread that does one thing after another, for coroutines of an executor.

    Args:
        name: Of the thread.
        waker: Returns the executor that runs the coroutines; asked each time.
        expected: Errors that are answers; others are faults.
    """

    def __init__(self, name: str, waker: Callable[[], Executor | None], *expected: type[Exception]) -> None:
        self._pool, self._waker, self._expected = ThreadPoolExecutor(1, thread_name_prefix=name), waker, expected
        self._lock, self._waiting = Lock(), 0

    def later(self, work: Callable[[], Any], *, is_own: bool = False) -> Future[Any]:
        """Returns a future of what ``work`` returns, or of the expected error it ends with.

        When too much waits already, that is a ``MessageError``, ``busy``, at once.

        Args:
            work: Called on the thread.
            is_own: It is the node's own, which peers that ask for too much must not keep from being done; whoever says
                so bounds how much there is of it.
        """
        future: Future[Any] = Future(executor=self._waker())
        with self._lock:
            if self._waiting >= MOST_WAITING and not is_own:
                future.set_result(
                    MessageError("busy", f"{self._waiting} requests are waiting already; ask again later")
                )
                return future
            self._waiting += 1
        self._pool.submit(work).add_done_callback(lambda done: self._tell(done, future))
        return future

    def _tell(self, done: Done[Any], future: Future[Any]) -> None:
        with self._lock:
            self._waiting -= 1
        is_given_up = done.cancelled()
        error = MessageError("stopped", "the node stopped before this was begun") if is_given_up else done.exception()
        if error is None or is_given_up or isinstance(error, self._expected):
            future.set_result(done.result() if error is None else error)
        else:
            future.set_exception(error)  # type: ignore[arg-type]
        executor = self._waker()
        if executor is not None:
            executor.wake()

    def submit(self, work: Callable[[], ResultT]) -> Done[ResultT]:
        """Returns the thread's own future of some work."""
        return self._pool.submit(work)

    def shutdown(self) -> None:
        """Waits until all is done."""
        self._pool.shutdown()

    def give_up(self) -> None:
        """Ends without waiting: what has not begun ends as a ``MessageError``, ``stopped``."""
        self._pool.shutdown(wait=False, cancel_futures=True)
