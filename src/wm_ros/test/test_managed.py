"""Managed nodes: their life, their own errors, and what other nodes of the process notice of them (nothing)."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, get_ident
from time import monotonic

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMsg
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future
from std_msgs.msg import Float32, String
from std_srvs.srv import Trigger

from wm_interfaces.action import ImagineStream
from wm_ros import ConfigurationError, ManagedNode, ManagedParams, MessageError, param, qos
from wm_ros.dispatcher import dispatching_executor
from wm_ros.goal_client import GoalClient
from wm_testing.nodes import ros_context  # noqa: F401
from wm_testing.system import wait_until

pytestmark = pytest.mark.usefixtures("ros_context")


@dataclass(frozen=True, kw_only=True)
class EchoParams(ManagedParams):
    factor: float = param(1.0, "What numbers are multiplied by.", runtime=True)


class Echo(ManagedNode[EchoParams]):
    """Multiplies numbers; every way to go wrong on request."""

    def __init__(self, **options):
        self.history = []
        super().__init__("echo", EchoParams, **options)
        self.start()

    def prepare(self):
        self.history.append("prepare")
        self.prepared_on = get_ident()
        if self._params.factor == 13.0:
            raise ConfigurationError("13 is not served")
        if self._params.factor == 14.0:
            raise KeyError("a bug")

    def configure(self):
        self.history.append("configure")
        self.out = self.create_publisher(Float32, "out", qos.STREAM)

    def activate(self):
        self.history.append("activate")
        self.create_subscription(Float32, "in", self.on_number, qos.STREAM)
        self.create_service(Trigger, "ask", self.on_ask)
        self.create_service(GetState, "ask_without_success", self.on_ask)

    def release(self):
        self.history.append("release")

    def params_changed(self, params):
        self.history.append(f"factor {params.factor:g}")

    def on_number(self, msg):
        if msg.data < 0:
            raise IndexError("x" * 5000)
        self.out.publish(Float32(data=msg.data * self._params.factor))

    def on_ask(self, _request, _response):
        raise RuntimeError("nobody expected this")


class Peer(Node):
    """Talks to the echo."""

    def __init__(self):
        super().__init__("peer")
        self.heard = []
        self.numbers = self.create_publisher(Float32, "in", qos.STREAM)
        self.create_subscription(Float32, "out", lambda msg: self.heard.append(msg.data), qos.STREAM)


class Spin:
    """Two nodes on the executor of the runner."""

    def __init__(self, *nodes, threads=1):
        self.executor = dispatching_executor(threads)
        for node in nodes:
            self.executor.add_node(node)

    def until(self, predicate, timeout_s=20.0):
        deadline = monotonic() + timeout_s
        while not predicate():
            assert monotonic() < deadline
            self.executor.spin_once(timeout_sec=0.02)


@pytest.fixture
def peer():
    node = Peer()
    yield node
    node.destroy_node()


def made(**values):
    return Echo(parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])


def talk(spin, peer, *numbers):
    """Sends numbers once the echo listens, and waits for what comes back of the last one."""
    spin.until(lambda: peer.numbers.get_subscription_count() == 1)
    for number in numbers:
        peer.numbers.publish(Float32(data=number))
    spin.until(lambda: bool(peer.heard) and peer.heard[-1] == pytest.approx(numbers[-1]))


@pytest.mark.parametrize("threads", [1, 2])
def test_an_unexpected_error_ends_its_message_and_no_more(peer, threads):
    echo = made()
    spin = Spin(echo, peer, threads=threads)
    talk(spin, peer, 1.0, -1.0, 2.0)
    assert peer.heard == [1.0, 2.0]
    spin.until(lambda: echo._health.counted("faults") == 1)
    status = echo._health.status()
    assert status.level == DiagnosticStatus.ERROR
    assert "IndexError" in status.message
    assert len(status.message) < 400
    echo.destroy_node()


def test_after_so_many_errors_the_core_is_made_anew_off_the_executor(peer):
    echo = made(faults_per_minute=3)
    spin = Spin(echo, peer)
    talk(spin, peer, 1.0)
    first = echo.prepared_on
    peer.numbers.publish(Float32(data=-1.0))
    peer.numbers.publish(Float32(data=-1.0))
    spin.until(lambda: echo._health.counted("faults") == 2)
    assert echo.history == ["prepare", "configure", "activate"]
    peer.numbers.publish(Float32(data=-1.0))
    spin.until(lambda: echo.history[3:] == ["release", "prepare", "configure", "activate"])
    assert echo._health.counted("restarts") == 1
    assert echo.prepared_on != first
    peer.heard.clear()
    talk(spin, peer, 5.0)
    assert echo.is_active
    echo.destroy_node()


def test_others_are_served_while_a_core_that_is_made_anew_ends_what_is_under_way(peer, monkeypatch):
    echo, ended, ticks = made(faults_per_minute=1), Event(), []
    monkeypatch.setattr(echo, "finish", lambda: ended.wait(20.0))
    spin = Spin(echo, peer)
    talk(spin, peer, 1.0)
    peer.numbers.publish(Float32(data=-1.0))
    spin.until(lambda: not echo.is_active)
    peer.create_timer(0.01, lambda: ticks.append("peer"))
    spin.until(lambda: len(ticks) > 3)
    assert echo.history == ["prepare", "configure", "activate"]
    assert "making it anew" in echo._health.status().message
    ended.set()
    spin.until(lambda: echo.history[3:] == ["release", "prepare", "configure", "activate"])
    spin.until(lambda: echo.is_active)
    echo.destroy_node()


@pytest.mark.slow
def test_a_core_that_cannot_be_made_anew_is_tried_again(peer, monkeypatch):
    echo = made(faults_per_minute=1)
    monkeypatch.setattr(echo._faults, "next_wait_s", lambda: 0.0)
    spin = Spin(echo, peer)
    talk(spin, peer, 1.0)
    echo._params = EchoParams(factor=13.0)
    peer.numbers.publish(Float32(data=-1.0))
    spin.until(lambda: echo.history.count("prepare") == 2)
    spin.until(lambda: "13 is not served" in echo._health.status().message)
    echo._params = EchoParams(factor=1.0)
    spin.until(lambda: echo.is_active)
    echo.destroy_node()


@pytest.mark.parametrize("kind", [SetParameters, SetParametersAtomically])
def test_what_is_no_parameter_is_refused_and_no_fault(peer, kind):
    """Five of them in a minute made the node anew."""
    echo = made()
    spin = Spin(echo, peer)
    name = {SetParameters: "set_parameters", SetParametersAtomically: "set_parameters_atomically"}[kind]
    client = peer.create_client(kind, f"echo/{name}")
    spin.until(client.service_is_ready)
    given = [
        ParameterMsg(name="factor", value=ParameterValue(type=77)),
        ParameterMsg(value=ParameterValue(type=1)),
        Parameter("factor", value=2.0).to_parameter_msg(),
    ]
    answer = client.call_async(kind.Request(parameters=given))
    spin.until(answer.done)
    results = answer.result().results if kind is SetParameters else [answer.result().result]
    assert not results[0].successful
    assert "factor: 77 is no type of a parameter" in results[0].reason
    assert [each.successful for each in results[1:]] == ([False, True] if kind is SetParameters else [])
    assert all(each.reason == "a parameter without a name" for each in results[1:2])
    assert echo._params.factor == (2.0 if kind is SetParameters else 1.0)
    assert echo._health.counted("faults") == 0
    echo.destroy_node()


def test_a_service_answers_whatever_happens(peer):
    echo = made()
    spin = Spin(echo, peer)
    with_success = peer.create_client(Trigger, "ask")
    without = peer.create_client(GetState, "ask_without_success")
    spin.until(lambda: with_success.service_is_ready() and without.service_is_ready())
    answers = [with_success.call_async(Trigger.Request()), without.call_async(GetState.Request())]
    spin.until(lambda: all(answer.done() for answer in answers))
    assert not answers[0].result().success
    assert "internal error" in answers[0].result().message
    assert echo._health.counted("faults") == 2
    echo.destroy_node()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("step", ["deactivate", "clean up"])
def test_who_asked_is_told_when_the_node_stops_serving_meanwhile(peer, step, threads):
    echo, waits, begun = made(autostart=False), Future(), []

    async def wait(request, response):
        begun.append(request)
        response.success = await waits
        return response

    echo.on_ask = wait
    echo.trigger_configure()
    echo.trigger_activate()
    spin = Spin(echo, peer, threads=threads)
    client = peer.create_client(Trigger, "ask")
    spin.until(client.service_is_ready)
    answers = [client.call_async(Trigger.Request()) for _ in range(3)]
    spin.until(lambda: len(begun) == 1)  # the group lets in one at a time
    echo.trigger_deactivate()
    if step == "clean up":
        waits.set_result(True)
        echo.trigger_cleanup()
    spin.until(lambda: answers[0].done())
    assert answers[0].result().success is (step == "clean up")
    assert answers[0].result().message.startswith("" if step == "clean up" else "stopped: ")
    spin.until(lambda: all(answer.done() for answer in answers))
    spin.until(lambda: peer.count_services("ask") == 0)
    spin.executor.shutdown()
    echo.destroy_node()


def test_goals_that_come_at_once_are_each_answered(peer):
    echo = made(autostart=False)

    def execute(handle):
        handle.succeed()
        return ImagineStream.Result(message="done")

    echo.configure = lambda: echo.create_action_server(ImagineStream, "do", execute)
    echo.trigger_configure()
    spin = Spin(echo, peer)
    client = GoalClient(peer, ImagineStream, "do")
    spin.until(client.server_is_ready)
    goals = [client.send_goal_async(ImagineStream.Goal()) for _ in range(40)]
    spin.until(lambda: all(goal.done() for goal in goals))
    results = [goal.result().get_result_async() for goal in goals]
    spin.until(lambda: all(result.done() for result in results))
    assert {result.result().result.message for result in results} == {"done"}
    client.destroy()
    echo.destroy_node()


def test_what_follows_an_answer_is_its_nodes_fault(peer):
    echo = made()
    spin = Spin(echo, peer)
    client = echo.create_client(Trigger, "ask")
    echo.on_answer = lambda future: echo.on_number(Float32(data=-1.0))
    spin.until(client.service_is_ready)
    client.call_async(Trigger.Request()).add_done_callback(echo.on_ask_answered)
    spin.until(lambda: echo._health.counted("faults") == 2)
    echo.destroy_node()


Echo.on_ask_answered = lambda self, _future: self.on_number(Float32(data=-1.0))


def test_what_is_not_finite_is_not_published(peer):
    echo = made(factor=1e38)
    spin = Spin(echo, peer)
    spin.until(lambda: peer.numbers.get_subscription_count() == 1)
    peer.numbers.publish(Float32(data=math.nan))
    spin.until(lambda: echo._health.counted("dropped/not-finite-output") == 1)
    assert peer.heard == []
    echo.destroy_node()


@pytest.mark.slow
def test_a_lifecycle_manager_drives_it(peer):
    echo = made(autostart=False)
    assert echo.history == []
    spin = Spin(echo, peer)
    change, state = peer.create_client(ChangeState, "echo/change_state"), peer.create_client(GetState, "echo/get_state")
    spin.until(lambda: change.service_is_ready() and state.service_is_ready())

    def go(transition):
        request = ChangeState.Request()
        request.transition.id = transition
        answers = [change.call_async(request)]
        spin.until(lambda: answers[0].done())
        answers.append(state.call_async(GetState.Request()))
        spin.until(lambda: answers[1].done())
        return answers[0].result().success, answers[1].result().current_state.label

    assert go(Transition.TRANSITION_CONFIGURE) == (True, "inactive")
    assert peer.count_publishers("out") == 1
    assert peer.count_subscribers("in") == 0
    assert go(Transition.TRANSITION_ACTIVATE) == (True, "active")
    talk(spin, peer, 1.0)
    assert go(Transition.TRANSITION_DEACTIVATE) == (True, "inactive")
    spin.until(lambda: peer.count_subscribers("in") == 0)
    assert go(Transition.TRANSITION_ACTIVATE) == (True, "active")
    peer.heard.clear()
    talk(spin, peer, 3.0)
    assert go(Transition.TRANSITION_DEACTIVATE) == (True, "inactive")
    assert go(Transition.TRANSITION_CLEANUP) == (True, "unconfigured")
    spin.until(lambda: peer.count_publishers("out") == 0)
    assert go(Transition.TRANSITION_CONFIGURE) == (True, "inactive")
    assert echo.history.count("prepare") == 2
    assert go(Transition.TRANSITION_INACTIVE_SHUTDOWN) == (True, "finalized")
    echo.destroy_node()


def asked(spin, peer, transition):
    """Returns what asking the echo for a transition will have come to."""
    client = peer.create_client(ChangeState, "echo/change_state")
    spin.until(client.service_is_ready)
    request = ChangeState.Request()
    request.transition.id = transition
    return client.call_async(request)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("transition", ["configure", "cleanup", "inactive_shutdown", "active_shutdown"])
def test_what_takes_long_before_a_transition_holds_nobody_up(peer, transition, threads):
    echo, let_go, ticks = made(autostart=False), Event(), []
    if transition != "configure":
        echo.trigger_configure()
    if transition == "active_shutdown":
        echo.trigger_activate()
    slow = "prepare" if transition == "configure" else "finish"
    setattr(echo, slow, lambda: (echo.history.append(get_ident()), let_go.wait(60.0)))
    peer.create_timer(
        0.01, lambda: ticks.append(bool(echo.history) and echo.history[-1] not in ("configure", "activate"))
    )
    spin = Spin(echo, peer, threads=threads)
    answer = asked(spin, peer, getattr(Transition, f"TRANSITION_{transition.upper()}"))
    spin.until(lambda: sum(ticks) > 3)
    assert not answer.done()
    others = [asked(spin, peer, each) for each in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)]
    spin.until(lambda: all(other.done() for other in others))
    assert not any(other.result().success for other in others)
    let_go.set()
    spin.until(answer.done)
    assert answer.result().success
    assert echo.history[-1] == ("configure" if transition == "configure" else "release")
    assert get_ident() not in echo.history
    spin.executor.shutdown()
    echo.destroy_node()


def test_what_cannot_be_prepared_beside_is_refused_and_can_be_tried_again(peer):
    echo = made(autostart=False, factor=13.0)
    spin = Spin(echo, peer)
    for factor, is_good in ((13.0, False), (14.0, False), (1.0, True)):
        echo._params = EchoParams(autostart=False, factor=factor)
        answer = asked(spin, peer, Transition.TRANSITION_CONFIGURE)
        spin.until(answer.done)
        assert answer.result().success is is_good
    assert echo.history.count("prepare") == 3
    assert "KeyError" in echo._health.status().message
    echo.destroy_node()


@pytest.mark.parametrize(("factor", "kind"), [(13.0, ConfigurationError), (14.0, KeyError)])
def test_what_cannot_be_configured_is_refused_at_start_and_later(peer, factor, kind):
    with pytest.raises(kind):
        made(factor=factor)
    rclpy.try_shutdown()
    rclpy.init(args=[])
    echo = made(factor=factor, autostart=False)
    echo.trigger_configure()
    assert echo._label == "unconfigured"
    echo._params = EchoParams(factor=1.0)
    echo.trigger_configure()
    assert echo._label == "inactive"
    echo.destroy_node()


def test_parameters_reach_a_configured_node_only(peer):
    echo = made(autostart=False)
    echo.set_parameters([Parameter("factor", value=2.0)])
    assert echo.history == []
    echo.trigger_configure()
    echo.set_parameters([Parameter("factor", value=3.0)])
    assert echo.history[-1] == "factor 3"
    assert echo._params.factor == 3.0
    echo.destroy_node()


@pytest.mark.slow
def test_the_heartbeat_ends_with_the_node(peer):
    echo = made()
    beats, alive = [], []
    events = SubscriptionEventCallbacks(liveliness=lambda event: alive.append(event.alive_count))
    peer.create_subscription(State, "echo/heartbeat", beats.append, qos.HEARTBEAT, event_callbacks=events)
    spin = Spin(echo, peer)
    spin.until(lambda: bool(beats) and alive[-1:] == [1])
    assert (beats[0].id, beats[0].label) == (State.PRIMARY_STATE_ACTIVE, "active")
    spin.executor.remove_node(echo)
    spin.until(lambda: alive[-1] == 0)
    echo.destroy_node()


def test_an_error_in_a_plain_node_is_told_and_survived(peer):
    spin = Spin(peer)
    seen = []

    def hear(msg):
        seen.append(msg.data)
        raise MessageError("nobody-catches-this")

    peer.create_subscription(String, "words", hear, qos.STREAM)
    words = peer.create_publisher(String, "words", qos.STREAM)
    spin.until(lambda: words.get_subscription_count() == 1)
    words.publish(String(data="a"))
    words.publish(String(data="b"))
    spin.until(lambda: seen == ["a", "b"])


def test_spinning_goes_on_after_an_error(peer):
    seen = []

    def hear(msg):
        seen.append(msg.data)
        raise MessageError("nobody-catches-this")

    peer.create_subscription(String, "words", hear, qos.STREAM)
    words = peer.create_publisher(String, "words", qos.STREAM)
    executor = dispatching_executor()
    executor.add_node(peer)
    with ThreadPoolExecutor(1) as pool:
        spinning = pool.submit(executor.spin)
        try:
            wait_until(lambda: words.get_subscription_count() == 1)
            words.publish(String(data="a"))
            wait_until(lambda: seen == ["a"])
            words.publish(String(data="b"))
            wait_until(lambda: seen == ["a", "b"])
        finally:
            executor.shutdown()
        spinning.result(10.0)
