"""The lean executor against rclpy's own: each test runs on both, and expects the same of both."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic, process_time

import pytest
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import EventHandler, PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from rclpy.utilities import try_shutdown
from std_msgs.msg import Float32MultiArray
from std_srvs.srv import Trigger

from wm_ros.dispatcher import dispatching_executor
from wm_ros.lean_executor import LeanExecutor
from wm_testing.nodes import ros_context  # noqa: F401

LONGEST_S = 60.0
STEADY = Clock(clock_type=ClockType.STEADY_TIME)


@pytest.fixture(params=[SingleThreadedExecutor, LeanExecutor])
def executor(request, ros_context):  # noqa: F811
    made = request.param()
    yield made
    made.shutdown()


@pytest.fixture
def node(executor):
    node = Node("tested")
    executor.add_node(node)
    yield node
    node.destroy_node()


def spin_until(executor, node: Node, is_over: Callable[[], bool]) -> None:
    """Spins until something is true, by a timer of the executor's own; fails when that takes too long."""
    end = monotonic() + LONGEST_S

    def check() -> None:
        if is_over() or monotonic() > end:
            executor.shutdown()

    timer = node.create_timer(0.01, check, clock=STEADY)
    executor.spin()
    node.destroy_timer(timer)
    assert is_over()


def busy_share(executor) -> float:
    """Spins, and returns which share of that time the processor took: all of it where nothing waits."""
    began_s, began_cpu_s = monotonic(), process_time()
    executor.spin()
    return (process_time() - began_cpu_s) / (monotonic() - began_s)


def test_it_is_supported_here():
    assert LeanExecutor.is_supported()


def test_messages_come_in_order_and_every_one(executor, node):
    heard = []
    node.create_subscription(Float32MultiArray, "x", lambda msg: heard.append(msg.data[0]), 100)
    publisher = node.create_publisher(Float32MultiArray, "x", 100)
    sent = iter(range(50))

    def send() -> None:
        value = next(sent, None)
        if value is not None:
            publisher.publish(Float32MultiArray(data=[float(value)]))

    node.create_timer(0.002, send, clock=STEADY)
    spin_until(executor, node, lambda: len(heard) == 50)
    assert heard == [float(value) for value in range(50)]


def test_a_subscription_that_wants_the_message_info_gets_it(executor, node):
    heard = []

    def hear(msg: Float32MultiArray, info) -> None:
        heard.append((msg.data[0], info is not None))

    node.create_subscription(Float32MultiArray, "x", hear, 10)
    publisher = node.create_publisher(Float32MultiArray, "x", 10)
    node.create_timer(0.01, lambda: publisher.publish(Float32MultiArray(data=[1.0])), clock=STEADY)
    spin_until(executor, node, lambda: bool(heard))
    assert heard[0] == (1.0, True)


def test_a_service_is_asked_from_a_callback_and_answers(executor, node):
    answers = []

    def answer(_request, response):
        response.success, response.message = True, "here"
        return response

    node.create_service(Trigger, "ask", answer)
    client = node.create_client(Trigger, "ask")

    def ask() -> None:
        if client.service_is_ready():
            client.call_async(Trigger.Request()).add_done_callback(lambda future: answers.append(future.result()))
            timer.cancel()

    timer = node.create_timer(0.01, ask, clock=STEADY)
    spin_until(executor, node, lambda: bool(answers))
    assert answers[0].message == "here"
    assert len(answers) == 1


def test_a_coroutine_waits_for_a_thread_and_closes_its_group_meanwhile(executor, node):
    happened, waits = [], Future(executor=executor)
    ticks = MutuallyExclusiveCallbackGroup()

    async def answer(_request, response):
        happened.append("asked")
        threading.Timer(0.3, lambda: (waits.set_result(None), executor.wake())).start()
        await waits
        happened.append("answered")
        return response

    node.create_service(Trigger, "ask", answer)
    node.create_timer(0.02, lambda: happened.append("own group"), clock=STEADY)
    node.create_timer(0.02, lambda: happened.append("other group"), ticks, clock=STEADY)
    client = node.create_client(Trigger, "ask", callback_group=ticks)
    asked = []

    def ask() -> None:
        if client.service_is_ready() and not asked:
            asked.append(client.call_async(Trigger.Request()))

    node.create_timer(0.01, ask, ticks, clock=STEADY)
    spin_until(executor, node, lambda: bool(asked) and asked[0].done())
    between = happened[happened.index("asked") + 1 : happened.index("answered")]
    assert set(between) == {"other group"}


def test_what_is_made_while_spinning_is_served_and_what_is_destroyed_is_not(executor, node):
    heard = []
    publisher = node.create_publisher(Float32MultiArray, "x", 10)
    node.create_timer(0.01, lambda: publisher.publish(Float32MultiArray(data=[1.0])), clock=STEADY)
    holder = []

    def swap() -> None:
        # Each is heard before the next takes its place, however long they take to find each other.
        if holder and heard[-1:] != [swap.count]:
            return
        if holder:
            node.destroy_subscription(holder.pop())
        number = swap.count = swap.count + 1
        holder.append(node.create_subscription(Float32MultiArray, "x", lambda _: heard.append(number), 10))

    swap.count = 0
    node.create_timer(0.05, swap, clock=STEADY)
    spin_until(executor, node, lambda: 4 in heard)
    assert heard == sorted(heard)
    assert set(heard) == {1, 2, 3, 4}


def test_a_node_that_is_added_from_another_thread_is_served(executor, node):
    ticks = []

    def add() -> None:
        late = Node("late")
        late.create_timer(0.01, lambda: ticks.append(1), clock=STEADY)
        executor.add_node(late)

    threading.Timer(0.2, add).start()
    spin_until(executor, node, lambda: len(ticks) > 3)


@pytest.mark.slow
def test_a_guard_condition_calls_once_per_trigger_from_another_thread(executor, node):
    called = []
    guard = node.create_guard_condition(lambda: called.append(1))
    threading.Timer(0.1, guard.trigger).start()
    spin_until(executor, node, lambda: bool(called))
    executor_again = type(executor)()
    node.executor = None
    executor_again.add_node(node)
    end = monotonic() + 0.3
    spin_until(executor_again, node, lambda: monotonic() > end)
    assert called == [1]


class _Gate(MutuallyExclusiveCallbackGroup):
    is_open = False

    def can_execute(self, entity):
        return self.is_open and super().can_execute(entity)


def test_a_group_of_its_own_kind_holds_messages_back_until_it_opens(executor, node):
    heard, gate = [], _Gate()
    node.create_subscription(Float32MultiArray, "x", lambda msg: heard.append(gate.is_open), 1, callback_group=gate)
    publisher = node.create_publisher(Float32MultiArray, "x", 1)
    node.create_timer(0.01, lambda: publisher.publish(Float32MultiArray(data=[1.0])), clock=STEADY)
    node.create_timer(0.3, lambda: setattr(gate, "is_open", True), clock=STEADY)
    spin_until(executor, node, lambda: len(heard) > 2)
    assert all(heard)


@pytest.mark.slow
def test_a_message_that_a_closed_group_leaves_unread_wakes_nobody(executor, node):
    node.create_subscription(Float32MultiArray, "x", lambda _: None, 1, callback_group=_Gate())
    publisher = node.create_publisher(Float32MultiArray, "x", 1)
    node.create_timer(0.1, lambda: publisher.publish(Float32MultiArray(data=[1.0])), clock=STEADY)
    node.create_timer(1.0, executor.shutdown, clock=STEADY)
    assert busy_share(executor) < 0.5


@pytest.mark.slow
def test_a_timer_cancelled_by_another_that_is_due_as_well_does_not_fire(executor, node):
    fired = []
    group = MutuallyExclusiveCallbackGroup()
    timers = [node.create_timer(0.05, lambda at=at: fire(at), group, clock=STEADY) for at in range(2)]

    def fire(at: int) -> None:
        fired.append(at)
        timers[1 - at].cancel()

    end = monotonic() + 0.5
    spin_until(executor, node, lambda: monotonic() > end)
    assert len(set(fired)) == 1


def test_an_error_in_a_callback_ends_spinning_with_that_error(executor, node):
    def fail() -> None:
        raise KeyError("a bug")

    node.create_timer(0.01, fail, clock=STEADY)
    with pytest.raises(KeyError, match="a bug"):
        executor.spin()


def test_an_error_in_what_follows_an_answer_ends_spinning_with_that_error(executor, node):
    def fail(_future) -> None:
        raise KeyError("a bug")

    node.create_service(Trigger, "ask", lambda _request, response: response)
    client = node.create_client(Trigger, "ask")

    def ask() -> None:
        if client.service_is_ready():
            client.call_async(Trigger.Request()).add_done_callback(fail)

    node.create_timer(0.01, ask, clock=STEADY)
    with pytest.raises(KeyError, match="a bug"):
        executor.spin()


def test_tasks_of_this_and_another_thread_run_and_may_make_more(executor, node):
    done = []

    def first() -> None:
        done.append("first")
        executor.create_task(done.append, "second")

    async def third() -> None:
        await executor.create_task(done.append, "awaited")
        done.append("third")

    executor.create_task(first)
    threading.Timer(0.1, lambda: executor.create_task(third)).start()
    spin_until(executor, node, lambda: "third" in done)
    assert done == ["first", "second", "awaited", "third"]


def test_an_incompatible_publisher_is_told_of(executor, node):
    told = []
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    reliable = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
    events = SubscriptionEventCallbacks(incompatible_qos=told.append)
    node.create_subscription(Float32MultiArray, "x", lambda _: None, reliable, event_callbacks=events)
    silent = PublisherEventCallbacks(use_default_callbacks=False)
    node.create_publisher(Float32MultiArray, "x", best_effort, event_callbacks=silent)
    spin_until(executor, node, lambda: bool(told))


def test_a_context_that_ends_from_outside_ends_spinning(executor, node):
    threading.Timer(0.2, try_shutdown).start()
    with pytest.raises(ExternalShutdownException):
        executor.spin()


@pytest.mark.slow
def test_idle_costs_nothing(executor, node):
    node.create_service(Trigger, "ask", lambda _request, response: response)
    node.create_timer(1.0, executor.shutdown, clock=STEADY)
    assert busy_share(executor) < 0.5


class _Tolerant(Node):
    def __init__(self) -> None:
        super().__init__("tolerant")
        self.faults: list[str] = []

    def fault(self, error: Exception) -> None:
        self.faults.append(str(error))

    def fail_later(self, _future) -> None:
        raise ValueError("in what follows an answer")

    async def fail_waiting(self, _request, _response):
        await self.executor.create_task(lambda: None)
        raise ValueError("in a coroutine")


def test_behind_the_dispatcher_every_error_is_told_to_its_node_and_ends_nothing(ros_context):  # noqa: F811
    node, dispatching = _Tolerant(), dispatching_executor(1)
    dispatching.add_node(node)

    def fail(text: str) -> None:
        raise ValueError(text)

    ticks = [node.create_timer(0.05, lambda: (ticks[0].cancel(), fail("in a timer")), clock=STEADY)]
    node.create_subscription(Float32MultiArray, "x", lambda _: fail("in a subscription"), 10)
    publisher = node.create_publisher(Float32MultiArray, "x", 10)
    node.create_service(Trigger, "ask", lambda _request, response: response)
    node.create_service(Trigger, "wait", node.fail_waiting)
    clients = [node.create_client(Trigger, name) for name in ("ask", "wait")]

    def begin() -> None:
        if all(client.service_is_ready() for client in clients) and publisher.get_subscription_count():
            publisher.publish(Float32MultiArray())
            clients[0].call_async(Trigger.Request()).add_done_callback(node.fail_later)
            clients[1].call_async(Trigger.Request())
            ticks[1].cancel()

    ticks.append(node.create_timer(0.02, begin, clock=STEADY))
    expected = {f"in {where}" for where in ("a timer", "a subscription", "what follows an answer", "a coroutine")}
    spin_until(dispatching, node, lambda: len(node.faults) >= len(expected))
    assert sorted(node.faults) == sorted(expected)
    node.destroy_node()


def test_what_another_thread_destroys_while_it_is_waited_on_ends_nobody(ros_context, monkeypatch):  # noqa: F811
    """Of a pool one thread may wait while another destroys."""
    executor, node, ticks = dispatching_executor(2), Node("tested"), []
    executor.add_node(node)
    node.create_timer(0.01, lambda: ticks.append(1), clock=STEADY)
    node.create_publisher(Float32MultiArray, "x", 10)
    gone = iter([rclpy_implementation.InvalidHandle("gone")])

    def add(self, wait_set):
        for error in gone:
            raise error
        return was(self, wait_set)

    was = EventHandler.add_to_wait_set
    monkeypatch.setattr(EventHandler, "add_to_wait_set", add)
    spin_until(executor, node, lambda: len(ticks) > 3)
    assert next(gone, None) is None
    node.destroy_node()
