"""The node in ``benchmarks.execution``, under a clock that is published to it: faster than real time, step by step."""

from __future__ import annotations

import threading
from time import monotonic
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Float32MultiArray

from benchmarks.execution_runner import NS, Fault, nearest_drive
from benchmarks.taught import ENCODER_ID, Route, TaughtMemory
from policy_runner.chunks import Chunk
from policy_runner.drift import Known
from policy_runner.nearest_drive import NearestDrive
from policy_runner.node import PolicyRunner
from policy_runner.policies import Observation
from wm_core.se3 import quaternion_of
from wm_interfaces.action import ExecutePolicy
from wm_interfaces.msg import LatentState
from wm_ros import floats, own_domain_id, pose_to_msg, qos, stamp_msg
from wm_ros.goal_client import GoalClient

_PATIENCE_S = 30.0
_EPOCH_S = 1000
_DELAYED = 3.0


class KilledError(Exception):
    """Inference ended in the middle of its work."""


class _World:
    """The time of the simulation, which inference waits for on its own thread; and what is to go wrong."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.now_s, self.slower, self.is_killed = 0.0, 1.0, False
        self.due_s: float | None = None

    def advance(self, now_s: float, fault: Fault | None) -> None:
        """Make it later, and let who waited long enough finish."""
        with self.changed:
            self.now_s = now_s
            self.slower = _DELAYED if fault is not None and fault.kind == "delayed" else 1.0
            self.is_killed = fault is not None and fault.kind in ("killed", "restarted")
            self.changed.notify_all()
            # What is due by then is waited for, or a slow machine would make inference later still.
            self.changed.wait_for(lambda: self.due_s is None or self.due_s > now_s, _PATIENCE_S)


class _Late:
    """The nearest drive, as late as is said, and dead when it is killed."""

    takes = NearestDrive.takes

    def __init__(self, world: _World, latency_s: float, jitter: float, seed: int, known: Known) -> None:
        self._policy, self._world = nearest_drive(known=known), world
        self._latency, self._rng = (latency_s, jitter), np.random.default_rng(seed)
        self.action_dim, self.step_s = self._policy.action_dim, self._policy.step_s

    def act(self, observation: Observation) -> Chunk:
        """Return what the nearest drive says, in the simulation's time."""
        latency_s, jitter = self._latency
        world = self._world
        with world.changed:
            world.due_s = world.now_s + world.slower * latency_s * self._rng.uniform(1.0 - jitter, 1.0 + jitter)
        try:
            chunk = self._policy.act(observation)
            self._wait()
        finally:
            with world.changed:
                world.due_s = None
                world.changed.notify_all()
        return chunk

    def _wait(self) -> None:
        """Wait until the answer is due in the simulation's time."""
        world = self._world
        with world.changed:
            due_s = world.due_s
            assert due_s is not None
            if not world.changed.wait_for(lambda: world.now_s >= due_s or world.is_killed, _PATIENCE_S):
                raise KilledError("the simulation stands still")
            if world.is_killed:
                raise KilledError("killed")


class NodeRunner:
    """The node as it runs on a robot, in this process, with the clock in our hands.

    Args:
        route: What is remembered.
        latency_s: Of inference [s].
        jitter: Share by which that differs.
        seed: Of the jitter.
    """

    def __init__(self, route: Route, latency_s: float, jitter: float, seed: int) -> None:
        rclpy.init(args=[], domain_id=own_domain_id())
        self._world, self._command = _World(), np.zeros(2)
        overrides = [Parameter(name, value=value) for name, value in (("shadow", False), ("use_sim_time", True))]
        known = Known()
        self._node = PolicyRunner(
            lambda: _Late(self._world, latency_s, jitter, seed, known),
            TaughtMemory(route),
            parameter_overrides=overrides,
        )
        self._peer = Node("robot")
        self._clock = self._peer.create_publisher(Clock, "/clock", 10)
        self._states = self._peer.create_publisher(LatentState, "latent/state", qos.STREAM)
        self._peer.create_subscription(Float32MultiArray, "actions", self._obey, qos.INPUT)
        self._client: Any = GoalClient(self._peer, ExecutePolicy, "policy_runner/execute")
        self._executor = SingleThreadedExecutor()
        for node in (self._node, self._peer):
            self._executor.add_node(node)
        self._received = self._states_sent = 0
        self._goal: Any = None

    @property
    def starved(self) -> int:
        """Steps without a chunk."""
        return self._node._health.counted("starved_steps")

    def _obey(self, msg: Float32MultiArray) -> None:
        self._command = np.array(msg.data, float)
        self._received += 1

    def _until(self, predicate: Any) -> None:
        deadline_s = monotonic() + _PATIENCE_S
        while not predicate():
            if monotonic() > deadline_s:
                raise RuntimeError("the node does not answer")
            self._executor.spin_once(timeout_sec=0.01)

    def see(self, stamp_ns: int, pose_3: np.ndarray, latent_D: np.ndarray) -> None:
        """Send a state with a measured pose."""
        msg = LatentState(latent=floats(latent_D), encoder_id=ENCODER_ID, pose_frame_id="map", has_pose=True)
        msg.header.stamp = stamp_msg(stamp_ns + _EPOCH_S * NS)
        x, y, yaw = map(float, pose_3)
        msg.pose = pose_to_msg((x, y, 0.0), quaternion_of(yaw))
        msg.has_action, msg.action = True, floats(self._command)
        self._states.publish(msg)
        self._states_sent += 1
        self._until(lambda: self._node._health.counted("states") >= self._states_sent)

    def command(self, now_ns: int, fault: Fault | None) -> np.ndarray:
        """Publish the time and return what the node commands for it [A]."""
        if self._goal is None:
            self._until(lambda: self._client.server_is_ready() and self._clock.get_subscription_count())
            self._tick(now_ns, fault)
            self._goal = self._client.send_goal_async(ExecutePolicy.Goal(time_limit_s=1e6))
            self._until(self._goal.done)
            return self._command
        before = self._received
        self._tick(now_ns, fault)
        self._until(lambda: self._received > before)
        return self._command

    def _tick(self, now_ns: int, fault: Fault | None) -> None:
        self._world.advance(now_ns / NS, fault)
        self._clock.publish(Clock(clock=stamp_msg(now_ns + _EPOCH_S * NS)))
        self._until(lambda: self._node.get_clock().now().nanoseconds >= now_ns + _EPOCH_S * NS - 1)

    def close(self) -> None:
        """End the node."""
        self._world.advance(1e9, None)
        self._executor.shutdown()
        self._client.destroy()
        self._node.destroy_node()
        self._peer.destroy_node()
        rclpy.try_shutdown()
