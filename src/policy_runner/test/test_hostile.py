"""Goals and states that nobody should send: each goal is answered, and the runner goes on."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import Image

from wm_interfaces.srv import EncodeImage
from wm_ros import floats
from wm_testing.hostile import assault

USUAL = {"w": 1.0, "frame_id": "map", "pose_frame_id": "map", "time_limit_s": 0.5, "has_pose": True, "instruction": ""}
pytestmark = pytest.mark.slow


def test_whatever_is_asked_for_is_answered(make_world):
    world = make_world()
    assault(world, {**USUAL, "latent": floats(np.zeros(4))}, goals=25)


def test_more_sub_goals_than_anybody_needs_are_refused_before_they_are_read(make_world):
    world = make_world()
    answer = world.run(sub_goals=[PoseStamped()] * 2000).result
    assert (answer.name, "2000 sub-goals" in answer.message) == ("REFUSED", True), answer.message
    answer = world.run(instruction="go " * 100_000).result
    assert answer.name == "REFUSED"
    assert len(answer.message) < 500


def test_a_picture_that_nobody_answers_about_ends_its_goal(make_world, monkeypatch):
    monkeypatch.setattr("policy_runner.accepting.node.ANSWER_S", 0.3)
    world = make_world()

    deaf = Node("deaf")  # nobody spins it
    deaf.create_service(EncodeImage, "/latent_publisher/encode", lambda _, response: response)
    world.until(world.node._reception.encode.service_is_ready)
    answer = world.run(goal_image=Image(width=2, height=2, step=6, encoding="rgb8", data=bytes(12)))
    assert (answer.result.name, "no answer" in answer.result.message) == ("NOT_RECOGNISED", True), answer.result
    deaf.destroy_node()


@pytest.mark.parametrize("latent", [[float("nan")] * 4, [0.0] * 65_537, [1e30]])
def test_an_answer_that_cannot_be_is_no_fault_of_the_runner(make_world, latent):
    world = make_world()

    def encode(_request, response):
        response.success, response.latent = True, latent
        return response

    world.on_executor(lambda: world.peer.create_service(EncodeImage, "/latent_publisher/encode", encode))
    world.until(world.node._reception.encode.service_is_ready)
    answer = world.run(goal_image=Image(width=2, height=2, step=6, encoding="rgb8", data=bytes(12)))
    assert (answer.result.name, "cannot be used" in answer.result.message) == ("NOT_RECOGNISED", True), answer.result
    assert world.node._health.counted("faults") == 0


def test_a_picture_that_the_encoder_was_not_made_for_is_refused(make_world):
    world = make_world()

    def encode(_request, response):
        response.success, response.latent, response.unlike = True, [0.0] * 4, "it shows one colour"
        return response

    world.on_executor(lambda: world.peer.create_service(EncodeImage, "/latent_publisher/encode", encode))
    world.until(world.node._reception.encode.service_is_ready)
    answer = world.run(goal_image=Image(width=2, height=2, step=6, encoding="rgb8", data=bytes(12)))
    assert (answer.result.name, "it shows one colour" in answer.result.message) == ("NOT_RECOGNISED", True), answer
