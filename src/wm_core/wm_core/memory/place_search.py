"""Where something was seen, by look alone, over a whole memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wm_core.memory.errors import QueryError
from wm_core.memory.frames import Metric
from wm_core.memory.keyframes import EXCLUDE_RECENT_S
from wm_core.memory.protocol import Memory
from wm_core.memory.query import Query
from wm_core.memory.recognition import LikelyPlace, Ranked, Recognition, SamePlace, chord, ranked_of, recognise
from wm_core.memory.record import MemoryRecord
from wm_core.memory.recorder import State

USUAL_PLACES = 5


@dataclass(frozen=True)
class Sought:
    """What is to be recognised.

    Attributes:
        feature_F: Its feature, int8; empty: that of the newest state.
        feature_id: Which network made it; empty: the memory's.
        most: Places at most; 0: the usual number.
        session: Only memories of this one; empty: of all.
        exclude_recent_s: Only memories at least this much older than the newest state [s]; 0: all.
    """

    feature_F: np.ndarray
    feature_id: str = ""
    most: int = 0
    session: str = ""
    exclude_recent_s: float = 0.0


@dataclass(frozen=True)
class Answer:
    """Places, the likeliest first, and the memory that looks most like what was sought at each."""

    recognition: Recognition
    records: tuple[MemoryRecord, ...]

    @property
    def places(self) -> list[tuple[LikelyPlace, MemoryRecord]]:
        """Places and their memories."""
        return list(zip(self.recognition.places, self.records))


class _Search:
    """Asks a memory for what looks most like something, what the robot has just seen itself left out."""

    def __init__(self, memory: Memory, query: Query, session: str, newest: State | None) -> None:
        self._memory, self._query = memory, query
        self._session, self._newest = session, newest
        self.records: list[MemoryRecord] = []

    def nearest(self, k: int) -> Ranked:
        query = self._query
        found = self._memory.query_look(
            Query(
                k=k, feature_F=query.feature_F, feature_id=query.feature_id, rank_by="latent", metric="cosine",
                session=query.session,
                exclude_recent_s=query.exclude_recent_s, stamp_ns=query.stamp_ns,
            )
        )  # fmt: skip
        kept = [at for at, record in enumerate(found.records) if not self._is_just_seen(record)]
        self.records = [found.records[at] for at in kept]
        is_all = len(found.records) >= found.candidate_count
        return ranked_of(self.records, chord(found.latent_distances_K[kept]), is_all=is_all)

    def _is_just_seen(self, record: MemoryRecord) -> bool:
        if self._newest is None or record.session != self._session:
            return False
        return record.stamp_ns > self._newest.stamp_ns - round(EXCLUDE_RECENT_S * 1e9)


def recognise_in(
    memory: Memory, sought: Sought, newest: State | None, session: str, radius_m: float, metric: Metric
) -> Answer:
    """Return the places of a memory that look most like something.

    Where the newest state itself is sought, what this session saw in the 20 s before it is left out: it would find
    itself.

    Args:
        memory: Where to look.
        sought: What for.
        newest: The newest state; None: none came yet.
        session: That the newest state belongs to.
        radius_m: Memories as near as this may be of one place [m].
        metric: What x and y mean.

    Raises:
        QueryError: There is no feature to look for, or the memory holds none, or others.
    """
    stats = memory.stats()
    if not stats.memory_count:
        raise QueryError("the memory is empty: there is nothing to recognise")
    feature_F, feature_id, is_newest = sought.feature_F, sought.feature_id, not sought.feature_F.size
    if is_newest:
        if newest is None or not newest.feature_F.size:
            why = "no state came yet" if newest is None else "the newest state has none: its encoder makes no features"
            raise QueryError(f"no feature was given, and {why}")
        feature_F, feature_id = newest.feature_F, feature_id or newest.feature_id
    stamp_ns = newest.stamp_ns if newest is not None and sought.exclude_recent_s > 0 else None
    query = Query(
        feature_F=feature_F, feature_id=feature_id, session=sought.session, stamp_ns=stamp_ns,
        exclude_recent_s=sought.exclude_recent_s, rank_by="latent",
    )  # fmt: skip
    search = _Search(memory, query, session, newest if is_newest else None)
    same = SamePlace(radius_m=radius_m, metric=metric)
    recognition = recognise(search.nearest, sought.most or USUAL_PLACES, same)
    return Answer(recognition, tuple(search.records[place.at] for place in recognition.places))
