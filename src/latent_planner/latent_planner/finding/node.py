"""From what a goal asks for to where that is: a picture becomes a place or else a latent, that a pose with a way to it.

Shape suffixes: M = memories, F = feature size, 3 = (x, y, yaw).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from latent_planner.goals import GoalError, GoalPose, is_agreed, refined
from latent_planner.locate import (
    FEATURE_SHARE,
    Located,
    Wish,
    anchored,
    beside,
    check_alike,
    check_confidence,
    locate,
    usual_difference,
)
from latent_planner.messages import (
    Asked,
    Result,
    check_encoder,
    features_from_answers,
    features_of,
    place_query,
    sample_queries,
)
from latent_planner.params import LatentPlannerParams
from latent_planner.remembered import Remembered
from latent_planner.running.node import Run, Waiter
from wm_core.memory.recognition import SamePlace
from wm_core.se3 import yaw_of
from wm_interfaces.srv import EncodeImage, QueryMemoryBatch, RecognisePlace
from wm_ros import Health, LongWork, ManagedNode, MessageError, pose_from_msg, vector_from_msg
from wm_ros.memory_window import HeldMemories


class GoalFinder:
    """Finds where goals are, by the memories held and by the services of memory and encoder.

    Args:
        node: Owns the clients.
        health: Where it tells that not all memories are held.
        params: What is recognised for sure, and what counts as known ground.
        held: The memories.
        waiter: How a goal waits for an answer.
    """

    def __init__(
        self,
        node: ManagedNode[LatentPlannerParams],
        health: Health,
        params: LatentPlannerParams,
        held: HeldMemories,
        waiter: Waiter,
    ) -> None:
        self._health, self._params, self._held, self._waiter = health, params, held, waiter
        self._same = SamePlace(params.same_place_m)
        self._encode = node.create_client(EncodeImage, "latent_publisher/encode")
        self._recognise = node.create_client(RecognisePlace, "spatial_memory/recognise")
        self._query = node.create_client(QueryMemoryBatch, "spatial_memory/query_batch")
        self._work = LongWork("latent_planner", lambda: node.executor, GoalError)

    def shutdown(self) -> None:
        """Wait for what is under way."""
        self._work.shutdown()

    @property
    def moves(self) -> int:
        """How often memories had moved, up to what is held."""
        return self._held.window.move_count if self._held.window is not None else 0

    async def settle(self, run: Run, asked: Asked) -> None:
        """Turn what a goal asks for into its wish, once the memory has told what it held when the goal came.

        Raises:
            GoalError: A picture is not recognised for sure.
            MessageError: It is of another encoder.
            GoalOverError: It has ended meanwhile.
        """
        run.waits_for = Result.MEMORY_LOST, "the memory has not told what it holds"
        while not self._held.is_as_of(run.begin_s):
            await self._waiter.tick(run)
        remembered = self._remembered()
        wish = await self._seen(run, asked, remembered) if asked.is_image else asked.wish
        wish = replace(wish, least_confidence=wish.least_confidence or self._params.least_confidence)
        check_encoder(asked, remembered.encoder_id)
        run.waits_for, run.wish = None, wish

    async def locate(self, run: Run, pose_3: np.ndarray | None) -> Located:
        """Return where a goal's wish leads by what is remembered now; on a thread, as a large ground takes its time.

        From then on the wish goes with the memories by which it was found, wherever they are moved to.

        Args:
            run: The goal, settled.
            pose_3: Where the robot is; None: not known.

        Raises:
            GoalError: It cannot be planned for.
            MessageError: It is not known where the robot is.
            GoalOverError: It has ended meanwhile.
        """
        wish, remembered, run.moves = run.wish, self._remembered(), self.moves
        ground = self._params.ground
        assert wish is not None
        if pose_3 is None:
            raise MessageError("goal", "the robot's pose is not known")
        located = await self._waiter.answer(
            run, self._work.later(lambda: locate(wish, remembered, pose_3, ground, self._same))
        )
        if isinstance(located, Exception):
            raise located
        assert isinstance(located, Located)
        run.wish = anchored(wish, located, remembered)
        return located

    def _remembered(self) -> Remembered:
        window = self._held.window
        assert window is not None
        part = f"only the {len(window)} memories nearest to the robot are planned with: raise window_max_count"
        self._health.degrade("window", None if window.is_everything else part)
        return Remembered.of(window.rows(), window.encoder_id, window.frame_id)

    # ---------------------------------------------------------------- pictures

    async def _seen(self, run: Run, asked: Asked, remembered: Remembered) -> Wish:
        """Return where a picture was seen, or else its latent.

        Raises:
            GoalError: It is not recognised for sure.
        """
        if not len(remembered):
            raise GoalError("empty", "the memory holds nothing yet: drive the robot round first")
        goal = run.handle.request
        request = EncodeImage.Request(image=goal.image, compressed=goal.compressed)
        encoded = await self._waiter.ask(run, self._encode, request, Result.NOT_ENCODED, "the picture")
        if not encoded.success:
            raise MessageError("goal", f"the picture cannot be used: {encoded.message}")
        if encoded.unlike:
            raise GoalError("unknown", f"looks like nothing remembered: {encoded.unlike}")
        if len(encoded.feature):
            wish = await self._recognised(run, asked, encoded, remembered)
            if wish is not None:
                return wish
        if remembered.encoder_id and encoded.encoder_id != remembered.encoder_id:
            text = f"the picture's latent is of '{encoded.encoder_id}', the memory of '{remembered.encoder_id}'"
            raise MessageError("goal", text)
        latent_D = vector_from_msg(encoded.latent, len(encoded.latent), "latent")
        return replace(asked.wish, latent_D=latent_D)

    async def _recognised(
        self, run: Run, asked: Asked, encoded: EncodeImage.Response, remembered: Remembered
    ) -> Wish | None:
        """Return where a feature was seen; None where the memory holds no features."""
        request = RecognisePlace.Request(feature=encoded.feature, feature_id=encoded.feature_id)
        found = await self._ask_memory(run, self._recognise, request, "places that look alike")
        if not found.success or not found.places:
            return None
        best = found.places[0]
        position, quaternion = pose_from_msg(best.pose)
        pose = GoalPose(np.array([position[0], position[1], yaw_of(quaternion)]), float(best.confidence))
        check_alike(float(best.distance), await self._usual_difference(run, remembered), FEATURE_SHARE)
        run.pose, run.memory_id = pose, int(best.id)
        if found.ambiguous and not is_agreed(found.agreement, found.second_ratio):
            raise GoalError("ambiguous", f"places that look alike: {found.ambiguity}")
        least = 0.0 if found.ambiguous else self._params.least_confidence
        check_confidence(pose.confidence, asked.wish.least_confidence or least)
        exactly_3 = await self._refined(run, encoded, pose.pose_3, found.frame_id)
        row = remembered.row(run.memory_id)
        if row >= 0:
            # Of what the window holds: there the memory may have been moved since.
            return replace(asked.wish, memory_id=run.memory_id, beside_3=beside(exactly_3, pose.pose_3))
        run.pose = replace(pose, pose_3=exactly_3)
        return replace(asked.wish, pose=run.pose)

    async def _refined(self, run: Run, encoded: EncodeImage.Response, pose_3: np.ndarray, frame_id: str) -> np.ndarray:
        """Return where between the memories of a place a feature was seen; its own pose where they tell nothing."""
        request = place_query(encoded.feature, encoded.feature_id, pose_3, frame_id, self._same)
        answer = await self._ask_memory(run, self._query, request, "the memories of a place")
        records = answer.matches[0].records if answer.success and len(answer.matches) else []
        look_MF, pose_M3 = features_of(records)
        best = [at for at, record in enumerate(records) if int(record.id) == run.memory_id]
        if len(look_MF) != len(records) or not best:
            return pose_3
        wanted_F = np.array(encoded.feature, np.float32)
        return refined(wanted_F / np.linalg.norm(wanted_F), look_MF, pose_M3, best[0], self._same)

    async def _usual_difference(self, run: Run, remembered: Remembered) -> float:
        """Return by how much places usually differ in feature; infinite where that is not known."""
        answer = await self._ask_memory(run, self._query, sample_queries(remembered), "features of memories")
        look_MF, pose_M3 = features_from_answers(answer.matches)
        return usual_difference(look_MF, pose_M3, self._same) if len(look_MF) else math.inf

    async def _ask_memory(self, run: Run, client: Any, request: Any, what: str) -> Any:
        """Return the answer of the memory whose window is held; another one's is not taken."""
        while True:
            answer = await self._waiter.ask(run, client, request, Result.MEMORY_LOST, what)
            if self._held.one.takes(answer.epoch, client.srv_name, "answers"):
                return answer
            await self._waiter.tick(run)
