"""Goals and states that nobody should send: each goal is answered, and the runner goes on."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import Image

from policy_runner.chunks import Chunk
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


def chunk_of(observation, **changes):
    usual = {"stamp_ns": observation.stamp_ns, "step_s": 0.05, "action_HA": np.tile([0.8, 0.0], (20, 1))}
    return Chunk(**{**usual, **changes})


ANSWERS = {
    "nothing": (lambda _: None, "answered a NoneType"),
    "an array": (lambda _: np.zeros((20, 2)), "answered a ndarray"),
    "no stamp": (lambda seen: chunk_of(seen, stamp_ns=None), "the stamp None"),
    "an endless one": (lambda seen: chunk_of(seen, step_s=1e300), "a step of"),
    "a wait that is no number": (lambda seen: chunk_of(seen, facing_H=np.zeros(20), waits_s=np.nan), "waits for"),
    "a path that is no number": (lambda seen: chunk_of(seen, path_H3=np.full((20, 3), np.nan)), "not finite"),
    "what is over": (lambda seen: chunk_of(seen, stamp_ns=0), "over before it came"),
}


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_whatever_a_policy_answers_the_runner_goes_on_and_says_why_it_does_not_drive(make_world, name):
    """With most the node was made anew, again and again; with some it could not even brake."""
    answer, why = ANSWERS[name]
    says = [chunk_of]

    class Policy:
        action_dim, step_s, takes = 2, 0.05, frozenset()

        def act(self, observation):
            return says[-1](observation)

    world = make_world(Policy, give_up_s=60.0)
    says.append(answer)
    world.start()
    world.until(lambda: why in world.status().get("degraded/inference", ""))
    assert not any(any(command) for command in world.commands)
    says.append(chunk_of)
    world.until(lambda: world.commands[-1][0] > 0.5)
    says.append(answer)
    world.until(lambda: world.commands[-1] == (0.0, 0.0))
    assert np.isfinite(world.commands).all()


def test_a_path_of_one_place_is_no_path(make_world):
    class Policy:
        action_dim, step_s, takes = 2, 0.8, frozenset()

        def act(self, observation):
            return chunk_of(
                observation, step_s=0.8, action_HA=np.array([[0.8, 0.0]]), path_H3=observation.pose_3[None].copy()
            )

    world = make_world(Policy)
    handle, result = world.drive()
    assert world.wait(handle.cancel_goal_async()).goals_canceling
    assert world.wait(result).result.name == "CANCELLED"
    world.until(lambda: world.commands[-1] == (0.0, 0.0))
