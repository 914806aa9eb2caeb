"""The runner under a /clock that is slower than real time: what waits, waits as long for the robot."""

from __future__ import annotations

import threading
from time import monotonic

import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Float32MultiArray

from policy_runner.chunks import Chunk
from policy_runner.node import PolicyRunner
from wm_interfaces.action import ExecutePolicy
from wm_interfaces.msg import LatentState
from wm_ros import qos, stamp_msg
from wm_ros.goal_client import GoalClient
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


class Straight:
    """Drives straight on, by memories from before its goal alone."""

    action_dim, step_s, takes = 2, 0.05, frozenset()
    began_ns = 0

    def act(self, observation):
        Straight.began_ns = observation.begun_ns
        return Chunk(observation.stamp_ns, 0.05, np.tile([0.8, 0.0], (40, 1)))


class SlowWorld:
    """A runner whose policy hangs, in a world that goes five times slower than real time while ``goes`` is set."""

    def __init__(self, policy=Hangs, has_clock=True, **given):
        overrides = {"shadow": False, "use_sim_time": True, "stale_s": 60.0, "give_up_s": 600.0, **given}
        parameters = [Parameter(name, value=value) for name, value in overrides.items()]
        self.node = PolicyRunner(policy, parameter_overrides=parameters)
        self.peer, self.commands = Node("world"), []
        self.now_ns, self.goes, self.has_clock = 1000 * NS, True, has_clock
        self.peer.create_subscription(Float32MultiArray, "/actions", lambda msg: self.commands.append(msg.data[0]), 10)
        self._clock = self.peer.create_publisher(Clock, "/clock", 10)
        self._states = self.peer.create_publisher(LatentState, "/latent/state", qos.STREAM)
        self.peer.create_timer(0.02, self._go_on)
        self._spinning = Spinning(longest_s=60.0)
        self._spinning.start([self.node, self.peer])
        self.until = self._spinning.until

    def _go_on(self):
        if not self.has_clock:
            return
        self.now_ns += round(0.02 / SLOWER * NS) if self.goes else 0
        self._clock.publish(Clock(clock=stamp_msg(self.now_ns)))
        msg = LatentState(latent=[0.0] * 4)
        msg.header.stamp = stamp_msg(self.now_ns)
        self._states.publish(msg)

    def given_up(self):
        return self.node._health.counted("inference_given_up")

    def ask(self, time_limit_s=1e6):
        """Return the future of the result of a goal."""
        self._client = GoalClient(self.peer, ExecutePolicy, "/policy_runner/execute")
        self.until(self._client.server_is_ready)
        handle = self._spinning.wait(self._client.send_goal_async(ExecutePolicy.Goal(time_limit_s=time_limit_s)))
        return handle.get_result_async()

    def begin(self):
        """Ask for something, so that inference is asked."""
        self.ask()
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


def test_a_goal_that_comes_before_the_clock_has_begun_begins_with_it(slow_world):
    """Its first time is that of the simulator or of a bag: the time of a goal that began at 0 was over at once."""
    world = slow_world(policy=Straight, has_clock=False)
    result = world.ask(time_limit_s=100.0)
    world.until(lambda: world.node._job is not None)
    world.has_clock = True
    world.until(lambda: result.done() or (world.commands and world.commands[-1] > 0.5))
    assert not result.done(), result.result().result
    assert Straight.began_ns >= 1000 * NS


def test_a_goal_lasts_no_longer_when_the_clock_is_set_back(slow_world):
    """Counted from when it began, its time was over as much later as the clock was set back."""
    world = slow_world(policy=Straight)
    result = world.ask(time_limit_s=3.0)
    world.until(lambda: world.commands and world.commands[-1] > 0.5)
    world.now_ns -= 900 * NS
    world.until(result.done)
    assert result.result().result.name == "TIMED_OUT"
