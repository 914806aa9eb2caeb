"""What is said to a Qdrant server: collections, operations in order, pages and nearest points."""

from __future__ import annotations

import binascii
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTimeError
from contextlib import contextmanager
from typing import Any, TypeVar

from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException

from spatial_memory.qdrant import points
from spatial_memory.qdrant.outbox import Operation
from spatial_memory.qdrant.transport import MOST_BYTES, BoundedTransport
from wm_core.memory.errors import BackendAwayError
from wm_core.memory.record import MemoryRecord

_PAGE = 1000
_PAUSE_S, _SLOW_S = 2.0, 0.25
_MOMENT_S = 0.05
_HERE = ("localhost", "127.0.0.1", "::1")
_NO_ANSWER = (ApiException, ResponseHandlingException, QdrantException, OSError)
_ANOTHER_ANSWER = (
    AssertionError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
    binascii.Error, struct.error,
)  # fmt: skip
_LONGEST = 200
AnswerT = TypeVar("AnswerT")


def connect(host: str, port: int, api_key: str, *, tls: bool, timeout_s: int = 5) -> QdrantClient:
    """Return a client of a server, which need not be there yet."""
    transport = BoundedTransport(timeout_s, MOST_BYTES, keeps=host not in _HERE)
    return QdrantClient(
        host=host,
        port=port,
        api_key=api_key or None,
        https=tls,
        timeout=timeout_s,
        check_compatibility=False,
        transport=transport,
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
        self._away_until_s = 0.0
        self._asker = ThreadPoolExecutor(1, thread_name_prefix="qdrant-asker")
        self._asking: Future[Any] | None = None

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Tell every way in which a server can fail to answer, or answer what does not fit, by one name."""
        begin_s = time.monotonic()
        try:
            yield
        except BackendAwayError:
            raise
        except _NO_ANSWER as error:
            if time.monotonic() - begin_s > _SLOW_S:
                self._away_until_s = time.monotonic() + _PAUSE_S
            raise BackendAwayError(f"Qdrant: {_told(error)}") from error
        except _ANOTHER_ANSWER as error:
            text = f"an answer that does not fit the question ({type(error).__name__}: {_told(error)})"
            raise BackendAwayError(f"Qdrant: {text}") from error

    def check_there(self) -> None:
        """Refuse at once to ask a server that has just kept a question waiting for nothing.

        Raises:
            BackendAwayError: It is not asked for a moment.
        """
        if time.monotonic() < self._away_until_s:
            raise BackendAwayError("Qdrant: does not answer; asked again in a moment")

    def soon(self, ask: Callable[[], AnswerT], otherwise: AnswerT) -> AnswerT:
        """Return what is answered within a moment, else something; a server that is slow holds nobody up.

        Args:
            ask: Asks, raising ``BackendAwayError`` where there is no answer.
            otherwise: Returned where there is none in time, or an earlier question still waits.
        """
        if self._asking is not None and not self._asking.done():
            return otherwise
        try:
            self.check_there()
            self._asking = asking = self._asker.submit(ask)
            return asking.result(_MOMENT_S)
        except (BackendAwayError, NotInTimeError):
            return otherwise

    def close(self) -> None:
        """Let go."""
        self._asker.shutdown(wait=False, cancel_futures=True)
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

    def points(self, name: str, ids: list[str]) -> list[MemoryRecord]:
        """Return points of a collection by id as records; those that are not there are left out."""
        if not ids or not self.exists(name):
            return []
        with self._asked():
            found = self._client.retrieve(name, ids, with_payload=True, with_vectors=True)
            return [points.record_of(point.payload or {}, point.vector) for point in found]  # type: ignore[arg-type]

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
        """Return how many points a collection has, or had, and why that is not known; never waits for long."""
        late: tuple[int, str | None] = self._counts.get(name, 0), "Qdrant: does not answer in time"

        def ask() -> tuple[int, str | None]:
            try:
                with self._asked():
                    self._counts[name] = int(self._client.count(name, exact=True).count) if self.exists(name) else 0
            except BackendAwayError as error:
                return self._counts.get(name, 0), str(error)
            return self._counts[name], None

        return self.soon(ask, late)

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
        offset, offsets = None, set()
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
                records = [points.record_of(point.payload or {}, point.vector) for point in page]  # type: ignore[arg-type]
            yield from records
            if offset is None:
                return
            if offset in offsets or not page:
                raise BackendAwayError("Qdrant: an answer that does not fit the question (the same page again)")
            offsets.add(offset)

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
            records = [points.record_of(point.payload or {}, point.vector) for point in found]  # type: ignore
            if len(records) > limit or any(record.latent_D.size != len(latent) for record in records):
                raise BackendAwayError("Qdrant: an answer that does not fit the question (points of other sizes)")
        return records


def _told(error: Exception) -> str:
    """Return what an error says, on one line and not without end."""
    text = " ".join(str(error).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _alike(mine: Operation, other: Operation) -> bool:
    return mine[0] == other[0] and mine[1]["collection"] == other[1]["collection"]
