"""Transitions that peers ask a managed node for: one at a time, what takes long beside the executor."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future as Done
from typing import Any, Protocol

from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import Executor
from rclpy.task import Future


class Transient(Protocol):
    """A node that changes its state, as ``ManagedNode`` does."""

    @property
    def executor(self) -> Executor | None:
        """The executor that serves it."""

    @property
    def is_being_made(self) -> bool:
        """Whether something is done beside the executor, after which the node goes on in another state."""

    def work_before(self, transition: int) -> Callable[[], None] | None:
        """Returns what takes long before a transition and needs no executor; None: nothing does."""

    def worked(self, transition: int, error: BaseException | None) -> None:
        """Takes note of how that went, just before the transition."""

    def beside(self, why: str, work: Callable[[], None], go_on: Callable[[Done[None]], None]) -> None:
        """Does work on a thread, then calls on the executor with how it went."""

    def get_logger(self) -> Any:
        """Returns the node's logger."""


class AskedTransitions:
    """Answers ``~/change_state`` in place of rclpy, which loads and waits with the executor held.

    One that comes while another is under way is refused.

    Args:
        node: Whose transitions; a ``LifecycleNode``.
    """

    def __init__(self, node: Transient) -> None:
        self._node = node
        self._is_under_way = False
        self._machine: Any = getattr(node, "_state_machine", None)
        service: Any = getattr(node, "_service_change_state", None)
        if service is None:
            return
        self._change = service.callback
        service.callback = self._on_change_state
        # In a group of its own: what the node does besides goes on.
        service.callback_group = ReentrantCallbackGroup()
        service.callback_group.add_entity(service)

    async def _on_change_state(self, request: ChangeState.Request, response: ChangeState.Response) -> Any:
        node = self._node
        if self._is_under_way or node.is_being_made:
            node.get_logger().warning("a transition was asked for while another is under way: refused")
            return response
        self._is_under_way = True
        try:
            transition = self._transition_of(request)
            work = node.work_before(transition)
            if work is not None:
                ended: Future[Any] = Future(executor=node.executor)
                node.beside("transition", work, ended.set_result)
                done: Any = await ended
                node.worked(transition, done.exception())
            return self._change(request, response)
        finally:
            self._is_under_way = False

    def _transition_of(self, request: ChangeState.Request) -> int:
        """Returns which transition is asked for: a name comes before a number, as in rclpy; -1 where it is none."""
        if not request.transition.label:
            return int(request.transition.id)
        try:
            return int(self._machine.get_transition_by_label(request.transition.label))
        except RuntimeError:  # rclpy refuses it in its own words
            return -1
