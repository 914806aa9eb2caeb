"""The one place that catches everything: an unexpected error ends the message that caused it, and nothing else.

An executor made by ``dispatching_executor`` hands each such error to the node whose callback it was (``fault``). For
who is not ``FaultTolerant`` the log speaks.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, runtime_checkable

from rclpy.executors import Executor, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.logging import get_logger
from rclpy.node import Node

from wm_ros.lean_executor import LeanExecutor
from wm_ros.saying import Seldom, place_of, traceback_of

_REFUSAL = "internal error, see the node's log"


@runtime_checkable
class FaultTolerant(Protocol):
    """A node that takes note of its own unexpected errors."""

    def fault(self, error: Exception) -> None:
        """Takes note of an error that one of its callbacks ended with."""


class _Outcome:
    """A ready callback: the executor runs it, and never sees how it ended."""

    def __init__(self, task: Any, entity: Any, owner: object, context: Any) -> None:
        self._task, self._entity, self._owner, self._context = task, entity, owner, context
        self._is_told = False

    def __call__(self) -> None:
        self._task()
        if not self._task.done() or self._is_told:
            return
        self._is_told = True
        error = self._task.exception()
        if error is None:
            return
        _let_go(self._entity)
        _blame(self._owner, error, self._context)

    def done(self) -> bool:
        """As a future's."""
        return bool(self._task.done())

    def exception(self) -> None:
        """As a future's: told already."""

    def result(self) -> None:
        """As a future's."""


class _Dispatching(Executor):
    """Executor whose callbacks cannot end it; mixed into rclpy's."""

    def wait_for_ready_callbacks(self, *args: Any, **kwargs: Any) -> Any:
        """Returns what is ready to run, behind the dispatcher."""
        task, entity, node = super().wait_for_ready_callbacks(*args, **kwargs)
        # What follows an answer is a task of nobody's; its callback knows whose it is.
        owner = node or getattr(getattr(task, "_handler", None), "__self__", None)
        return _Outcome(task, entity, owner, self.context), entity, node


class _SingleThreaded(_Dispatching, SingleThreadedExecutor):
    """On the thread that spins."""


class _Lean(_Dispatching, LeanExecutor):
    """On the thread that spins, at a third of the cost."""

    def _serve(self, entry: Any) -> None:
        try:
            super()._serve(entry)
        except Exception as error:
            _let_go(entry.entity)
            _blame(entry.node, error, self._context)

    def _run(self, task: Any) -> None:
        try:
            super()._run(task)
        except Exception as error:
            _blame(getattr(getattr(task, "_handler", None), "__self__", None), error, self._context)


class _MultiThreaded(_Dispatching, MultiThreadedExecutor):
    """On a pool."""


def dispatching_executor(threads: int = 1, context: Any = None) -> Executor:
    """Returns an executor that no callback can end.

    Args:
        threads: 1 for the single-threaded executor, more for a pool.
        context: Of ROS; the default one if None.
    """
    if threads == 1:
        return _Lean(context=context) if LeanExecutor.is_supported() else _SingleThreaded(context=context)
    return _MultiThreaded(num_threads=threads, context=context)


_SELDOM = Seldom()


def _let_go(entity: Any) -> None:
    """Frees the callback group that an error while a message is taken leaves occupied."""
    group = getattr(entity, "callback_group", None)
    if group is not None:
        with suppress(AssertionError, ValueError):
            group.ending_execution(entity)


def _blame(owner: object, error: Exception, context: Any) -> None:
    """Reports an error, unless what was destroyed while its callback was on its way, node or context, is its cause."""
    if context.ok() and not isinstance(error, rclpy_implementation.InvalidHandle):
        _report(owner, error)


def _report(owner: object, error: Exception) -> None:
    if isinstance(owner, FaultTolerant):
        owner.fault(error)
        return
    count = _SELDOM.count(f"{type(error).__name__} {place_of(error)}")
    if count:
        name = owner.get_name() if isinstance(owner, Node) else "dispatcher"
        get_logger(name).error(f"a callback failed ({count} times since last said):\n{traceback_of(error)}")


def answering(node: FaultTolerant, callback: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Returns a service's callback that answers whatever happens.

    An unexpected error is the node's fault, and the answer then says so where it has ``success`` and ``message``; else
    it is empty.

    Args:
        node: Who serves.
        callback: Takes request and response, returns the response or a coroutine of it.
    """

    async def answer(request: Any, response: Any) -> Any:
        try:
            result = callback(request, response)
            return await result if inspect.isawaitable(result) else result
        except Exception as error:
            node.fault(error)
        refusal = type(response)()
        if hasattr(refusal, "success") and hasattr(refusal, "message"):
            refusal.success, refusal.message = False, _REFUSAL
        return refusal

    return answer
