"""Goals of the node ``policy_runner``: what is asked for, and of a picture where it was taken.

Shape suffixes: D = latent size, 3 = x, y [m], yaw [rad].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic
from typing import Any

import numpy as np
from rclpy.client import Client
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from policy_runner.goals import Goal
from policy_runner.job import Wish
from policy_runner.messages import LONGEST_INSTRUCTION, places_from_msg
from policy_runner.outcomes import Outcome
from policy_runner.params import PolicyRunnerParams
from policy_runner.policies import INSTRUCTION, PICTURE, Policy
from wm_core.se3 import yaw_of
from wm_interfaces.srv import EncodeImage, RecognisePlace
from wm_ros import MessageError, clipped, pose_from_msg, vector_from_msg

ANSWER_S = 10.0
"""So long encoder and memory are waited for [s]."""
_GLANCE_S = 0.1
_LEAST_CONFIDENCE = 0.5


class RefusedError(Exception):
    """A goal that cannot be executed, or need not any more; the text says why.

    Args:
        outcome: What it ends with.
        why: In words.
    """

    def __init__(self, outcome: Outcome, why: str) -> None:
        super().__init__(why)
        self.outcome = outcome


def other_frame(wish: Wish, frame_id: str) -> str:
    """Return why a wish cannot be executed by a robot whose poses are of a frame."""
    return f"a sub-goal in frame {clipped(wish.frame_id)}, the robot's is {clipped(frame_id)}"


class Reception:
    """Reads goals; asks ``/latent_publisher/encode`` and ``/spatial_memory/recognise`` about those with a picture.

    Args:
        node: Owns the clients.
        params: Its parameters.
        policy: One like those that will do what is asked for.
    """

    def __init__(self, node: Node, params: PolicyRunnerParams, policy: Policy) -> None:
        self._node, self._params, self._policy = node, params, policy
        self.encode: Client[EncodeImage.Request, EncodeImage.Response] = node.create_client(
            EncodeImage, "latent_publisher/encode"
        )
        self._recognise: Client[RecognisePlace.Request, RecognisePlace.Response] = node.create_client(
            RecognisePlace, "spatial_memory/recognise"
        )

    async def wish(self, request: Any, frame_id: str, is_wanted: Callable[[], bool]) -> Wish:
        """Return what a goal asks for.

        Args:
            request: A goal of ``ExecutePolicy``.
            frame_id: Frame of the robot's poses; empty: not known yet.
            is_wanted: Whether it is still asked for; nobody is waited for where it is not.

        Raises:
            RefusedError: It cannot be executed, or is not wanted any more.
        """
        params = self._params
        self._check(request)
        try:
            places, places_in = places_from_msg(request)
        except MessageError as error:
            raise RefusedError(Outcome.REFUSED, error.detail) from error
        latent_D = None
        if request.goal_image.width:
            latent_D, place_3 = await self._place_of(request.goal_image, is_wanted)
            # A memory is of the robot's own frame.
            places, places_in = (
                ([*places, place_3], places_in or frame_id) if place_3 is not None else (places, places_in)
            )
        goal = Goal(places, request.reached_m or params.reached_m, request.reached_rad or params.reached_rad)
        time_limit_s = request.time_limit_s or params.time_limit_s
        wish = Wish(goal, request.instruction, latent_D, time_limit_s, not places, places_in)
        if not wish.is_of(frame_id):
            raise RefusedError(Outcome.REFUSED, other_frame(wish, frame_id))
        return wish

    def _check(self, request: Any) -> None:
        numbers = (request.reached_m, request.reached_rad, request.time_limit_s)
        if not all(math.isfinite(each) and each >= 0.0 for each in numbers):
            raise RefusedError(Outcome.REFUSED, "distances and times of a goal are finite and not negative")
        if len(request.instruction) > LONGEST_INSTRUCTION:
            text = f"an instruction of {len(request.instruction)} characters, at most {LONGEST_INSTRUCTION}"
            raise RefusedError(Outcome.REFUSED, text)
        if request.instruction and INSTRUCTION not in self._policy.takes:
            raise RefusedError(Outcome.REFUSED, f"the policy {self._params.policy} takes no instruction")
        image = request.goal_image
        # Half a picture is none, and without a picture a goal may lead on and on.
        if len({bool(image.width), bool(image.height), bool(len(image.data))}) > 1:
            text = f"a goal_image of {image.width} x {image.height} pixels in {len(image.data)} bytes"
            raise RefusedError(Outcome.REFUSED, text)

    async def _place_of(self, image: Any, is_wanted: Callable[[], bool]) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the latent of a goal's picture and, for a policy that takes none, the place where it was seen.

        Raises:
            RefusedError: It cannot be told.
        """
        encoded = await self._answer(self.encode, EncodeImage.Request(image=image), "encodes pictures", is_wanted)
        if not encoded.success:
            raise RefusedError(Outcome.NOT_RECOGNISED, clipped(encoded.message))
        if encoded.unlike:
            text = f"the picture looks like none that the robot could see: {encoded.unlike}"
            raise RefusedError(Outcome.NOT_RECOGNISED, clipped(text))
        try:
            latent_D = vector_from_msg(encoded.latent, len(encoded.latent), "latent")
            if PICTURE in self._policy.takes:
                return latent_D, None
            request = RecognisePlace.Request(feature=encoded.feature, feature_id=encoded.feature_id)
            found = await self._answer(self._recognise, request, "recognises places", is_wanted)
            if not found.success or not found.places or not found.places[0].confidence >= _LEAST_CONFIDENCE:
                text = clipped(found.message) or "the picture is of no place remembered"
                raise RefusedError(Outcome.NOT_RECOGNISED, text)
            position, turn = pose_from_msg(found.places[0].pose)
        except MessageError as error:
            raise RefusedError(Outcome.NOT_RECOGNISED, f"an answer cannot be used: {error}") from error
        return latent_D, np.array([position[0], position[1], yaw_of(turn)])

    async def _answer(self, client: Any, request: Any, does: str, is_wanted: Callable[[], bool]) -> Any:
        """Return what a service answers.

        Raises:
            RefusedError: Nobody serves it, nobody answers in time, or the answer is not wanted any more.
        """
        node = self._node
        if not client.service_is_ready():
            raise RefusedError(Outcome.NOT_RECOGNISED, f"nobody {does}: nobody serves {client.srv_name}")
        waiting: Future[Any] = Future(executor=node.executor)
        future = client.call_async(request)

        def tell(answer: Any) -> None:
            if not waiting.done():
                waiting.set_result(answer)

        def look() -> None:
            if monotonic() >= end_s or not is_wanted():
                tell(None)

        future.add_done_callback(lambda done: tell(done.result()))
        end_s, steady = monotonic() + ANSWER_S, Clock(clock_type=ClockType.STEADY_TIME)
        # Not the lifecycle's: it would end it with the activation, and the goal would wait for ever.
        timer = Node.create_timer(node, min(_GLANCE_S, ANSWER_S), look, clock=steady)
        try:
            answer = await waiting
        finally:
            node.destroy_timer(timer)
            if not future.done():
                client.remove_pending_request(future)
        if answer is None:
            raise RefusedError(Outcome.NOT_RECOGNISED, f"no answer of {client.srv_name} within {ANSWER_S:g} s")
        return answer
