"""Goals for the graph's planner: sent from the service's threads, and what becomes of them told to who watches."""

from __future__ import annotations

import math
import threading
from time import monotonic
from typing import Any

from rclpy.node import Node
from rclpy.task import Future

from wm_api.errors import UnavailableError
from wm_api.goals import Goal
from wm_api.live import Live
from wm_core.se3 import quaternion_of
from wm_interfaces.action import Plan
from wm_ros import pose_to_msg
from wm_ros.goal_client import GoalClient

ACTION = "latent_planner/plan"
_STATES = {Plan.Feedback.LOCATING: "locating", Plan.Feedback.DRIVING: "driving", Plan.Feedback.TURNING: "turning"}
_TOLD_EVERY_S = 0.5


class PlannerGoals:
    """Goals of a graph; see ``Goals``.

    Args:
        node: Whose client of ``/latent_planner/plan`` it is.
        live: Where is told what becomes of goals.
    """

    def __init__(self, node: Node, live: Live) -> None:
        self._live = live
        self._client: Any = GoalClient(node, Plan, ACTION)
        self._lock = threading.Lock()
        self._number = 0
        self._handle: Any = None
        self._told_s = -_TOLD_EVERY_S
        self._state = ""

    def is_ready(self) -> bool:
        """Return whether the planner is there."""
        ready: bool = self._client.server_is_ready()
        return ready

    def send(self, goal: Goal) -> None:
        """Have the planner drive there; see ``Goals``."""
        if not self.is_ready():
            raise UnavailableError("no planner runs: start latent_planner beside the graph")
        asked = Plan.Goal(kind=Plan.Goal.POSE, any_yaw=goal.yaw is None)
        asked.pose.pose = pose_to_msg((goal.x, goal.y, 0.0), quaternion_of(goal.yaw or 0.0))
        with self._lock:
            self._number += 1
            number, self._handle, self._state = self._number, None, "sent"
        self._tell(number, "sent", "", goal)
        sent = self._client.send_goal_async(asked, lambda msg: self._on_feedback(number, goal, msg.feedback))
        sent.add_done_callback(lambda future: self._on_accepted(number, goal, future))

    def cancel(self) -> bool:
        """Have the planner stop; see ``Goals``."""
        with self._lock:
            handle = self._handle
        if handle is None:
            return False
        handle.cancel_goal_async()
        return True

    def close(self) -> None:
        """Let go of the client."""
        self._client.destroy()

    def _on_accepted(self, number: int, goal: Goal, future: Future[Any]) -> None:
        handle = future.result()
        if handle is None or not handle.accepted:
            self._tell(number, "refused", "the planner does not take goals now", goal)
            return
        with self._lock:
            if number == self._number:
                self._handle = handle
        handle.get_result_async().add_done_callback(lambda ended: self._on_result(number, goal, ended))

    def _on_feedback(self, number: int, goal: Goal, feedback: Plan.Feedback) -> None:
        state, now_s = _STATES.get(feedback.state, "driving"), monotonic()
        if state == self._state and now_s - self._told_s < _TOLD_EVERY_S:
            return
        self._told_s = now_s
        left = feedback.distance_left
        self._tell(number, state, f"{left:.2f} m left" if math.isfinite(left) else "", goal)

    def _on_result(self, number: int, goal: Goal, future: Future[Any]) -> None:
        ended: Any = future.result()
        result = ended.result
        with self._lock:
            if number == self._number:
                self._handle = None
        self._tell(number, result.name.lower() or "failed", result.message, goal)

    def _tell(self, number: int, state: str, detail: str, goal: Goal) -> None:
        """Say what became of a goal; of those that another took the place of nothing is said any more."""
        with self._lock:
            if number != self._number:
                return
            self._state = state
        entry = {"state": state, "detail": detail[:1000], "x": goal.x, "y": goal.y, "yaw": goal.yaw}
        self._live.happened("goal", entry, "goal")
