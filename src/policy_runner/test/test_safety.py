"""What becomes of a robot that moves when goals, inputs and the node itself do what nobody hoped for."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
from time import monotonic
from typing import Any

import numpy as np
import pytest
from rclpy.node import Node
from std_msgs.msg import Float32MultiArray

from policy_runner.chunks import Chunk
from policy_runner.params import PolicyRunnerParams
from policy_runner.policies import PolicyError
from wm_interfaces.action import ExecutePolicy
from wm_interfaces.msg import LatentState
from wm_ros import floats, own_domain_id, qos, stamp_msg
from wm_ros.goal_client import GoalClient
from wm_testing.spinning import Spinning

RATE_HZ, LIMITS = 50.0, PolicyRunnerParams().limits
RADIUS_M, FAST_M_S = 2.0, 2.4
pytestmark = pytest.mark.slow


class Straight:
    """Drives straight on, or has nothing to say, or hangs: whatever ``does`` says."""

    action_dim, step_s, takes = 2, 0.05, frozenset()

    def __init__(self, does):
        self._does = does

    def act(self, observation):
        if self._does:
            self._does[-1]()
        return Chunk(observation.stamp_ns, 0.05, np.tile([0.8, 0.0], (20, 1)))


def says_nothing():
    raise PolicyError("nothing to say")


def assert_limits_kept(commands):
    sent = np.array(commands)
    assert (np.abs(np.diff(sent, axis=0)) <= np.array(LIMITS.rate) / RATE_HZ + 1e-5).all()


@pytest.mark.parametrize("why", ["nothing to say", "hangs", "nothing seen"])
def test_a_goal_that_comes_while_it_drives_and_has_no_plan_stops_it(make_world, why):
    """It would have gone on with the command in force until it gave up, ten seconds later."""
    does, hang = [], threading.Event()
    world = make_world(lambda: Straight(does), stale_s=0.5 if why == "nothing seen" else 5.0)
    world.drive()
    world.is_sending = why != "nothing seen"
    if why != "nothing seen":
        does.append(says_nothing if why == "nothing to say" else hang.wait)
    _, result = world.start()
    began_s = monotonic()
    world.until(lambda: world.commands[-1] == (0.0, 0.0))
    assert monotonic() - began_s < 5.0
    assert not result.done()
    hang.set()
    assert_limits_kept(world.commands)


def test_a_goal_that_was_cancelled_and_another_that_comes_while_it_brakes(make_world):
    world = make_world(rate=[0.5, 12.0])
    handle, result = world.drive()
    assert world.wait(handle.cancel_goal_async()).goals_canceling
    world.start()
    assert world.wait(result).result.name == "CANCELLED"


def test_what_it_had_ended_with_before_it_is_deactivated_it_has_ended_with(make_world):
    world = make_world(rate=[0.5, 12.0])
    handle, result = world.drive()
    assert world.wait(handle.cancel_goal_async()).goals_canceling
    world.on_executor(world.node.trigger_deactivate)
    assert world.wait(result).result.name == "CANCELLED"


def test_a_robot_that_brakes_slowly_stands_when_the_node_is_deactivated(make_world):
    """0.5 m/s at 0.1 m/s^2 takes five seconds."""
    world = make_world(lambda: Straight([]), rate=[0.1, 12.0])
    world.drive()
    world.on_executor(world.node.trigger_deactivate)
    world.until(lambda: world.commands[-1] == (0.0, 0.0))


def test_states_ahead_of_the_clock_are_no_reason_to_go_on(make_world):
    world = make_world(lambda: Straight([]), stale_s=0.4)
    world.drive()
    ahead_ns = 3600 * 10**9
    world.changes["header"] = LatentState().header
    world.changes["header"].stamp = stamp_msg(world.peer.get_clock().now().nanoseconds + ahead_ns)
    world.until(lambda: world.status()["mode"] in ("holding", "stopping"))
    world.until(lambda: world.action == (0.0, 0.0))
    assert int(world.status()["dropped/ahead-of-the-clock"]) > 0


def test_each_state_twice_is_as_good_as_once(make_world):
    """A fence stops who moves: of a robot whose every second state is the same it was not known how fast it is."""
    world = make_world(lambda: Straight([]))
    publish = world.states.publish
    world.states.publish = lambda msg: (publish(msg), publish(msg))
    world.drive()

    def left_out():
        return int(world.status()["skipped/no-newer-state"])

    speeds = []
    for count in range(left_out() + 1, left_out() + 12):
        world.until(lambda count=count: left_out() >= count)
        speeds.append(world.on_executor(lambda: world.node._situation.speed_m_s))
    assert np.isfinite(speeds).all(), speeds
    assert speeds[-1] > 0.3


def test_within_a_fence_nobody_goes_who_does_not_know_where(make_world):
    world = make_world(lambda: Straight([]), keep_in=[-9.0, -9.0, 9.0, 9.0], stale_s=0.5, give_up_s=1.0)
    world.drive()
    world.changes["has_pose"] = False
    world.until(lambda: world.action == (0.0, 0.0))
    assert world.run(time_limit_s=0.5).result.name == "STALE_INPUTS"


def test_who_waits_for_something_to_be_seen_says_so(make_world):
    world = make_world(lambda: Straight([]), stale_s=0.3)
    world.is_sending = False
    world.start()
    world.until(lambda: "degraded/execution" in world.status())


def test_who_takes_a_moving_robot_over_goes_on_from_what_it_is_told(make_world):
    """The first command was of a robot that stands: from 0.8 m/s on a jump of 40 m/s^2."""
    world = make_world(lambda: Straight([]))
    world.action = (0.8, 0.0)
    world.until(lambda: (seen := world.node._situation.seen) and seen.frame.action_A is not None)
    world.on_executor(lambda: None)
    world.start()
    world.until(lambda: world.commands)
    assert world.commands[0][0] > 0.7
    assert_limits_kept([(0.8, 0.0), *world.commands])


class Round:
    """Drives the circle of the robot's memory, at a speed that it may not have, and says where that leads."""

    action_dim, step_s, takes = 2, 0.05, frozenset()

    def act(self, observation):
        x, y, _ = observation.pose_3
        angle_H = math.atan2(x, RADIUS_M - y) + FAST_M_S / RADIUS_M * 0.05 * np.arange(60)
        path_H3 = np.column_stack([RADIUS_M * np.sin(angle_H), RADIUS_M - RADIUS_M * np.cos(angle_H), angle_H])
        return Chunk(observation.stamp_ns, 0.05, np.tile([FAST_M_S, FAST_M_S / RADIUS_M], (60, 1)), path_H3)


def test_a_policy_that_may_not_be_as_fast_as_it_would_drives_the_same_way(make_world):
    """Three times as fast as it may be it asks for three times the yaw rate: it went round in a third of the circle."""
    world = make_world(Round, high=[FAST_M_S / 3.0, 2.2])
    world.drive()
    world.until(lambda: world.y > 1.5 * RADIUS_M or world.off_m() > 1.0)
    assert world.off_m() < 0.3
    assert_limits_kept(world.commands)


PROGRAM = """
import numpy as np
from policy_runner.chunks import Chunk
from policy_runner.node import PolicyRunner
from wm_ros import run_node

class Straight:
    action_dim, step_s, takes = 2, 0.05, frozenset()

    def act(self, observation):
        return Chunk(observation.stamp_ns, 0.05, np.tile([0.8, 0.0], (60, 1)))

raise SystemExit(run_node(lambda: PolicyRunner(Straight)))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_is_told_to_end_brings_the_robot_to_a_stand_first(ros_context, number):
    """A robot goes on with what it was told last."""
    words = ["--ros-args", "-p", "shadow:=false", "-p", "rate:=[1.0, 12.0]", "-p", "stale_s:=5.0"]
    command = [sys.executable, "-c", PROGRAM, *words]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(own_domain_id())}
    peer, heard = Node("peer"), list[float]()
    states = peer.create_publisher(LatentState, "/latent/state", qos.STREAM)
    peer.create_subscription(Float32MultiArray, "/actions", lambda msg: heard.append(msg.data[0]), qos.INPUT)

    def send():
        msg = LatentState(latent=floats(np.zeros(4)), has_action=True, action=floats(np.zeros(2)))
        msg.header.stamp = stamp_msg(peer.get_clock().now().nanoseconds)
        states.publish(msg)

    client: Any = GoalClient(peer, ExecutePolicy, "/policy_runner/execute")
    peer.create_timer(0.05, send)
    spinning = Spinning(longest_s=60.0)
    spinning.start([peer])
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            spinning.until(lambda: client.server_is_ready() and states.get_subscription_count())
            spinning.wait(client.send_goal_async(ExecutePolicy.Goal(time_limit_s=60.0)))
            spinning.until(lambda: len(heard) > 20 and heard[-1] > 0.7)
            process.send_signal(number)
            _, errors = process.communicate(timeout=40)
        finally:
            process.kill()
            client.destroy()
            spinning.close()
            peer.destroy_node()
    assert (process.returncode, "Traceback" in errors) == (0, False), errors
    assert heard[-1] == 0.0
    assert np.abs(np.diff(heard)).max() <= 1.0 / RATE_HZ + 1e-5
