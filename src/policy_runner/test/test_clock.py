"""The runner under a /clock that is slower than real time: what waits, waits as long for the robot."""

from __future__ import annotations

import threading
from time import monotonic

import pytest
from rclpy.action.client import ActionClient
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock

from policy_runner.node import PolicyRunner
from wm_interfaces.action import ExecutePolicy
from wm_interfaces.msg import LatentState
from wm_ros import qos, stamp_msg
from wm_testing.spinning import Spinning

RATE_HZ, SLOWER, NS = 50.0, 5.0, 1_000_000_000
pytestmark = pytest.mark.slow


class Hangs:
    """Answers nothing until it is let go."""

    action_dim, step_s, takes = 2, 0.05, frozenset()
    let_go = threading.Event()

    def act(self, observation):
        self.let_go.wait()
        raise RuntimeError("let go")


class SlowWorld:
    """A runner whose policy hangs, in a world that goes five times slower than real time while ``goes`` is set."""

    def __init__(self, **given):
        overrides = {"shadow": False, "use_sim_time": True, "stale_s": 60.0, "give_up_s": 600.0, **given}
        parameters = [Parameter(name, value=value) for name, value in overrides.items()]
        self.node = PolicyRunner(Hangs, parameter_overrides=parameters)
        self.peer = Node("world")
        self.now_ns, self.goes = 1000 * NS, True
        self._clock = self.peer.create_publisher(Clock, "/clock", 10)
        self._states = self.peer.create_publisher(LatentState, "/latent/state", qos.STREAM)
        self.peer.create_timer(0.02, self._go_on)
        self._spinning = Spinning(longest_s=60.0)
        self._spinning.start([self.node, self.peer])
        self.until = self._spinning.until

    def _go_on(self):
        self.now_ns += round(0.02 / SLOWER * NS) if self.goes else 0
        self._clock.publish(Clock(clock=stamp_msg(self.now_ns)))
        msg = LatentState(latent=[0.0] * 4)
        msg.header.stamp = stamp_msg(self.now_ns)
        self._states.publish(msg)

    def given_up(self):
        return self.node._health.counted("inference_given_up")

    def begin(self):
        """Ask for something, so that inference is asked."""
        self._client = ActionClient(self.peer, ExecutePolicy, "/policy_runner/execute")
        self.until(self._client.server_is_ready)
        self._spinning.wait(self._client.send_goal_async(ExecutePolicy.Goal(time_limit_s=1e6)))
        self.until(lambda: self.node._inference is not None and self.node._inference._worker.is_busy)

    def close(self):
        Hangs.let_go.set()
        self._spinning.close()
        self.node.destroy_node()
        self.peer.destroy_node()


@pytest.fixture
def slow_world(ros_context):
    worlds = []
    Hangs.let_go.clear()

    def make(**given):
        worlds.append(SlowWorld(**given))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def test_inference_is_given_up_by_the_clock_that_its_latency_is_measured_by(slow_world):
    """Where all is slow, so is inference: real time would make it anew, again and again, for no fault of its own."""
    world = slow_world(patience_s=0.6)
    world.begin()
    asked_ns = world.now_ns
    world.until(world.given_up)
    assert world.now_ns - asked_ns >= 0.5 * NS


def test_who_is_deactivated_brakes_no_faster_than_its_clock_goes(slow_world, monkeypatch):
    """20 commands within 0.4 s of a world that went on by 0.08 s would be five times the acceleration."""
    world = slow_world(patience_s=60.0)
    world.begin()
    world.until(lambda: len(world.node._pace._at_s) > 10)
    job, sent_s = world.node._job, []
    world.node._limiter.start([0.3, 0.0])
    publish = world.node._publish
    monkeypatch.setattr(world.node, "_publish", lambda step: (publish(step), sent_s.append(monotonic())))

    world._spinning.wait(world._spinning.executor.create_task(world.node.trigger_deactivate))
    assert job.execution.is_over
    assert len(sent_s) > 5
    assert (sent_s[-1] - sent_s[0]) / (len(sent_s) - 1) > 0.6 * SLOWER / RATE_HZ
