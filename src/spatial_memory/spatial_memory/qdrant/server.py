"""What is said to a Qdrant server: collections, operations in order, pages and nearest points."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException

from spatial_memory.qdrant import points
from spatial_memory.qdrant.outbox import Operation
from wm_core.memory.errors import BackendAwayError
from wm_core.memory.record import MemoryRecord

_PAGE = 1000
_AWAY_S = 10.0


def connect(host: str, port: int, api_key: str, *, tls: bool, timeout_s: int = 5) -> QdrantClient:
    """Return a client of a server, which need not be there yet."""
    return QdrantClient(
        host=host, port=port, api_key=api_key or None, https=tls, timeout=timeout_s, check_compatibility=False
    )


class QdrantServer:
    """One server, or the client's own local mode, which has no payload indexes and searches exactly anyway.

    Every method raises ``BackendAwayError`` where the server does not answer or refuses.

    Args:
        client: Talks to it.
        level_count: Cell levels in each payload.
        indexed: Make payload indexes and ask for exact search.
    """

    def __init__(self, client: QdrantClient, level_count: int, *, indexed: bool) -> None:
        self._client = client
        self._indexes = dict(points.INDEXES)
        for level in range(level_count):
            self._indexes[points.level_key(level)] = models.PayloadSchemaType.INTEGER
        self._indexed = indexed
        self._params = models.SearchParams(exact=True) if indexed else None
        self._ready: set[str] = set()
        self._seen: set[str] = set()
        self._counts: dict[str, int] = {}
        self._ask_again_s = 0.0

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except (ApiException, ResponseHandlingException, OSError) as error:
            raise BackendAwayError(f"Qdrant: {error}") from error

    def close(self) -> None:
        """Let go."""
        self._client.close()

    # ---------------------------------------------------------------- collections

    def only_collection(self, prefix: str) -> tuple[str, int] | None:
        """Return name and latent size of the one collection that begins like this; None where there is not just one."""
        with self._asked():
            names = [each.name for each in self._client.get_collections().collections if each.name.startswith(prefix)]
            if len(names) != 1:
                return None
            vectors = self._client.get_collection(names[0]).config.params.vectors
        return names[0], vectors.size  # type: ignore[union-attr]

    def exists(self, name: str) -> bool:
        """Return whether a collection is there; asks until it is."""
        with self._asked():
            if name not in self._seen and self._client.collection_exists(name):
                self._seen.add(name)
        return name in self._seen

    def size_of(self, name: str) -> int:
        """Return the latent size of a collection; 0 where there is none."""
        if not self.exists(name):
            return 0
        with self._asked():
            return self._client.get_collection(name).config.params.vectors.size  # type: ignore[union-attr]

    def held(self, name: str, ids: list[str]) -> list[str]:
        """Return which of some points a collection has."""
        if not ids or not self.exists(name):
            return []
        with self._asked():
            return [str(point.id) for point in self._client.retrieve(name, ids, with_payload=False)]

    def sources(self, name: str) -> tuple[str, str]:
        """Return frame and network of features of a collection's records, each empty where none has any."""
        return self._one(name, "frame_id"), self._one(name, "feature_id")

    def feature_size(self, name: str) -> int:
        """Return the feature size of a collection's records; 0 where none has any."""
        return points.feature_size_of(self._one(name, "feature"))

    def _one(self, name: str, key: str) -> str:
        """Return one of the values that records of a collection have under a key."""
        if not self.exists(name):
            return ""
        empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
        with self._asked():
            found = self._client.scroll(name, models.Filter(must_not=[empty]), limit=1, with_payload=[key])[0]
        return str((found[0].payload or {})[key]) if found else ""

    def count(self, name: str) -> tuple[int, str | None]:
        """Return how many points a collection has, or had, and why that is not known.

        A server that does not answer is not asked again for a while, so that asking costs little.
        """
        if time.monotonic() < self._ask_again_s:
            return self._counts.get(name, 0), "Qdrant: does not answer"
        try:
            with self._asked():
                self._counts[name] = self._client.count(name, exact=True).count if self.exists(name) else 0
        except BackendAwayError as error:
            self._ask_again_s = time.monotonic() + _AWAY_S
            return self._counts.get(name, 0), str(error)
        return self._counts[name], None

    def count_where(self, name: str, condition: models.Filter | None) -> int:
        """Return how many points pass a filter, exactly."""
        if not self.exists(name):
            return 0
        with self._asked():
            return self._client.count(name, count_filter=condition, exact=True).count

    def crowds(self, name: str, condition: models.Filter, most: int) -> dict[int, int]:
        """Return how many of the points that pass a filter lie in each cell, the most crowded cells first."""
        with self._asked():
            hits = self._client.facet(name, points.level_key(0), condition, limit=most, exact=True).hits
        return {int(hit.value): hit.count for hit in hits}

    def _make_ready(self, name: str, dim: int) -> None:
        """Make a collection and all its indexes, those left out by an earlier try included, before anything is put."""
        if name in self._ready:
            return
        if not self._client.collection_exists(name):
            vectors = models.VectorParams(size=dim, distance=models.Distance.EUCLID)
            self._client.create_collection(name, vectors_config=vectors)
        if self._indexed:
            there = self._client.get_collection(name).payload_schema
            for key, kind in self._indexes.items():
                if key not in there:
                    self._client.create_payload_index(name, key, kind, wait=True)
        self._ready.add(name)

    # ---------------------------------------------------------------- changes

    def send(self, operations: Sequence[Operation]) -> None:
        """Send operations in order; neighbours of a kind in one request. May be repeated."""
        at = 0
        while at < len(operations):
            kind = operations[at][0]
            end = at + 1
            while end < len(operations) and kind != "set" and _alike(operations[end], operations[at]):
                end += 1
            with self._asked():
                self._send_alike(kind, [body for _, body in operations[at:end]])
            at = end

    def _send_alike(self, kind: str, bodies: list[Any]) -> None:
        name = bodies[0]["collection"]
        if kind == "put":
            self._make_ready(name, len(bodies[0]["vector"]))
            many = [
                models.PointStruct(id=each["id"], vector=each["vector"], payload=each["payload"]) for each in bodies
            ]
            self._client.upsert(name, many, wait=True)
        elif not self._client.collection_exists(name):
            return  # there is nothing to drop or to set
        elif kind == "drop":
            self.drop(name, [key for each in bodies for key in each["ids"]])
        else:
            self._client.set_payload(name, bodies[0]["payload"], points=[bodies[0]["id"]], wait=True)

    def drop(self, name: str, ids: list[str]) -> None:
        """Delete points by id."""
        with self._asked():
            self._client.delete(name, models.PointIdsList(points=ids), wait=True)  # type: ignore[arg-type]

    # ---------------------------------------------------------------- reading

    def scroll(
        self, name: str, condition: models.Filter | None, *, vectors: bool, keys: Sequence[str] | None = None
    ) -> Iterator[MemoryRecord]:
        """Yield all records that pass a filter, without their latents unless asked for; of ``keys`` only, if given."""
        offset = None
        while self.exists(name):
            with self._asked():
                page, offset = self._client.scroll(
                    name,
                    scroll_filter=condition,
                    limit=_PAGE,
                    offset=offset,
                    with_payload=True if keys is None else list(keys),
                    with_vectors=vectors,
                )
            for point in page:
                yield points.record_of(point.payload or {}, point.vector)  # type: ignore[arg-type]
            if offset is None:
                return

    def nearest(
        self, name: str, latent: list[float], condition: models.Filter | None, limit: int
    ) -> list[MemoryRecord]:
        """Return the records nearest by latent among those that pass a filter, exactly, nearest first."""
        with self._asked():
            found = self._client.query_points(
                name,
                query=latent,
                query_filter=condition,
                search_params=self._params,
                limit=limit,
                with_payload=True,
                with_vectors=True,
            ).points
        return [points.record_of(point.payload or {}, point.vector) for point in found]  # type: ignore


def _alike(mine: Operation, other: Operation) -> bool:
    return mine[0] == other[0] and mine[1]["collection"] == other[1]["collection"]
