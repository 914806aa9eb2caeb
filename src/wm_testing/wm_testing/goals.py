"""A node that serves an action, and a peer beside it that is its robot and its client."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from wm_core.se3 import quaternion_of
from wm_interfaces.msg import LatentState
from wm_ros import floats, pose_to_msg, qos, stamp_msg
from wm_ros.goal_client import GoalClient
from wm_testing.spinning import Spinning

STEP_S = 0.05
# A robot that hears nothing for so many steps stops.
_MOST_STEPS = 10
_STEADY = Clock(clock_type=ClockType.STEADY_TIME)


def pose_goal(x: float, y: float = 0.0, yaw: float = 0.0, frame: str = "map") -> PoseStamped:
    """Returns a goal of an action: x, y [m], yaw [rad]."""
    msg = PoseStamped(pose=pose_to_msg((x, y, 0.0), quaternion_of(yaw)))
    msg.header.frame_id = frame
    return msg


class ServedRobot:
    """The node under test and a robot that sends states; both are spun by a thread of their own.

    A subclass makes the node, says how the robot moves (``advance``) and what it is told (``commands``).

    Args:
        node: Under test.
        action: Type of its action.
        name: Of its action.
        pose_3: Where the robot stands at first: x, y [m], yaw [rad].
        z_dim: Size of the latents that it sends.
    """

    def __init__(self, node: Any, action: Any, name: str, pose_3: tuple[float, float, float], z_dim: int) -> None:
        self.node, self.peer, self._kind, self._z_dim = node, Node("peer"), action, z_dim
        self.x, self.y, self.yaw = pose_3
        self.action: tuple[float, ...] = (0.0, 0.0)
        self.commands: list[tuple[float, ...]] = []
        self.feedback: list[Any] = []
        self.changes: dict[str, Any] = {}
        self.is_sending, self._moved_s = True, 0.0
        self.states = self.peer.create_publisher(LatentState, "/latent/state", qos.STREAM)
        self.client: Any = GoalClient(self.peer, action, name)
        self._spinning = Spinning(longest_s=40.0)
        self.until, self.wait = self._spinning.until, self._spinning.wait

    def spin(self) -> None:
        """Begin; returns when the node serves and hears."""
        self._moved_s = monotonic()
        self.peer.create_timer(STEP_S, self._move, clock=_STEADY)
        self._spinning.start((self.node, self.peer))
        self.until(lambda: bool(self.client.server_is_ready() and self.states.get_subscription_count()))

    def advance(self) -> None:
        """Move on by a step."""
        raise NotImplementedError

    def _move(self) -> None:
        """Move on by the steps that are due: its stamps are of the clock, so a held-up timer must not slow it down."""
        now_s = monotonic()
        due = int((now_s - self._moved_s) / STEP_S + 0.5)
        self._moved_s += due * STEP_S
        for _ in range(min(due, _MOST_STEPS)):
            self.advance()
        if self.is_sending:
            self.send()

    def send(self) -> None:
        """Send where the robot is; what ``changes`` holds is set in the message."""
        msg = LatentState(latent=floats(np.zeros(self._z_dim)), pose_frame_id="map")
        msg.header.stamp = stamp_msg(self.peer.get_clock().now().nanoseconds)
        msg.has_pose, msg.pose = True, pose_to_msg((self.x, self.y, 0.0), quaternion_of(self.yaw))
        msg.has_action, msg.action = True, floats(self.action)
        for name, value in self.changes.items():
            setattr(msg, name, value)
        self.states.publish(msg)

    def on_executor(self, work: Callable[[], Any]) -> Any:
        """Return what something returns that only the nodes' own thread may do."""
        return self.wait(self._spinning.executor.create_task(work))

    def start(self, **goal: Any) -> tuple[Any, Any]:
        """Return the handle of a goal that was accepted, and the future of its result."""
        sent = self.client.send_goal_async(
            self._kind.Goal(**goal), feedback_callback=lambda msg: self.feedback.append(msg.feedback)
        )
        handle = self.wait(sent)
        assert handle.accepted
        return handle, handle.get_result_async()

    def run(self, **goal: Any) -> Any:
        """Return a goal's result."""
        return self.wait(self.start(**goal)[1])

    def drive(self, *, faster_than: float, **goal: Any) -> tuple[Any, Any]:
        """Return what ``start`` does, once the robot moves."""
        started = self.start(**goal)
        self.until(lambda: self.commands and self.commands[-1][0] > faster_than)
        return started

    def close(self) -> None:
        """Stop spinning and end both nodes."""
        self._spinning.close()
        self.client.destroy()
        self.node.destroy_node()
        self.peer.destroy_node()
