"""Action servers of managed nodes, on the executor that the nodes run on and on rclpy's pool."""

from __future__ import annotations

import pytest
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.action import CancelResponse, GoalResponse
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String

from wm_interfaces.action import Plan
from wm_ros import LongWork, ManagedNode, ManagedParams, qos
from wm_ros.goal_client import GoalClient
from wm_ros.lean_executor import LeanExecutor
from wm_testing.nodes import ros_context  # noqa: F401
from wm_testing.spinning import Spinning

pytestmark = pytest.mark.usefixtures("ros_context")


class Driver(ManagedNode[ManagedParams]):
    """Drives until a cancel, another goal, being deactivated or an error of its own ends that."""

    def __init__(self, **options):
        super().__init__("driver", ManagedParams, **options)
        self.ends, self.numbers = [], []
        self.start()

    def configure(self):
        self.work = LongWork("driver", lambda: self.executor)
        self.server = self.create_action_server(
            Plan, "~/plan", self.drive, goal_callback=self.on_goal, cancel_callback=self.on_cancel
        )

    def activate(self):
        self.create_subscription(String, "text", self.numbers.append, qos.STREAM)

    def release(self):
        self.work.shutdown()

    def on_goal(self, _goal):
        return GoalResponse.ACCEPT if self.is_active else GoalResponse.REJECT

    def on_cancel(self, _handle):
        self.end(Plan.Result.CANCELLED)
        return CancelResponse.ACCEPT

    def end(self, outcome):
        for end in self.ends:
            if not end.done():
                end.set_result(outcome)

    async def drive(self, handle):
        self.end(Plan.Result.PREEMPTED)
        if handle.request.memory_id == 13:
            raise KeyError("a bug")
        looked_up = await self.work.later(lambda: handle.request.memory_id + 1)
        handle.publish_feedback(Plan.Feedback(state=Plan.Feedback.DRIVING, cost=float(looked_up)))
        self.ends.append(Future(executor=self.executor))
        outcome = Plan.Result.REACHED if handle.request.memory_id == 1 else await self.ends[-1]
        {Plan.Result.CANCELLED: handle.canceled, Plan.Result.REACHED: handle.succeed}.get(outcome, handle.abort)()
        return Plan.Result(outcome=outcome)


class Asker:
    """An action client and the node that serves it, on one executor."""

    def __init__(self, threads, **options):
        self.driver, self.peer = Driver(**options), Node("peer")
        self.client, self.heard = GoalClient(self.peer, Plan, "driver/plan"), []
        self.text = self.peer.create_publisher(String, "text", qos.STREAM)
        self.spinning = Spinning(threads)
        self.executor, self.wait, self.until = self.spinning.executor, self.spinning.wait, self.spinning.until
        assert isinstance(self.executor, LeanExecutor) == (threads == 1)
        self.spinning.start((self.driver, self.peer))
        self.until(self.client.server_is_ready)

    def send(self, memory_id):
        goal = Plan.Goal(memory_id=memory_id, pose=PoseStamped())
        sent = self.client.send_goal_async(goal, feedback_callback=lambda msg: self.heard.append(msg.feedback.cost))
        return self.wait(sent)

    def close(self):
        self.spinning.close()
        self.client.destroy()
        self.driver.destroy_node()
        self.peer.destroy_node()


@pytest.fixture(params=[1, 3])
def asker(request):
    made = Asker(request.param)
    yield made
    made.close()


def test_a_goal_has_feedback_and_a_result(asker):
    answer = asker.wait(asker.send(1).get_result_async())
    assert (answer.status, answer.result.outcome) == (GoalStatus.STATUS_SUCCEEDED, Plan.Result.REACHED)
    asker.until(lambda: asker.heard == [2.0])


def test_messages_are_heard_while_a_goal_is_under_way_and_a_cancel_ends_it(asker):
    handle = asker.send(5)
    asker.until(lambda: asker.heard == [6.0])
    asker.text.publish(String(data="still here"))
    asker.until(lambda: len(asker.driver.numbers) == 1)
    assert asker.wait(handle.cancel_goal_async()).goals_canceling
    answer = asker.wait(handle.get_result_async())
    assert (answer.status, answer.result.outcome) == (GoalStatus.STATUS_CANCELED, Plan.Result.CANCELLED)


@pytest.mark.slow
def test_a_new_goal_can_preempt_the_former(asker):
    first = asker.send(5)
    asker.until(lambda: asker.heard == [6.0])
    second = asker.send(1)
    results = [asker.wait(each.get_result_async()) for each in (first, second)]
    assert [each.status for each in results] == [GoalStatus.STATUS_ABORTED, GoalStatus.STATUS_SUCCEEDED]
    assert results[0].result.outcome == Plan.Result.PREEMPTED


@pytest.mark.slow
def test_an_unexpected_error_is_counted_and_answered(asker):
    answer = asker.wait(asker.send(13).get_result_async())
    assert answer.status == GoalStatus.STATUS_ABORTED
    assert "internal error" in answer.result.message
    assert asker.driver._health.counted("faults") == 1
    assert asker.wait(asker.send(1).get_result_async()).result.outcome == Plan.Result.REACHED


def test_who_is_deactivated_still_tells_how_its_goal_ended_and_takes_no_other(asker):
    handle = asker.send(5)
    asker.until(lambda: asker.heard == [6.0])
    asker.driver.executor.create_task(asker.driver.trigger_deactivate)
    asker.driver.executor.create_task(asker.driver.end, Plan.Result.STOPPED)
    assert asker.wait(handle.get_result_async()).result.outcome == Plan.Result.STOPPED
    assert not asker.send(1).accepted


def test_a_result_is_there_for_who_asks_late_by_a_clock_that_runs_fast(ros_context):  # noqa: F811
    asker = Asker(1, parameter_overrides=[Parameter("use_sim_time", value=True)])
    clock = asker.peer.create_publisher(Clock, "/clock", 10)

    def tell(seconds):
        def told():
            clock.publish(Clock(clock=Time(sec=seconds)))
            return asker.driver.get_clock().now().nanoseconds >= seconds * 10**9

        asker.until(told)

    try:
        tell(100)
        handle = asker.send(1)
        asker.until(lambda: asker.heard == [2.0])
        tell(150)
        tell(151)
        answer = asker.wait(handle.get_result_async())
        assert (answer.status, answer.result.outcome) == (GoalStatus.STATUS_SUCCEEDED, Plan.Result.REACHED)
    finally:
        asker.close()
