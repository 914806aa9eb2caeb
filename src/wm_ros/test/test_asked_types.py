"""Who asks a node for a type is answered, and what he asks for is in no log."""

import pytest
from rclpy.node import Node

from wm_ros.asked_types import refuse_no_types
from wm_testing.nodes import ros_context, spin_until

__all__ = ["ros_context"]

GetTypeDescription = pytest.importorskip("type_description_interfaces.srv").GetTypeDescription


@pytest.fixture
def pair(ros_context):
    served, talker = Node("served"), Node("talker")
    yield served, talker
    served.destroy_node()
    talker.destroy_node()


ASKED = {"nothing": "", "long": "x" * 100_000, "other": "RIHS01_" + "g" * 64, "later": "RIHS99_" + "0" * 64}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_a_question_that_names_no_type_is_refused_without_a_word_in_the_log(pair, asked, capfd):
    refuse_no_types(pair[0])
    assert "no hash of a type" in answer(pair, asked).failure_reason
    assert capfd.readouterr().err == ""


def test_a_question_that_names_one_is_asked_of_rcl(pair):
    refuse_no_types(pair[0])
    assert "not currently in use" in answer(pair, "RIHS01_" + "0" * 64).failure_reason


def answer(pair, type_hash):
    client = pair[1].create_client(GetTypeDescription, "/served/get_type_description")
    spin_until(client.service_is_ready, *pair)
    future = client.call_async(GetTypeDescription.Request(type_hash=type_hash, type_name="std_msgs/msg/String"))
    spin_until(future.done, *pair)
    assert not future.result().successful
    return future.result()
