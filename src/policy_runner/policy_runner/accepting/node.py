"""Goals of the node ``policy_runner``: what is asked for, and of a picture where it was taken.

Shape suffixes: D = latent size, 3 = x, y [m], yaw [rad].
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from rclpy.client import Client
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from policy_runner.execution import Outcome
from policy_runner.goals import Goal
from policy_runner.job import Wish
from policy_runner.messages import LONGEST_INSTRUCTION, places_from_msg
from policy_runner.params import PolicyRunnerParams
from policy_runner.policies import INSTRUCTION, PICTURE, Policy
from wm_core.se3 import yaw_of
from wm_interfaces.srv import EncodeImage, RecognisePlace
from wm_ros import MessageError, clipped, pose_from_msg, vector_from_msg

ANSWER_S = 10.0
"""So long encoder and memory are waited for [s]."""
_LEAST_CONFIDENCE = 0.5


class RefusedError(Exception):
    """A goal that cannot be executed; the text says why.

    Args:
        outcome: What it ends with.
        why: In words.
    """

    def __init__(self, outcome: Outcome, why: str) -> None:
        super().__init__(why)
        self.outcome = outcome


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

    async def wish(self, request: Any, frame_id: str) -> Wish:
        """Return what a goal asks for.

        Args:
            request: A goal of ``ExecutePolicy``.
            frame_id: Frame of the robot's poses; empty: not known yet.

        Raises:
            RefusedError: It cannot be executed.
        """
        params = self._params
        self._check(request)
        try:
            places = places_from_msg(request, frame_id)
        except MessageError as error:
            raise RefusedError(Outcome.REFUSED, error.detail) from error
        latent_D = None
        if request.goal_image.width:
            latent_D, place_3 = await self._place_of(request.goal_image)
            places = [*places, place_3] if place_3 is not None else places
        goal = Goal(places, request.reached_m or params.reached_m, request.reached_rad or params.reached_rad)
        time_limit_s = request.time_limit_s or params.time_limit_s
        return Wish(goal, request.instruction, latent_D, time_limit_s, is_open_ended=not places)

    def _check(self, request: Any) -> None:
        numbers = (request.reached_m, request.reached_rad, request.time_limit_s)
        if not all(math.isfinite(each) and each >= 0.0 for each in numbers):
            raise RefusedError(Outcome.REFUSED, "distances and times of a goal are finite and not negative")
        if len(request.instruction) > LONGEST_INSTRUCTION:
            text = f"an instruction of {len(request.instruction)} characters, at most {LONGEST_INSTRUCTION}"
            raise RefusedError(Outcome.REFUSED, text)
        if request.instruction and INSTRUCTION not in self._policy.takes:
            raise RefusedError(Outcome.REFUSED, f"the policy {self._params.policy} takes no instruction")

    async def _place_of(self, image: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the latent of a goal's picture and, for a policy that takes none, the place where it was seen.

        Raises:
            RefusedError: It cannot be told.
        """
        encoded = await self._answer(self.encode, EncodeImage.Request(image=image), "encodes pictures")
        if not encoded.success:
            raise RefusedError(Outcome.NOT_RECOGNISED, clipped(encoded.message))
        try:
            latent_D = vector_from_msg(encoded.latent, len(encoded.latent), "latent")
            if PICTURE in self._policy.takes:
                return latent_D, None
            request = RecognisePlace.Request(feature=encoded.feature, feature_id=encoded.feature_id)
            found = await self._answer(self._recognise, request, "recognises places")
            if not found.success or not found.places or not found.places[0].confidence >= _LEAST_CONFIDENCE:
                text = clipped(found.message) or "the picture is of no place remembered"
                raise RefusedError(Outcome.NOT_RECOGNISED, text)
            position, turn = pose_from_msg(found.places[0].pose)
        except MessageError as error:
            raise RefusedError(Outcome.NOT_RECOGNISED, f"an answer cannot be used: {error}") from error
        return latent_D, np.array([position[0], position[1], yaw_of(turn)])

    async def _answer(self, client: Any, request: Any, does: str) -> Any:
        """Return what a service answers.

        Raises:
            RefusedError: Nobody serves it, or nobody answers in time.
        """
        node = self._node
        if not client.service_is_ready():
            raise RefusedError(Outcome.NOT_RECOGNISED, f"nobody {does}: nobody serves {client.srv_name}")
        waiting: Future[Any] = Future(executor=node.executor)
        future = client.call_async(request)

        def tell(answer: Any) -> None:
            if not waiting.done():
                waiting.set_result(answer)

        future.add_done_callback(lambda done: tell(done.result()))
        # Not the lifecycle's: it would end it with the activation, and the goal would wait for ever.
        timer = Node.create_timer(node, ANSWER_S, lambda: tell(None), clock=Clock(clock_type=ClockType.STEADY_TIME))
        try:
            answer = await waiting
        finally:
            node.destroy_timer(timer)
            if not future.done():
                client.remove_pending_request(future)
        if answer is None:
            raise RefusedError(Outcome.NOT_RECOGNISED, f"no answer of {client.srv_name} within {ANSWER_S:g} s")
        return answer
