"""Exact answers from a Qdrant collection.

The server filters by cell, area, time and session, and ranks by latent without approximation; what it cannot compare
exactly is compared here before the k best are chosen.

Shape suffixes: N = records, K = answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from qdrant_client import models

from spatial_memory.geometry.cells import CellGrid
from spatial_memory.qdrant import points
from spatial_memory.qdrant.server import QdrantServer
from wm_core.memory.errors import BackendAwayError
from wm_core.memory.filters import Candidates, Limits, passing
from wm_core.memory.present import newest_ns, present_ns
from wm_core.memory.query import Matches, Query, no_matches
from wm_core.memory.ranking import Shortlist, Shortlisted, rank
from wm_core.memory.record import MemoryRecord
from wm_core.memory.rows import Rows

# The server ranks in single precision; a few more than asked for keep near ties from falling wrong.
_SPARE = 4


@dataclass(frozen=True)
class Held:
    """What a collection holds.

    Attributes:
        server: Where it is.
        collection: Its name.
        dim: Latent size D; 0: nothing is held.
        grid: Cuts the map into cells.
        feature_dim: Feature size F; 0: none is held.
    """

    server: QdrantServer
    collection: str
    dim: int
    grid: CellGrid
    feature_dim: int = 0

    def answer(self, query: Query) -> Matches:
        """Answer one query, exactly, over all robots of the collection.

        Raises:
            BackendAwayError: The server does not answer.
        """
        bounds = query.time_bounds(self.newest_ns() if query.exclude_recent_s > 0 and query.stamp_ns is None else 0)
        condition = points.filter_of(query, self.grid, bounds)
        if query.rank == "latent" and query.metric == "l2" and query.feature_F is None:
            count = self._count_passing(query, condition, bounds)
            held = self._nearest(query, condition, bounds, count) if count else []
        else:
            held = list(self.scroll(condition, vectors=True))
            count = int(np.count_nonzero(self.passing(query, held, bounds)[1]))
        if count == 0:
            return no_matches()
        rows, mask_N = self.passing(query, held, bounds)
        chosen = np.flatnonzero(mask_N)
        shortlist = Shortlist(chosen, count)
        columns = (rows.id_N, rows.x_N, rows.y_N, rows.yaw_N, rows.latent_ND, rows.feature_NF, rows.rotation_N4)
        listed = Shortlisted(*(None if column is None else column[chosen] for column in columns))  # type: ignore
        ranking = rank(listed, [query], [shortlist], self.grid.map)[0]
        found = [held[chosen[at]] for at in ranking.order_K]
        records = found if query.successors else [replace(record, successors=()) for record in found]
        return Matches(records, *ranking.distances, count)

    def passing(
        self, query: Query, held: Sequence[MemoryRecord], bounds: tuple[int | None, int | None]
    ) -> tuple[Rows, np.ndarray]:
        """Compare exactly what the server could only compare roughly."""
        sessions: dict[str, int] = {}
        try:
            rows = points.rows_of(held, sessions, self.dim, self.feature_dim)
        except ValueError as error:
            text = f"an answer that does not fit the question (records that are not of one memory: {error})"
            raise BackendAwayError(f"Qdrant: {text}") from error
        session = sessions.get(query.session, -1) if query.session else None
        # The server itself compares the cells of rings.
        candidates = Candidates(query, rows.column, self.grid.map)
        return rows, passing(query, Limits(*bounds, session), candidates, np.ones(len(rows), bool))

    def _count_passing(
        self, query: Query, condition: models.Filter | None, bounds: tuple[int | None, int | None]
    ) -> int:
        """Return how many records pass every filter; the server counts where it can compare all of them exactly."""
        if points.is_exact(query, bounds):
            return self.server.count_where(self.collection, condition) if self.dim else 0
        held = list(self.scroll(condition, vectors=False, keys=points.COMPARED))
        return int(np.count_nonzero(self.passing(query, held, bounds)[1]))

    def _nearest(
        self, query: Query, condition: models.Filter | None, bounds: tuple[int | None, int | None], count: int
    ) -> list[MemoryRecord]:
        """Return the nearest by latent until enough of those that pass are among them."""
        limit = 2 * query.k + _SPARE
        enough = min(query.k + _SPARE, count)
        latent = np.asarray(query.latent_D, np.float32).tolist()
        while True:
            found = self.server.nearest(self.collection, latent, condition, limit)
            if len(found) < limit or np.count_nonzero(self.passing(query, found, bounds)[1]) >= enough:
                return found
            if limit > 2 * self.server.count_where(self.collection, condition) + 2 * _SPARE:
                raise BackendAwayError("Qdrant: an answer that does not fit the question (points beyond its filter)")
            limit *= 2

    def scroll(
        self, condition: models.Filter | None, *, vectors: bool, keys: Sequence[str] | None = None
    ) -> Iterator[MemoryRecord]:
        """Yield all records that pass a filter, without their latents unless asked for; of ``keys`` only, if given."""
        return self.server.scroll(self.collection, condition, vectors=vectors, keys=keys) if self.dim else iter(())

    def present_ns(self, clock_ns: int | None) -> int:
        """Return the moment that ages are counted from [ns]."""
        held = self.scroll(None, vectors=False, keys=points.COMPARED)
        return present_ns(np.array([record.stamp_ns for record in held], np.int64), clock_ns)

    def newest_ns(self) -> int:
        """Return the newest stamp held that is believed [ns]; 0 where nothing is."""
        held = self.scroll(None, vectors=False, keys=points.COMPARED)
        return newest_ns(np.array([record.stamp_ns for record in held], np.int64))
