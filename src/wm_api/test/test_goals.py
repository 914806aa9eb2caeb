"""Goals over HTTP: off unless allowed, refused by name, and what becomes of them told to who watches."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import pytest
from rclpy.action import ActionServer, CancelResponse
from rclpy.node import Node

from wm_api.errors import UnavailableError
from wm_api.goals import Goal
from wm_api.live import Live
from wm_api.planner import ACTION, PlannerGoals
from wm_api.testing import TOKEN, running
from wm_core.se3 import yaw_of
from wm_interfaces.action import Plan
from wm_testing.nodes import ros_context, spin_until

__all__ = ["ros_context"]


class Recorded:
    """Drives nowhere, and knows where it should have."""

    def __init__(self) -> None:
        self.sent: list[Goal] = []
        self.is_there = True

    def is_ready(self) -> bool:
        return self.is_there

    def send(self, goal: Goal) -> None:
        if not self.is_there:
            raise UnavailableError("no planner runs")
        self.sent.append(goal)

    def cancel(self) -> bool:
        return bool(self.sent)


def test_goals_are_off_unless_allowed(world):
    world.goals = Recorded()
    with running(world) as service:
        answer = service.http.post("/goal", json={"x": 1.0, "y": 2.0})
        assert (answer.status_code, "allow_goals" in answer.json()["detail"]) == (403, True)
        assert service.http.get("/status").json()["can_drive"] is False
    assert world.goals.sent == []


def test_a_goal_is_passed_on_and_wrong_ones_are_refused_by_name(world):
    goals = Recorded()
    with running(world, allow_goals=True) as service:
        assert service.http.post("/goal", json={"x": 1.0, "y": 2.0}).status_code == 404
        world.goals = goals
        assert service.http.get("/status").json()["can_drive"] is True
        assert service.http.post("/goal", json={"x": 1.0, "y": 2.0}).status_code == 202
        assert service.http.post("/goal", json={"x": 0.0, "y": -1.5, "yaw": 0.5}).status_code == 202
        assert goals.sent == [Goal(1.0, 2.0, None), Goal(0.0, -1.5, 0.5)]
        for body, field in (({"x": 1.0}, "y"), ({"x": 1e9, "y": 0.0}, "x"), ({"x": 0, "y": 0, "to": 1}, "to")):
            refused = service.http.post("/goal", json=body)
            assert (refused.status_code, refused.json()["field"]) == (422, field)
        assert service.http.post("/goal/cancel").json() == {"cancelled": True}
        goals.is_there = False
        assert service.http.post("/goal", json={"x": 1.0, "y": 2.0}).status_code == 503
        assert service.http.get("/status").json()["can_drive"] is False


def test_where_there_is_a_token_a_cookie_moves_no_robot(world):
    world.goals = Recorded()
    with running(world, allow_goals=True, token=TOKEN) as service:
        assert service.http.post("/login", json={"token": TOKEN}).status_code == 200
        assert service.http.post("/goal", json={"x": 0.0, "y": 0.0}).status_code == 401
        assert world.goals.sent == []
        headers = {"authorization": f"Bearer {TOKEN}"}
        assert service.http.post("/goal", json={"x": 0.0, "y": 0.0}, headers=headers).status_code == 202


class Planner:
    """A planner that does what a test says, and a client of it."""

    def __init__(self) -> None:
        self.node, self.client_node = Node("planner"), Node("client")
        self.live = Live()
        self.go_on = threading.Event()
        self.asked: list[Plan.Goal] = []
        self.outcome = "REACHED"
        self.goals = PlannerGoals(self.client_node, self.live)

    def serve(self) -> None:
        self.server = ActionServer(
            self.node, Plan, ACTION, self._execute, cancel_callback=lambda _: CancelResponse.ACCEPT
        )
        spin_until(self.goals.is_ready, self.node, self.client_node)

    def _execute(self, handle) -> Plan.Result:
        self.asked.append(handle.request)
        handle.publish_feedback(Plan.Feedback(state=Plan.Feedback.DRIVING, distance_left=2.5))
        handle.succeed()
        return Plan.Result(outcome=Plan.Result.REACHED, name=self.outcome, message="there")

    def states(self) -> list[str]:
        return [each.data["state"] for each in self.live._events]

    def until(self, state: str) -> None:
        spin_until(lambda: state in self.states(), self.node, self.client_node)

    def close(self) -> None:
        self.goals.close()
        self.node.destroy_node()
        self.client_node.destroy_node()


@pytest.fixture
def planner(ros_context) -> Iterator[Planner]:
    made = Planner()
    yield made
    made.close()


@pytest.mark.slow
def test_nobody_drives_where_no_planner_runs(planner):
    assert not planner.goals.is_ready()
    with pytest.raises(UnavailableError, match="no planner runs"):
        planner.goals.send(Goal(0.0, 0.0))
    assert planner.goals.cancel() is False


def test_a_goal_reaches_the_planner_and_its_end_is_told(planner):
    planner.serve()
    planner.goals.send(Goal(1.0, -2.0))
    planner.until("reached")
    assert planner.states()[0] == "sent"
    assert "driving" in planner.states()
    asked = planner.asked[0]
    assert (asked.kind, asked.any_yaw) == (Plan.Goal.POSE, True)
    assert (asked.pose.pose.position.x, asked.pose.pose.position.y) == (1.0, -2.0)
    planner.goals.send(Goal(0.0, 0.0, math.pi / 2))
    spin_until(lambda: planner.states().count("reached") == 2, planner.node, planner.client_node)
    turn = planner.asked[1].pose.pose.orientation
    assert planner.asked[1].any_yaw is False
    assert yaw_of((turn.x, turn.y, turn.z, turn.w)) == pytest.approx(math.pi / 2)


def test_of_a_goal_that_another_replaced_nothing_more_is_told(planner):
    planner.serve()
    planner.goals.send(Goal(1.0, 1.0))
    planner.goals.send(Goal(2.0, 2.0))
    planner.until("reached")
    told = list(planner.live._events)
    assert {each.data["x"] for each in told if each.data["state"] == "reached"} == {2.0}
    assert all(each.data["x"] == 2.0 for each in told[2:])
