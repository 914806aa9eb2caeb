"""What is too large is refused by its lengths, before anything is made of it; what is not comes as it was sent."""

from __future__ import annotations

import random
import sys
from typing import Any

import pytest
from action_msgs.msg import GoalStatusArray
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rcl_interfaces.srv import SetParameters
from rclpy.action.server import GoalResponse
from rclpy.node import Node
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float32MultiArray, MultiArrayDimension
from std_srvs.srv import Trigger

import wm_interfaces.action as actions
import wm_interfaces.msg as messages
import wm_interfaces.srv as services
from wm_interfaces.action import ExecutePolicy
from wm_interfaces.msg import MemoryQuery, MemoryRecord, MemorySuccessor
from wm_interfaces.srv import InsertMemory, MemoryStats, QueryMemoryBatch, RecallMemory
from wm_ros import ManagedNode, ManagedParams, bounded, qos
from wm_ros.goal_client import GoalClient
from wm_ros.lengths import excess, layout_of
from wm_testing.hostile import hostile
from wm_testing.nodes import ros_context, spin_until

__all__ = ["ros_context"]


def _kinds() -> list[type]:
    found = [each for each in vars(messages).values() if hasattr(each, "SLOT_TYPES")]
    for each in vars(services).values():
        found += [each.Request, each.Response] if hasattr(each, "Request") else []
    for each in vars(actions).values():
        if hasattr(each, "Impl"):
            found += [each.Impl.SendGoalService.Request, each.Impl.FeedbackMessage, each.Goal, each.Result]
    others = [DiagnosticArray, PoseStamped, Image, CameraInfo, JointState, Float32MultiArray, GoalStatusArray]
    return [*found, *others, SetParameters.Request, Trigger.Request]


def objects_in(value: Any) -> int:
    """Count messages, and texts that stand in lists, as rclpy makes them; a plain reference."""
    if not hasattr(value, "get_fields_and_field_types"):
        return 1
    count = 1
    for name in value.get_fields_and_field_types():
        field = getattr(value, name)
        if hasattr(field, "get_fields_and_field_types"):
            count += objects_in(field)
        elif isinstance(field, list):
            count += sum(objects_in(each) for each in field)
    return count


@pytest.mark.parametrize("kind", _kinds(), ids=lambda kind: kind.__name__)
def test_lengths_are_found_in_every_message(kind):
    assert bounded.bounded(kind) is not kind, "its layout reads back wrong"


def found_in(msg: Any, most: int, **limits: int) -> Any:
    """Return what of a message is beyond its limits, looked at where rclpy converts it."""
    found = []
    layout = layout_of(type(msg))
    original = bounded.excess
    bounded.excess = lambda address, *_: found.append(excess(address, layout, most, tuple(limits.items())))
    try:
        deserialize_message(serialize_message(msg), bounded.bounded(type(msg)))
    finally:
        bounded.excess = original
    return found[0]


@pytest.mark.parametrize("kind", [InsertMemory.Request, QueryMemoryBatch.Request, ExecutePolicy.Goal, DiagnosticArray])
def test_what_is_counted_is_what_is_made(kind):
    rng = random.Random(3)
    for _ in range(20):
        msg = hostile(kind, rng, wildness=rng.choice([0.1, 0.4, 0.7]))
        made = objects_in(msg)
        beyond = found_in(msg, made - 1)
        assert beyond is not None
        assert beyond.most == made - 1
        # Long texts and arrays count by their bytes.
        assert found_in(msg, made + len(serialize_message(msg)) // 1024 + 1) is None


def test_a_field_has_a_limit_of_its_own():
    msg = InsertMemory.Request(records=[MemoryRecord()] * 7)
    assert found_in(msg, 10**6, records=7) is None
    assert found_in(msg, 10**6, records=6) == ("records", 7, 6)


def test_what_fits_comes_as_it_was_sent_and_is_let_go():
    record = MemoryRecord(
        id=7, session="s\N{SNOWMAN}", latent=[0.5, 1.5], successors=[MemorySuccessor(dt_s=0.5, latent=[2.0])]
    )
    kind = bounded.bounded(InsertMemory.Request)
    back = deserialize_message(serialize_message(InsertMemory.Request(records=[record])), kind)
    assert type(back) is InsertMemory.Request
    assert back.records == [record]
    assert sys.getrefcount(back) == 2


class Served(ManagedNode[ManagedParams]):
    """Takes anything."""

    def __init__(self, **options):
        super().__init__("served", ManagedParams, **options)
        self.heard, self.goals = [], []
        self.start()

    def configure(self):
        self.asking = self.create_client(RecallMemory, "recall")
        self.create_action_server(ExecutePolicy, "execute", None, goal_callback=self.on_goal)

    def activate(self):
        self.create_subscription(Float32MultiArray, "actions", self.heard.append, qos.EVERY)
        self.create_service(InsertMemory, "insert", self.on_request, most_of={"records": 3})
        self.create_service(MemoryStats, "stats", self.on_request)

    def on_goal(self, goal):
        self.goals.append(goal)
        return GoalResponse.REJECT

    def on_request(self, request, response):
        self.heard.append(request)
        if isinstance(response, InsertMemory.Response):
            response.success = True
        return response

    def dropped(self) -> int:
        return self._health.counted("dropped/too-large")


def test_each_of_many_requests_at_once_is_answered(ros_context):
    node, peer = Served(), Node("peer")
    client = peer.create_client(MemoryStats, "stats", qos_profile=qos.SERVICE)
    spin_until(client.service_is_ready, node, peer)
    asked = [client.call_async(MemoryStats.Request()) for _ in range(400)]
    spin_until(lambda: all(each.done() for each in asked), node, peer)
    assert len(node.heard) == 400
    node.destroy_node()
    peer.destroy_node()


@pytest.fixture
def pair(ros_context):
    served, talker = Served(), Node("talker")
    yield served, talker
    served.destroy_node()
    talker.destroy_node()


def asked(client: Any, request: Any, *nodes: Node) -> Any:
    spin_until(client.service_is_ready, *nodes)
    future = client.call_async(request)
    spin_until(future.done, *nodes)
    return future.result()


def test_a_request_that_is_too_large_is_refused_by_name(pair):
    served, talker = pair
    client = talker.create_client(InsertMemory, "/insert")
    answer = asked(client, InsertMemory.Request(records=[MemoryRecord()] * 4), *pair)
    assert not answer.success
    assert "4 records in one request, at most 3" in answer.message
    followed = MemoryRecord(successors=[MemorySuccessor()] * 50_000)
    answer = asked(client, InsertMemory.Request(records=[followed]), *pair)
    assert "at most 40000" in answer.message
    assert served.heard == []
    assert served.dropped() == 2
    assert asked(client, InsertMemory.Request(records=[MemoryRecord()]), *pair).success


def test_a_message_that_is_too_large_is_dropped_by_name(pair):
    served, talker = pair
    publisher = talker.create_publisher(Float32MultiArray, "/actions", qos.EVERY)
    spin_until(lambda: publisher.get_subscription_count() == 1, *pair)
    msg = Float32MultiArray(data=[1.0])
    msg.layout.dim = [MultiArrayDimension(label="z")] * 50_000
    publisher.publish(msg)
    spin_until(lambda: served.dropped() == 1, *pair)
    publisher.publish(Float32MultiArray(data=[2.0]))
    spin_until(lambda: served.heard, *pair)
    assert [list(each.data) for each in served.heard] == [[2.0]]


def test_an_answer_that_is_too_large_comes_as_a_refusal(pair):
    served, talker = pair

    def answer(_request, response):
        response.success, response.records = True, [MemoryRecord()] * 12_000
        return response

    talker.create_service(RecallMemory, "/recall", answer)
    found = asked(served.asking, RecallMemory.Request(), *pair)
    assert type(found) is RecallMemory.Response
    assert not found.success
    assert "one answer of 48001 parts" in found.message
    assert served.dropped() == 1


def test_a_goal_that_is_too_large_is_rejected(pair):
    served, talker = pair
    client = GoalClient(talker, ExecutePolicy, "/execute")
    spin_until(client.server_is_ready, *pair)
    for count, goals in ((8000, 0), (1, 1)):
        future = client.send_goal_async(ExecutePolicy.Goal(sub_goals=[PoseStamped()] * count))
        spin_until(future.done, *pair)
        assert not future.result().accepted
        assert len(served.goals) == goals
    assert served.dropped() == 1
    client.destroy()


def test_a_layout_that_reads_back_wrong_is_not_relied_on(monkeypatch):
    bounded._known_layout.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr("wm_ros.bounded.sizes_in", lambda *_: iter([5]))
        assert bounded.bounded(MemoryQuery) is MemoryQuery
    bounded._known_layout.cache_clear()
    assert bounded.bounded(MemoryQuery) is not MemoryQuery
