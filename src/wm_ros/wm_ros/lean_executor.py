"""A single-threaded executor at about half the cost of rclpy's: what is waited on is kept, plain callbacks run at once.

rclpy's gathers every entity anew for each wait, makes a task of each callback, and wakes itself up twice for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from threading import get_ident
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.task import Task
from rclpy.waitable import NumberOfEntities

try:
    from rclpy.event_handler import EventHandler
except ImportError:
    # As Humble calls it.
    from rclpy.qos_event import QoSEventHandler as EventHandler

_KINDS = ("timer", "subscription", "guard_condition", "client", "service")
_NEEDED = ("can_execute", "_take_waitable", *(f"_take_{kind}" for kind in _KINDS))
# Groups that hold nothing back while no coroutine waits, so that they need not be asked.
_PLAIN_GROUPS = (MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup)
# Events stay ready until they are taken; in a busy process they are looked at once in so many rounds.
_EVENTS_EVERY = 32


@dataclass(frozen=True)
class Entry:
    """Something that is waited on; ``is_plain``: its group is one of ``_PLAIN_GROUPS``, its callback no coroutine."""

    entity: Any
    handle: Any
    node: Node
    take: Callable[[Any], Callable[[], Any] | None]
    is_plain: bool
    is_coroutine: bool


class LeanExecutor(SingleThreadedExecutor):
    """``SingleThreadedExecutor`` with a ``spin`` of its own; everything else is rclpy's.

    The order of callbacks, callback groups, coroutines and what their errors do are as in rclpy.

    Args:
        context: As for any executor.
    """

    def __init__(self, *, context: Context | None = None) -> None:
        self._has_changed = True
        self._spinning_thread: int | None = None
        self._held = ExitStack()
        self._rounds = 0
        super().__init__(context=context)

    @staticmethod
    def is_supported() -> bool:
        """Return whether this rclpy has what the executor builds on (Jazzy and Kilted do, Humble does not)."""
        base = SingleThreadedExecutor
        return all(hasattr(base, name) for name in _NEEDED) and not hasattr(base, "_execute_subscription")

    def wake(self) -> None:
        """Gather what there is to wait on anew; entities that are made or destroyed call it."""
        self._has_changed = True
        super().wake()

    def add_node(self, node: Node) -> bool:
        """Serve a node from now on; return whether it was not served before."""
        self._has_changed = True
        return super().add_node(node)

    def remove_node(self, node: Node) -> None:
        """Serve a node no longer."""
        self._has_changed = True
        super().remove_node(node)

    def create_task(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> Task[Any]:
        """Run a function or coroutine while spinning; return its future."""
        if get_ident() != self._spinning_thread:
            return super().create_task(callback, *args, **kwargs)
        # Tasks are looked for before each wait: no need to be woken up.
        task = Task(callback, args, kwargs, executor=self)
        with self._tasks_lock:
            self._tasks.append((task, None, None))
        return task

    def spin(self) -> None:
        """Serve the nodes until shutdown.

        Raises:
            ExternalShutdownException: The context ended while nothing was to be done.
            Exception: Whatever a callback raised.
        """
        self._spinning_thread, self._has_changed = get_ident(), True
        try:
            while self._is_on():
                self._run_tasks()
                for entry in self._wait():
                    if not self._is_on():
                        return
                    self._serve(entry)
        finally:
            self._spinning_thread = None
            self._held.close()

    def _is_on(self) -> bool:
        return not self._is_shutdown and bool(self._context.ok())

    def _run_tasks(self) -> None:
        """Run what is new, and let coroutines go on, until each of them waits for something from outside."""
        is_done = True
        while self._tasks and is_done:
            is_done = False
            for task, _, node in list(self._tasks):
                self._run(task, node)
                is_done = is_done or task.done()
            with self._tasks_lock:
                self._tasks = [each for each in self._tasks if not (each[0].done() or each[0].cancelled())]

    def _run(self, task: Task[Any], node: Node | None) -> None:
        if not (task.done() or task.cancelled()):
            task()
        error = task.exception()
        if error is not None:
            raise error

    def _gather(self) -> None:
        """Hold everything that there is to wait on, so that nobody destroys it while it is waited on."""
        self._has_changed = False
        self._held.close()
        self._entries: dict[str, list[Entry]] = {kind: [] for kind in _KINDS}
        self._waitables: list[Entry] = []
        counts = NumberOfEntities()
        for node in self.get_nodes():
            found = (node.timers, node.subscriptions, node.guards, node.clients, node.services)
            for kind, entities in zip(_KINDS, found):
                for entity in entities:
                    self._hold(kind, entity, node)
            for waitable in node.waitables:
                if self._enter(waitable):
                    counts += waitable.get_num_entities()
                    is_plain = type(waitable.callback_group) in _PLAIN_GROUPS
                    self._waitables.append(Entry(waitable, None, node, self._take_waitable, is_plain, True))
        self._own = [guard for guard in (self._guard, self._sigint_gc) if guard and self._enter(guard.handle)]
        self._pointers = {
            kind: {entry.handle.pointer: entry for entry in entries} for kind, entries in self._entries.items()
        }
        self._make_wait_set(counts)

    def _make_wait_set(self, counts: NumberOfEntities) -> None:
        sizes = {kind: len(entries) for kind, entries in self._entries.items()}
        assert self._context.handle is not None
        with self._context.handle:
            self._wait_set: Any = rclpy_implementation.WaitSet(
                sizes["subscription"] + counts.num_subscriptions,
                sizes["guard_condition"] + counts.num_guard_conditions + len(self._own),
                sizes["timer"] + counts.num_timers,
                sizes["client"] + counts.num_clients,
                sizes["service"] + counts.num_services,
                counts.num_events,
                self._context.handle,
            )
        self._add = {kind: getattr(self._wait_set, f"add_{kind}") for kind in _KINDS}

    def _enter(self, handle: Any) -> bool:
        try:
            self._held.enter_context(handle)
        except rclpy_implementation.InvalidHandle:  # destroyed since
            return False
        return True

    def _hold(self, kind: str, entity: Any, node: Node) -> None:
        if self._enter(entity.handle):
            is_coroutine = inspect.iscoroutinefunction(getattr(entity, "callback", None))
            is_plain = type(entity.callback_group) in _PLAIN_GROUPS
            take = getattr(self, f"_take_{kind}")
            self._entries[kind].append(Entry(entity, entity.handle, node, take, is_plain, is_coroutine))

    def _wait(self) -> list[Entry]:
        """Return what is ready, after it has become so."""
        if self._has_changed:
            self._gather()
        wait_set = self._wait_set
        wait_set.clear_entities()
        # A coroutine that waits for something keeps its group closed.
        is_free = not self._tasks
        for kind, entries in self._entries.items():
            add = self._add[kind]
            for entry in entries:
                if (is_free and entry.is_plain) or self.can_execute(entry.entity):
                    add(entry.handle)
        for guard in self._own:
            wait_set.add_guard_condition(guard.handle)
        # An event of a subscription is ready, too, as long as that has a message: both wait, or neither.
        asked = [each for each in self._waitables if (is_free and each.is_plain) or self.can_execute(each.entity)]
        for entry in asked:
            entry.entity.add_to_wait_set(wait_set)
        wait_set.wait(-1)
        if not self._is_shutdown and not self._context.ok():
            raise ExternalShutdownException()
        return list(self._ready(asked))

    def _ready(self, asked: list[Entry]) -> Iterator[Entry]:
        found = False
        for kind in _KINDS:
            for pointer in self._wait_set.get_ready_entities(kind):
                entry = self._pointers[kind].get(pointer)
                if entry is not None:
                    found = True
                    yield entry
        self._rounds += 1
        skips_events = found and self._rounds % _EVENTS_EVERY
        for entry in asked:
            if skips_events and isinstance(entry.entity, EventHandler):
                continue
            if entry.entity.is_ready(self._wait_set):
                yield entry

    def _serve(self, entry: Entry) -> None:
        """Run the callback of something that is ready."""
        if not (entry.is_plain and not self._tasks) and not self.can_execute(entry.entity):
            # Closed by what ran just now. A guard condition is not ready any more by itself.
            if hasattr(entry.entity, "trigger"):
                entry.entity.trigger()
            return
        # rcl reports a timer that was cancelled since as ready.
        if entry.take == self._take_timer and not entry.handle.is_timer_ready():
            return
        if entry.is_coroutine:
            self._begin(entry)
            return
        work = entry.take(entry.entity)
        if work is not None:
            _run_at_once(work)

    def _begin(self, entry: Entry) -> None:
        """Run a coroutine as far as it goes; its group stays closed until its end."""
        task = Task(_in_its_group, (entry,), executor=self)
        self._run(task, entry.node)
        if not task.done():
            with self._tasks_lock:
                self._tasks.append((task, entry.entity, entry.node))


async def _in_its_group(entry: Entry) -> None:
    entry.entity.callback_group.beginning_execution(entry.entity)
    try:
        work = entry.take(entry.entity)
        if work is not None:
            await work()
    finally:
        entry.entity.callback_group.ending_execution(entry.entity)


def _run_at_once(work: Callable[[], Any]) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        work().send(None)
    except StopIteration:
        return
    raise RuntimeError("a plain callback has waited")
