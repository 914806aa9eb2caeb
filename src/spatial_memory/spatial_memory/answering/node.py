"""What ``spatial_memory`` answers: queries one by one, in batches and packed, and windows."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from spatial_memory import messages
from spatial_memory.answering.work import (
    MOST_TOLD,
    answers_in_parts,
    answers_in_slices,
    check_arrays,
    check_asked,
    is_quick,
)
from spatial_memory.index.pacing import giving_way
from wm_core.memory.errors import RecordError, SpatialMemoryError
from wm_core.memory.journal import WindowAsk, WindowSource
from wm_core.memory.protocol import Memory
from wm_core.memory.query import Matches, Place, Query, no_matches
from wm_interfaces.msg import MemoryMatches, MemoryQuery, MemoryRecord
from wm_interfaces.srv import MemoryStats, MemoryWindow, QueryMemory, QueryMemoryArrays, QueryMemoryBatch
from wm_ros import Health, LongWork, MessageError, clipped
from wm_ros.memory_arrays import ask_from_request, update_to_response
from wm_ros.query_arrays import answers_to_arrays, queries_from_arrays

_QUERY_TIMES = 1000
MOST_ANSWERED = 500
"""Characters of what an answer says is wrong."""


@dataclass
class Usual:
    """What a query that leaves it open means, and what decides where it is searched for.

    Attributes:
        top_k: Neighbours.
        yaw_weight_m: What a radian of yaw counts [m].
        pose_weight: What the squared distance of poses counts beside that of latents.
        held: Records in the memory.
        is_whole_changing: Whether the whole memory is being changed, so that whoever asks waits for it.
    """

    top_k: int
    yaw_weight_m: float
    pose_weight: float
    held: int = 0
    is_whole_changing: bool = False


class Answering:
    """Answers requests to a memory: at once where that is quick, else on a thread of its own.

    Args:
        health: Where it tells what was asked.
        memory: Who is asked.
        windows: Who tells windows.
        searcher: The thread.
        usual: What is usual at the time of each query.
    """

    def __init__(
        self, health: Health, memory: Memory, windows: WindowSource, searcher: LongWork, usual: Callable[[], Usual]
    ) -> None:
        self._health, self._memory, self._windows, self._searcher, self._usual = (
            health, memory, windows, searcher, usual)  # fmt: skip
        self._is_remote = bool(getattr(memory, "is_remote", False))
        self.epoch = int(getattr(memory, "epoch", 0)) or secrets.randbits(63) | 1
        """Tells this memory from others that answer; as windows do."""
        self._query_ms: deque[float] = deque(maxlen=_QUERY_TIMES)
        self._query_count = 0
        self.last: tuple[Place | None, Matches] = (None, no_matches())
        """What was asked last, and the answer."""

    async def query(self, request: QueryMemory.Request, response: QueryMemory.Response) -> QueryMemory.Response:
        """Answer ``/spatial_memory/query``."""
        response.success, response.message, found, response.search_ms = await self._answer([request.query])
        if response.success:
            response.matches = found[0]
        response.epoch = self.epoch
        return response

    async def query_batch(
        self, request: QueryMemoryBatch.Request, response: QueryMemoryBatch.Response
    ) -> QueryMemoryBatch.Response:
        """Answer ``/spatial_memory/query_batch``."""
        response.success, response.message, response.matches, response.search_ms = await self._answer(request.queries)
        response.epoch = self.epoch
        return response

    async def _answer(self, msgs: Sequence[MemoryQuery]) -> tuple[bool, str, list[MemoryMatches], float]:
        """Return success, what was wrong, the answers, and how long the search took [ms]."""
        try:
            usual = self._usual()
            check_asked(len(msgs), *messages.asked_of(msgs, usual.top_k))
            queries = [self._query_from(msg, at) for at, msg in enumerate(msgs)]
            if not (usual.is_whole_changing or self._is_remote) and is_quick(queries, usual.held):
                return self._told(queries, *self._found(self._memory.query_batch, queries, iter))
        except SpatialMemoryError as error:
            return self._refused(error, len(msgs))
        result: Any = await self._searcher.later(lambda: self._found(self._in_slices, queries, giving_way))
        if isinstance(result, Exception):
            return self._refused(result, len(msgs))
        return self._told(queries, *result)

    def _in_slices(self, queries: Sequence[Query]) -> list[Matches]:
        return answers_in_slices(self._memory.query_batch, queries)

    def _found(
        self, search: Callable[[Sequence[Query]], list[Matches]], queries: Sequence[Query], pace: Callable[..., Any]
    ) -> tuple[list[Matches], list[MemoryMatches], float]:
        """Return the answers, also as messages, and how long the search took [ms]."""
        begin_s = perf_counter()
        answers = search(queries)
        search_ms = (perf_counter() - begin_s) * 1e3
        made: dict[int, MemoryRecord] = {}
        return answers, [messages.matches_to_msg(answer, pace, made) for answer in answers], search_ms

    def _refused(self, error: Exception, count: int) -> tuple[bool, str, list[MemoryMatches], float]:
        self._health.count("queries_refused", count)
        return False, clipped(error, MOST_ANSWERED), [], 0.0

    def _told(
        self, queries: Sequence[Query], answers: list[Matches], found: list[MemoryMatches], search_ms: float
    ) -> tuple[bool, str, list[MemoryMatches], float]:
        self._count_told(queries, answers, search_ms)
        return True, "", found, search_ms

    def _count_told(self, queries: Sequence[Query], answers: Sequence[Matches], search_ms: float) -> None:
        """Count what was answered, and remember the first answer for the markers."""
        self._query_count += len(queries)
        self._query_ms.append(search_ms)
        self._health.count("queries", len(queries))
        self._health.sample("query_ms", search_ms)
        if answers:
            self.last = queries[0].place, answers[0]

    async def query_arrays(
        self, request: QueryMemoryArrays.Request, response: QueryMemoryArrays.Response
    ) -> QueryMemoryArrays.Response:
        """Answer ``/spatial_memory/query_arrays``."""
        response.epoch = self.epoch
        try:
            check_arrays(request.count, request.query.k or self._usual().top_k)
            queries = queries_from_arrays(request, self._query_from(request.query, 0))
        except SpatialMemoryError as error:
            response.success, response.message, _, _ = self._refused(error, request.count)
            return response
        result: Any = await self._searcher.later(lambda: self._fill(queries, response))
        if isinstance(result, Exception):
            response.success, response.message, _, _ = self._refused(result, len(queries))
            return response
        self._count_told(queries, result, response.search_ms)
        return response

    def _fill(self, queries: Sequence[Query], response: QueryMemoryArrays.Response) -> list[Matches]:
        """Answer lookups in a response, and return the answers."""
        begin_s = perf_counter()
        answers = answers_in_parts(self._memory.query_batch, queries)
        response.search_ms = (perf_counter() - begin_s) * 1e3
        stats = self._memory.stats()
        answers_to_arrays(answers, stats.encoder_id, stats.frame_id, response)
        return answers

    async def window(self, request: MemoryWindow.Request, response: MemoryWindow.Response) -> MemoryWindow.Response:
        """Answer ``/spatial_memory/window``."""
        request.max_count = min(request.max_count or MOST_TOLD, MOST_TOLD)
        ask = ask_from_request(request)
        result: Any = await self._searcher.later(lambda: self._tell(ask, response))
        if isinstance(result, Exception):
            response.message = clipped(result, MOST_ANSWERED)
        self._health.count("windows_told", int(response.success))
        return response

    def _tell(self, ask: WindowAsk, response: MemoryWindow.Response) -> None:
        """Fill a response with what a window is to be told."""
        update = self._windows.window(ask)
        if update is None:
            response.message = "busy"
        else:
            update_to_response(update, response)

    def _query_from(self, msg: MemoryQuery, at: int) -> Query:
        usual = self._usual()
        try:
            return messages.query_from_msg(msg, usual.top_k, usual.yaw_weight_m, usual.pose_weight)
        except MessageError as error:
            raise RecordError(error.reason, f"query {at}: {error}") from error

    def state(self, response: MemoryStats.Response) -> None:
        """State who answers, how much was asked, and how long the searches took."""
        response.epoch = self.epoch
        if self._query_ms:
            response.query_ms_p50, response.query_ms_p99 = (
                float(value) for value in np.percentile(np.array(self._query_ms), [50, 99]))  # fmt: skip
        response.query_count = self._query_count

    def forget_last(self) -> None:
        """What was found before is no longer so."""
        self.last = (None, no_matches())
