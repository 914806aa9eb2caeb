"""Nodes with ROS 2's lifecycle, which start by themselves, survive their own errors and send only finite numbers."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lifecycle_msgs.msg import State, Transition
from rclpy.clock import Clock, ClockType
from rclpy.guard_condition import GuardCondition
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from wm_core.errors import CoreError
from wm_ros import qos
from wm_ros.entities import NotedEntities
from wm_ros.errors import ConfigurationError
from wm_ros.faults import FaultCounter
from wm_ros.health import Health
from wm_ros.live_params import follow_params
from wm_ros.params import declare_params, param
from wm_ros.saying import clipped, place_of, traceback_of
from wm_ros.transitions import AskedTransitions

_OK, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_STATES = {
    "unconfigured": State.PRIMARY_STATE_UNCONFIGURED,
    "inactive": State.PRIMARY_STATE_INACTIVE,
    "active": State.PRIMARY_STATE_ACTIVE,
    "finalized": State.PRIMARY_STATE_FINALIZED,
}
EXPECTED = (ConfigurationError, CoreError)
"""What a node may refuse its configuration with; anything else is a bug."""


@dataclass(frozen=True, kw_only=True)
class ManagedParams:
    """What every managed node can be told."""

    autostart: bool = param(True, "Whether the node configures and activates itself; false: a lifecycle manager does.")
    faults_per_minute: int = param(
        5, "Unexpected errors within a minute from which on the node is made anew; 0: never.", low=0, high=1000
    )


ParamsT = TypeVar("ParamsT", bound=ManagedParams)


class ManagedNode(NotedEntities, Generic[ParamsT]):
    """A node that is configured, activated, deactivated and cleaned up, by itself or by a lifecycle manager.

    A subclass provides ``prepare`` (what takes long and makes nothing of ROS), ``configure`` (publishers and clients),
    ``activate`` (subscriptions, services, timers), ``release`` and where needed ``deactivate``, and calls ``start`` at
    the end of its constructor. What ``configure`` and ``activate`` create is destroyed by their opposites. Errors that
    nobody expected end the message that caused them; after ``faults_per_minute`` of them everything is made anew, while
    other nodes of the process go on. ``~/heartbeat`` (lifecycle_msgs/State) is published once a second; its liveliness
    ends with the node.

    Args:
        name: Of the node.
        params: Its parameters, as for ``declare_params``.
        **node_options: As for ``rclpy.node.Node``.

    Attributes:
        refusal: Why it could not start beside others; None: it could, or has not yet.

    Raises:
        ParameterError: As ``declare_params``.
    """

    refusal: BaseException | None = None
    # Whether a robot goes on with what it told it last: see ``come_to_rest``.
    commands_robot = False
    # A node whose parameters are refused is destroyed all the same.
    _builder: ThreadPoolExecutor | None = None
    _is_configured = False

    def __init__(self, name: str, params: type[ParamsT], **node_options: Any) -> None:
        super().__init__(name, **node_options)
        self._params: ParamsT = declare_params(self, params)
        self._heartbeat = LifecycleNode.create_publisher(self, State, "~/heartbeat", qos.HEARTBEAT)
        self._health = Health(self, on_report=self._beat)
        self._health.pause()
        self._health.gauge("lifecycle", "unconfigured")
        self._faults = FaultCounter(self._params.faults_per_minute)
        self._configured: list[Callable[[], object]] = []
        self._activated: list[Callable[[], object]] = []
        self._is_prepared = self._is_restarting = False
        self._failure: BaseException | None = None
        self._label, self._is_starting = "unconfigured", False
        self._unready: BaseException | None = None
        self._asked = AskedTransitions(self)
        follow_params(self, self._params, self._on_new_params)

    # ---------------------------------------------------------------- what a subclass provides

    def prepare(self) -> None:
        """Loads what takes long; makes no entities of ROS. Where others are served it has a thread of its own."""

    def configure(self) -> None:
        """Opens publishers and clients."""

    def activate(self) -> None:
        """Opens subscriptions, services and timers; messages come from now on."""

    def deactivate(self) -> None:
        """Ends what was begun while it was active; what ``activate`` opened is destroyed afterwards."""

    def finish(self) -> None:
        """Waits for what is under way on other threads; on a thread of its own before a peer has it cleaned up."""

    def release(self) -> None:
        """Gives back what ``prepare`` and ``configure`` took and ROS does not know of."""

    def params_changed(self, params: ParamsT) -> None:
        """Follows new parameters while it is configured; ``_params`` still holds the former ones."""

    # ---------------------------------------------------------------- life

    @property
    def is_active(self) -> bool:
        """Whether it takes messages."""
        return self._label == "active"

    def start(self) -> None:
        """Configures and activates the node where it is to do so by itself.

        Raises:
            Exception: What ``prepare``, ``configure`` or ``activate`` ended with.
        """
        if self._params.autostart:
            self._start()

    def come_to_rest(self) -> None:
        """Deactivates the node before its process ends, while it can still say something; on the executor."""
        if self.is_active:
            self.trigger_deactivate()

    def start_beside(self) -> None:
        """Prepares on a thread while other nodes are served already, then does the rest of ``start`` when spinning.

        What it cannot start with ends ROS's context and stands in ``refusal``.
        """
        if not self._params.autostart:
            return
        self._is_starting = True
        self._prepare_then("start", self._start_prepared)

    def _start_prepared(self, prepared: Future[None]) -> None:
        try:
            prepared.result()
            self._is_prepared = True
            self._start()
            gc.freeze()  # as at the start of a process: what was loaded lives as long
        except BaseException as error:
            # Where a signal took the context from under it, nothing was wrong.
            self.refusal = error if self.context.ok() else None
            self.context.try_shutdown()

    def _start(self) -> None:
        self._is_starting = True
        for step in (self.trigger_configure, self.trigger_activate):
            step()
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure
        self._is_starting = False

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configures; refuses by name what cannot work."""
        return self._step(self._configure, "inactive")

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activates."""
        return self._step(self._activate, "active")

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Destroys what ``activate`` made."""
        return self._step(self._deactivate, "inactive")

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Destroys what ``configure`` made, and releases the rest."""
        return self._step(self._clean_up, "unconfigured")

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lets go of everything."""
        return self._step(self._clean_up, "finalized")

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Says what went wrong, and is unconfigured again."""
        failure = self._failure
        if failure is not None and not self._is_starting:
            self._say_fault(failure, 1)
            self._health.fault(f"{type(failure).__name__} in {place_of(failure).rpartition('/')[2]}")
        code = self._step(self._clean_up, "unconfigured")
        self._failure = failure
        return code

    def _step(self, step: Callable[[], None], label: str) -> TransitionCallbackReturn:
        """Makes a step of life; rclpy takes whatever else it raises for an error of the transition."""
        self._failure = None
        try:
            step()
        except EXPECTED as error:
            self._failure = error
            if not self._is_starting:
                self.get_logger().error(f"refused: {clipped(error, 1000)}")
            return _FAILURE
        except BaseException as error:
            self._failure = error
            raise
        self._label = label
        self._health.gauge("lifecycle", label)
        return _OK

    def _configure(self) -> None:
        unready, self._unready = self._unready, None
        if unready is not None:
            raise unready
        if not self._is_prepared:
            self.prepare()
        self._is_prepared, self._is_configured = False, True
        self._created = self._configured
        try:
            self.configure()
        except BaseException:
            self._clean_up()
            raise

    def _activate(self) -> None:
        self._created = self._activated
        self._health.resume()
        try:
            self.activate()
        except BaseException:
            self._deactivate()
            raise

    def _deactivate(self) -> None:
        if self._label == "active":
            self.deactivate()
        self._close(self._activated)
        self._created = self._configured
        self._health.pause()

    def _clean_up(self) -> None:
        self._deactivate()
        if self._is_configured:
            self._is_configured = False
            self.release()
        self._close(self._configured)
        self._created = None
        self._health.forget()

    def _close(self, created: list[Callable[[], object]]) -> None:
        while created:
            created.pop()()

    def destroy_node(self) -> None:
        """Lets go of everything, then goes."""
        if self._builder is not None:
            self._builder.shutdown()
        if self._is_configured:
            self._is_configured = False
            self.release()
        super().destroy_node()

    def _on_new_params(self, params: ParamsT) -> None:
        if self._is_configured:
            self.params_changed(params)
        self._params = params

    def _beat(self) -> None:
        self._heartbeat.publish(State(id=_STATES[self._label], label=self._label))

    # ---------------------------------------------------------------- transitions that peers ask for

    @property
    def is_being_made(self) -> bool:
        """Whether something is done beside the executor, after which the node goes on in another state."""
        return self._builder is not None or self._is_restarting

    def work_before(self, transition: int) -> Callable[[], None] | None:
        """Returns what takes long before a transition and needs no executor; None: nothing does.

        Whoever is to be shut down stops serving here.

        Args:
            transition: One of ``Transition.TRANSITION_*``.
        """
        if transition == Transition.TRANSITION_CONFIGURE and self._label == "unconfigured" and not self._is_prepared:
            return self.prepare
        if transition == Transition.TRANSITION_ACTIVE_SHUTDOWN and self._label == "active":
            self._deactivate()
            self._label = "inactive"
            return self.finish
        ends = Transition.TRANSITION_CLEANUP, Transition.TRANSITION_INACTIVE_SHUTDOWN
        return self.finish if transition in ends and self._label == "inactive" else None

    def worked(self, transition: int, error: BaseException | None) -> None:
        """Takes note of how that went, just before the transition."""
        if transition == Transition.TRANSITION_CONFIGURE:
            self._is_prepared, self._unready = error is None, error
        elif error is not None:
            self._say_fault(error, 1)

    # ---------------------------------------------------------------- errors

    def fault(self, error: Exception) -> None:
        """Takes note of an error that nobody expected: said once, counted, ERROR for a minute, restart after some."""
        count, too_many = self._faults.take(error)
        if count:
            self._say_fault(error, count)
        self._health.fault(f"{type(error).__name__} in {place_of(error).rpartition('/')[2]}")
        if too_many:
            self._health.count("restarts")
            self.restart(self._faults.next_wait_s())

    def _say_fault(self, error: BaseException, count: int) -> None:
        self.get_logger().error(f"unexpected error ({count} times since last said):\n{traceback_of(error)}")

    def restart(self, wait_s: float = 0.0) -> None:
        """Makes the node's core anew, from its parameters and files, while other nodes of the process go on.

        Args:
            wait_s: How long to stay away before [s].
        """
        if self._is_restarting or self._label not in ("active", "unconfigured"):
            return
        self._is_restarting = True
        text = f"making it anew{f' in {wait_s:g} s' if wait_s else ''}"
        self.get_logger().error(f"too many unexpected errors: {text}")
        if self._label == "active":
            self.trigger_deactivate()
        self._health.degrade("restart", text)
        if self._label != "inactive":  # it could not even be deactivated, and was cleaned up for that
            self._begin_anew_in(wait_s)
            return

        def finished(done: Future[None]) -> None:
            self.worked(Transition.TRANSITION_CLEANUP, done.exception())
            self.trigger_cleanup()
            self._health.degrade("restart", text)
            self._begin_anew_in(wait_s)

        # What is under way may take minutes; the other nodes of the process go on.
        self.beside("restart", self.finish, finished)

    def _begin_anew_in(self, wait_s: float) -> None:
        if wait_s <= 0:
            self._begin_anew()
            return
        steady = Clock(clock_type=ClockType.STEADY_TIME)

        def begin() -> None:
            self.destroy_timer(timer)
            self._begin_anew()

        timer = LifecycleNode.create_timer(self, wait_s, begin, clock=steady)

    def _begin_anew(self) -> None:
        """Prepares on a thread, so that nobody waits for it, and goes on with the executor."""
        self._prepare_then("restart", self._go_on)

    def _prepare_then(self, why: str, go_on: Callable[[Future[None]], None]) -> None:
        """Prepares on a thread, then calls on the executor."""
        self.beside(why, self.prepare, go_on)

    def beside(self, why: str, work: Callable[[], None], go_on: Callable[[Future[None]], None]) -> None:
        """Does work on a thread, so that nobody waits for it, then calls on the executor with how it went."""
        self._builder = ThreadPoolExecutor(1, thread_name_prefix=f"{self.get_name()}-{why}")
        guard = LifecycleNode.create_guard_condition(self, lambda: ready(guard))
        prepared = self._builder.submit(work)

        def ready(guard: GuardCondition) -> None:
            self.destroy_guard_condition(guard)
            self._builder = None
            go_on(prepared)

        prepared.add_done_callback(lambda _: guard.trigger())

    def _go_on(self, prepared: Future[None]) -> None:
        self._is_restarting = False
        self._failure = prepared.exception()
        if self._failure is None:
            self._is_prepared = True
            if self.trigger_configure() == _OK and self.trigger_activate() == _OK:
                self._health.degrade("restart", None)
                return
        self._health.fault(f"cannot be made anew: {clipped(self._failure)}")
        self.restart(max(self._faults.next_wait_s(), 1.0))
