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

from wm_ros.lean_executor import Entry, LeanExecutor
from wm_ros.refusals import refused
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
        self._let_go()
        # What was destroyed while its callback was on its way, with the node or with all of ROS, is nobody's fault.
        if self._context.ok() and not isinstance(error, rclpy_implementation.InvalidHandle):
            _report(self._owner, error)

    def _let_go(self) -> None:
        """Frees the callback group that an error while a message is taken leaves occupied."""
        group = getattr(self._entity, "callback_group", None)
        if group is None:
            return
        with suppress(AssertionError, ValueError):
            group.ending_execution(self._entity)

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
        while True:
            try:
                task, entity, node = super().wait_for_ready_callbacks(*args, **kwargs)
            except rclpy_implementation.InvalidHandle:
                # Destroyed by another thread while it was being waited on: it is no longer listed the next time.
                continue
            break
        return _Outcome(task, entity, node or _owner(task), self.context), entity, node


class _SingleThreaded(_Dispatching, SingleThreadedExecutor):
    """On the thread that spins."""


class _Lean(_Dispatching, LeanExecutor):
    """On the thread that spins, where rclpy has what that builds on."""

    def _serve(self, entry: Entry) -> None:
        try:
            super()._serve(entry)
        except Exception as error:
            self._tell(entry.node, error)

    def _run(self, task: Any, node: Node | None) -> None:
        owner = node or _owner(task)
        try:
            super()._run(task, node)
        except Exception as error:
            self._tell(owner, error)

    def _tell(self, owner: object, error: Exception) -> None:
        # As for any other executor: what was destroyed on its way is nobody's fault.
        if self.context.ok() and not isinstance(error, rclpy_implementation.InvalidHandle):
            _report(owner, error)


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


def _owner(task: Any) -> object:
    """Returns whose a task of nobody's is, such as what follows an answer: its callback knows."""
    return getattr(getattr(task, "_handler", None), "__self__", None)


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
        return refused(type(response)(), _REFUSAL)

    return answer


def executing(
    node: FaultTolerant, result_type: Callable[[], Any], callback: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    """Returns an action's callback that ends with a result whatever happens.

    An unexpected error is the node's fault; the goal is then aborted, and the result says so where it has ``message``.

    Args:
        node: Who serves.
        result_type: Makes an empty result.
        callback: Takes the goal's handle, returns the result or a coroutine of it.
    """

    async def execute(handle: Any) -> Any:
        try:
            result = callback(handle)
            return await result if inspect.isawaitable(result) else result
        except Exception as error:
            node.fault(error)
        if handle.is_active:
            handle.abort()
        refusal = result_type()
        if hasattr(refusal, "message"):
            refusal.message = _REFUSAL
        return refusal

    return execute
