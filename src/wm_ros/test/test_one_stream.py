"""Of several publishers of a topic one is followed: the first, until it is silent or gone."""

from __future__ import annotations

import pytest
from rclpy.node import Node

from wm_interfaces.msg import LatentState
from wm_ros import Health, one_stream, qos
from wm_ros import health as health_module
from wm_ros.one_stream import OneStream
from wm_testing.nodes import ros_context, spin_until

__all__ = ["ros_context"]


class Ear:
    """A node that follows one stream, and two that publish."""

    def __init__(self) -> None:
        self.node, self.peers = Node("ear"), [Node("same"), Node("same", start_parameter_services=False)]
        self.health, self.heard = Health(self.node), []
        self.stream = OneStream(self.node, "latent/state", self.health)
        take = self.stream.of(lambda msg: self.heard.append(msg.encoder_id))
        self.node.create_subscription(LatentState, "latent/state", take, qos.STREAM)
        self.publishers = []

    def until(self, predicate) -> None:
        spin_until(predicate, self.node, *self.peers)

    def begin(self, index: int) -> None:
        publisher = self.peers[index].create_publisher(LatentState, "latent/state", qos.STREAM)
        self.publishers.append(publisher)
        wanted = len(self.publishers)
        self.until(publisher.get_subscription_count)
        self.until(lambda: self.node.count_publishers("/latent/state") == wanted)

    def say(self, index: int, word: str) -> None:
        before = len(self.heard), self.health.counted("dropped/other-stream")
        self.publishers[index].publish(LatentState(encoder_id=word))
        self.until(lambda: (len(self.heard), self.health.counted("dropped/other-stream")) != before)


@pytest.fixture
def ear(ros_context, monkeypatch):
    made = Ear()
    now = [1000.0]
    monkeypatch.setattr(one_stream, "monotonic", lambda: now[0])
    made.now = now
    yield made
    for node in (made.node, *made.peers):
        node.destroy_node()


def test_the_first_is_followed_and_the_second_is_left_out_by_name(ear):
    ear.begin(0)
    ear.say(0, "a")
    ear.begin(1)
    for word in ("b", "a", "b"):
        ear.say("ab".index(word), word)
    assert ear.heard == ["a", "a"]
    assert ear.health.counted("dropped/other-stream") == 2
    assert ear.stream.is_certain


def test_another_is_heard_while_the_first_is_silent_and_nothing_of_it_is_certain_until_it_is_alone(ear):
    ear.begin(0)
    ear.say(0, "a")
    ear.begin(1)
    ear.now[0] += 2.0
    ear.say(1, "b")
    assert ear.heard == ["a", "b"]
    assert not ear.stream.is_certain
    ear.say(0, "a")
    ear.say(1, "b")
    assert ear.heard == ["a", "b", "a"]
    assert ear.stream.is_certain
    ear.peers[0].destroy_publisher(ear.publishers[0])
    ear.until(lambda: ear.node.count_publishers("/latent/state") == 1)
    ear.now[0] += 0.6  # within the time in which the first would be waited for
    ear.say(1, "b")
    assert ear.heard == ["a", "b", "a", "b"]
    assert ear.stream.is_certain


def test_of_two_that_were_there_from_the_start_none_is_certain(ear):
    ear.begin(0)
    ear.begin(1)
    ear.say(1, "b")
    ear.say(0, "a")
    assert ear.heard == ["b"]
    assert not ear.stream.is_certain


def test_where_nobody_tells_who_published_all_are_heard_and_nothing_is_certain_of_two(ear):
    ear.begin(0)
    take = ear.stream.of(lambda msg: ear.heard.append(msg.encoder_id))
    take(LatentState(encoder_id="a"), {"publisher_gid": None})
    assert ear.stream.is_certain
    ear.begin(1)
    take(LatentState(encoder_id="b"), {})
    assert ear.heard == ["a", "b"]
    assert not ear.stream.is_certain


def gid(process: int, publisher: int) -> dict:
    return {"publisher_gid": {"data": bytes([process]) * 12 + bytes([publisher]) * 4}}


def alone(ear, topic, **settings):
    """A stream that is told who publishes, and what it lets through."""
    heard: list[str] = []
    stream = OneStream(ear.node, topic, ear.health, **settings)
    return stream, stream.of(heard.append), heard


def test_what_is_left_out_is_named_while_it_comes_and_not_for_ever(ear, monkeypatch):
    monkeypatch.setattr(health_module, "monotonic", lambda: ear.now[0])
    _, take, _ = alone(ear, "pose")
    take("a", gid(1, 1))
    assert not [each for each in ear.health.status().values if each.key.startswith("degraded/several")]
    take("b", gid(2, 1))
    found = {each.key: each.value for each in ear.health.status().values}
    assert "/pose is published by several at once" in found["degraded/several on /pose"]
    ear.now[0] += 20.0
    assert not [each for each in ear.health.status().values if each.key.startswith("degraded/several")]


def test_another_topic_of_the_same_graph_is_that_of_the_process_that_is_followed(ear):
    states, take_state, _ = alone(ear, "latent/state")
    _, take, heard = alone(ear, "prediction_error", beside=states)
    take_state("of 1", gid(1, 1))
    take("other first", gid(2, 5))
    take("kin", gid(1, 5))
    take("other", gid(2, 5))
    ear.now[0] += 60.0  # silence of the kin is no reason to take the other's errors for it
    take("other", gid(2, 5))
    assert heard == ["other first", "kin"]
    take_state("of 2", gid(2, 1))
    take("other", gid(2, 5))
    assert heard == ["other first", "kin", "other"]


def test_nodes_of_processes_of_their_own_are_followed_by_who_was_heard_first(ear):
    states, take_state, _ = alone(ear, "latent/state")
    _, take, heard = alone(ear, "prediction_error", beside=states)
    take_state("x", gid(1, 1))
    for word, process in (("a", 3), ("b", 4), ("a", 3)):
        take(word, gid(process, 5))
    assert heard == ["a", "a"]


def test_a_slow_one_is_waited_for_three_of_its_messages_but_not_for_ever(ear):
    _, take, heard = alone(ear, "visual_history/state")
    take("slow", gid(1, 1))
    for _ in range(3):
        ear.now[0] += 2.0
        take("slow", gid(1, 1))
        ear.now[0] += 1.5
        take("other", gid(2, 1))
    assert heard == ["slow"] * 4
    ear.now[0] += 12.0
    take("other", gid(2, 1))
    assert heard[-1] == "other"


def test_commands_of_all_are_heard_since_the_robot_obeys_them_and_that_is_named(ear):
    _, take, heard = alone(ear, "actions", hears_all=True)
    for word, process in (("a", 1), ("b", 2), ("a", 1)):
        take(word, gid(process, 1))
    assert heard == ["a", "b", "a"]
    assert ear.health.counted("dropped/other-stream") == 0
    assert "degraded/several on /actions" in {each.key for each in ear.health.status().values}


def test_many_that_come_and_go_do_not_push_out_the_one_that_is_followed(ear):
    _, take, heard = alone(ear, "pose")
    take("mine", gid(1, 1))
    for peer in range(2, 60):
        ear.now[0] += 0.01
        take("other", gid(peer, 1))
    take("mine", gid(1, 1))
    take("other", gid(99, 1))
    assert heard == ["mine", "mine"]


def test_who_comes_in_the_place_of_one_that_is_gone_is_heard_at_once(ear):
    for word, index in (("a", 0), ("b", 1), ("c", 0)):
        ear.begin(index)
        ear.say(0, word)
        ear.peers[index].destroy_publisher(ear.publishers.pop())
        ear.until(lambda: ear.node.count_publishers("/latent/state") == 0)
    assert ear.heard == ["a", "b", "c"]
