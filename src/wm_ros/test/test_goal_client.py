"""Goals sent from any thread, and many of them at once: each is answered."""

from __future__ import annotations

import threading
from time import monotonic

import pytest
from rclpy.action import ActionServer
from rclpy.node import Node

from wm_interfaces.action import Plan
from wm_ros import qos
from wm_ros.goal_client import GoalClient
from wm_testing.nodes import ros_context  # noqa: F401
from wm_testing.spinning import Spinning

pytestmark = pytest.mark.usefixtures("ros_context")

# More than ROS keeps unless told otherwise.
MANY = 60


class Served:
    """A server that takes every goal, on a thread of its own, and a client whose node nobody spins yet."""

    def __init__(self):
        self.server_node, self.node, self.asked = Node("server"), Node("client"), []
        self.server = ActionServer(
            self.server_node, Plan, "plan", self.execute, feedback_pub_qos_profile=qos.FEEDBACK, **qos.ACTION
        )
        self.client = GoalClient(self.node, Plan, "plan")
        self.serving, self.spinning = Spinning(), Spinning()
        self.serving.start([self.server_node])
        self.serving.until(self.client.server_is_ready)

    def execute(self, handle):
        for step in range(int(handle.request.time_limit_s)):
            handle.publish_feedback(Plan.Feedback(cost=float(step)))
        self.asked.append(handle.request.memory_id)
        handle.succeed()
        return Plan.Result(memory_id=handle.request.memory_id)

    def close(self):
        for each in (self.spinning, self.serving):
            each.close()
        self.client.destroy()
        self.server.destroy()
        for node in (self.node, self.server_node):
            node.destroy_node()


@pytest.fixture
def served():
    made = Served()
    yield made
    made.close()


def test_answers_of_many_goals_at_once_do_not_push_each_other_out(served):
    sent = [served.client.send_goal_async(Plan.Goal(memory_id=number)) for number in range(MANY)]
    # Nobody takes an answer before all are there.
    served.serving.until(lambda: len(served.asked) == MANY)
    served.spinning.start([served.node])
    results = [served.spinning.wait(each).get_result_async() for each in sent]
    assert [served.spinning.wait(each).result.memory_id for each in results] == list(range(MANY))


def test_feedback_that_comes_at_once_does_not_push_each_other_out(served):
    heard = []
    served.client.send_goal_async(Plan.Goal(time_limit_s=float(MANY)), lambda msg: heard.append(msg.feedback.cost))
    served.serving.until(lambda: served.asked)
    served.spinning.start([served.node])
    served.spinning.until(lambda: len(heard) == MANY)
    assert heard == list(range(MANY))


class Held:
    """A lock; its ``with`` ends only once an answer was executed, or is held back by who sends.

    Args:
        lock: What it locks with.
        answered: Set once an answer was executed.
        taken: Set once an answer was taken.
    """

    def __init__(self, lock, taken, executed):
        self._lock, self._taken, self._executed = lock, taken, executed

    def __enter__(self):
        return self._lock.__enter__()

    def __exit__(self, *error):
        self._lock.__exit__(*error)
        if threading.current_thread() is threading.main_thread():
            assert self._taken.wait(30.0)
            # Who holds the answer back until it was sent waits for this thread.
            self._executed.wait(0.5)


def test_an_answer_that_comes_while_its_goal_is_still_being_sent_is_not_lost(served, monkeypatch):
    taken, executed = threading.Event(), threading.Event()
    take, execute = served.client.take_data, GoalClient.execute

    def take_and_tell():
        data = take()
        if "goal" in data:
            taken.set()
        return data

    async def execute_and_tell(self, data):
        await execute(self, data)
        executed.set()

    monkeypatch.setattr(served.client, "take_data", take_and_tell)
    monkeypatch.setattr(GoalClient, "execute", execute_and_tell)
    monkeypatch.setattr(served.client, "_lock", Held(served.client._lock, taken, executed))
    served.spinning.start([served.node])
    sent = served.client.send_goal_async(Plan.Goal(memory_id=1))
    begin_s = monotonic()
    while not sent.done():
        assert monotonic() - begin_s < 20.0, "never answered"
        executed.wait(0.01)
    assert sent.result().accepted
