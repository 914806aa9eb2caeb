"""What ``spatial_memory`` answers by look: ``/spatial_memory/recognise``, and pictures by ``recall``."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from spatial_memory import messages
from spatial_memory.album.node import recall
from spatial_memory.answering.node import MOST_ANSWERED
from wm_core.memory.frames import Metric
from wm_core.memory.place_search import recognise_in
from wm_core.memory.recorder import State
from wm_interfaces.srv import RecallMemory, RecognisePlace
from wm_ros import Health, LongWork, MessageError, clipped


class Looks:
    """Answers by look, on a thread of its own.

    Args:
        health: Where it tells what was asked.
        memory: Who is asked.
        searcher: The thread.
        epoch: Tells this memory from others that answer.
        metric: What x and y mean.
    """

    def __init__(self, health: Health, memory: Any, searcher: LongWork, epoch: int, metric: Metric) -> None:
        self._health, self._memory, self._searcher = health, memory, searcher
        self._epoch, self._metric = epoch, metric

    async def recognise(
        self,
        request: RecognisePlace.Request,
        response: RecognisePlace.Response,
        newest: State | None,
        session: str,
        radius_m: float,
    ) -> RecognisePlace.Response:
        """Answer ``/spatial_memory/recognise``, but for the frame.

        Args:
            request: As asked.
            response: To fill.
            newest: The newest state, whose look is meant where the request names none; None: there is none.
            session: That this state is of.
            radius_m: How near memories of one place lie [m].
        """
        response.epoch, begin_s = self._epoch, perf_counter()
        try:
            sought = messages.sought_from_msg(request)
        except MessageError as error:
            answer: Any = error
        else:
            metric = self._metric
            answer = await self._searcher.later(
                lambda: recognise_in(self._memory, sought, newest, session, radius_m, metric)
            )
        if isinstance(answer, Exception):
            self._health.count("recognitions_refused")
            response.message = clipped(answer, MOST_ANSWERED)
            return response
        response.success = True
        response.places = messages.places_to_msgs(answer)
        response.ambiguity = answer.recognition.ambiguity
        response.ambiguous = bool(response.ambiguity)
        response.second_ratio, response.agreement = answer.recognition.second_ratio, answer.recognition.agreement
        response.search_ms = (perf_counter() - begin_s) * 1e3
        self._health.count("recognitions")
        return response

    async def recall(self, request: RecallMemory.Request, response: RecallMemory.Response) -> RecallMemory.Response:
        """Answer ``/spatial_memory/recall``."""
        response.epoch = self._epoch
        answer: Any = await self._searcher.later(lambda: recall(self._memory, request, response))
        if isinstance(answer, Exception):
            response.message = clipped(answer, MOST_ANSWERED)
        return response
