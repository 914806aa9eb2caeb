"""The memory of many robots in one Qdrant collection per encoder.

What is inserted goes to an outbox on disk first, which is what acknowledged means here, and from there to the server in
batches; a server that is away is tried again. ``qdrant_search`` answers queries.

Shape suffix: N = records.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
import zlib
from collections.abc import Container, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models

from spatial_memory.embedded.reprojection import all_in_basis, in_basis
from spatial_memory.embedded.table import Catalogue
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.qdrant import points
from spatial_memory.qdrant.eviction import trim
from spatial_memory.qdrant.outbox import Operation, Outbox
from spatial_memory.qdrant.search import Held
from spatial_memory.qdrant.server import QdrantServer
from spatial_memory.qdrant.transfer import read_snapshot, write_snapshot
from spatial_memory.store.files import IN_MEMORY
from wm_core.memory.errors import (
    BackendAwayError,
    EncoderMismatchError,
    FrameMismatchError,
    RecordError,
    SpatialMemoryError,
)
from wm_core.memory.protocol import Forget, Rigid, Stats
from wm_core.memory.query import Matches, Query, check_queries
from wm_core.memory.record import (
    MemoryRecord,
    Sources,
    Successor,
    action_size,
    check_record,
    check_successor,
    check_surprise,
    feature_size,
)
from wm_core.memory.sketch import Sketch, sketch_of
from wm_core.projection import Projection
from wm_core.se2 import wrap_angle

_PAGE = 1000


class QdrantMemory:
    """Remembers states on a Qdrant server and finds them again, exactly.

    Args:
        client: Talks to the server; ``QdrantClient(":memory:")`` needs none.
        grid: Cuts the map into cells; all robots of a collection must cut alike.
        robot_id: Name of this robot. Records are told apart by it and their id together, so no robot overwrites
            another's; a query may find records of two robots under the same id, in sessions of different names.
        collection: Name that the collections, one per encoder, begin with.
        outbox_path: SQLite file of what is on its way, or ``:memory:``.
        commit_every_s: Longest time an insertion waits before it is durable [s].
        capacity: Most records of this robot; 0: any number.
        surprise_weight: How much surprise counts against recency in eviction.
        indexed: Make payload indexes; the client's own local mode has none.
        allow_shrink: Whether to forget what this robot holds beyond ``capacity`` at the start.

    Raises:
        StoreLockedError: Another process holds the outbox.
    """

    is_remote = True

    def __init__(
        self,
        client: QdrantClient,
        grid: CellGrid,
        robot_id: str,
        collection: str = "world_model_memory",
        outbox_path: str = IN_MEMORY,
        commit_every_s: float = 0.2,
        capacity: int = 0,
        surprise_weight: float = 1.0,
        *,
        indexed: bool = True,
        allow_shrink: bool = False,
    ) -> None:
        # What this robot holds beyond its capacity at the start stays; 0: not known yet.
        self._room = capacity if allow_shrink else 0
        self._server = QdrantServer(client, len(grid.levels), indexed=indexed)
        self._grid = grid
        self._robot_id = robot_id
        self._prefix = collection
        self._lock = threading.RLock()
        self._encoder_id: str | None = None
        self._dim = 0
        self._action_dim = -1
        self._sources = Sources()
        self._feature_dim = 0
        self._basis: Projection | None = None
        self._capacity = capacity
        self._surprise_weight = surprise_weight
        # 20 bits of the robot's name, then milliseconds: this robot gives no id twice, whatever was lost.
        self._next_id = ((zlib.crc32(robot_id.encode()) & 0xFFFFF) << 43) + int(time.time() * 1000)
        # Given ids that this counter has yet to pass.
        self._given: set[int] = set()
        self._newest_put_ns = 0
        try:
            self._adopt_collection()
        except BackendAwayError:
            self._encoder_id = None  # found again with the first operation that gets through
        self._outbox = Outbox(outbox_path, self._send, commit_every_s)

    def _send(self, operations: Sequence[Operation]) -> None:
        """Send operations, and forget what is too much then; on the outbox's thread."""
        if self._capacity and not self._room:
            own = models.Filter(must=[points.is_robot(self._robot_id)])
            held = [self._server.count_where(name, own) for name in {body["collection"] for _, body in operations}]
            self._room = max(self._capacity, *held)
        self._server.send(operations)
        filled = {body["collection"] for kind, body in operations if kind == "put"}
        for collection in filled if self._capacity else ():
            trim(self._server, collection, self._robot_id, self._room, self._surprise_weight)

    @property
    def _collection(self) -> str:
        return f"{self._prefix}-{self._encoder_id or 'unnamed'}"

    def _adopt_collection(self) -> None:
        """Take up the one collection that is there, if it is the only one."""
        found = self._server.only_collection(f"{self._prefix}-")
        if found is not None:
            suffix = found[0][len(self._prefix) + 1 :]
            self._encoder_id = "" if suffix == "unnamed" else suffix
            self._dim = found[1]

    # ---------------------------------------------------------------- keeping

    def insert(self, records: Sequence[MemoryRecord]) -> list[int]:
        """Keep records and return their ids; all or none. They can be found once the server took them.

        Raises:
            RecordError: The first one that cannot be kept, by its place in the list.
        """
        if not records:
            return []
        with self._lock:
            records = all_in_basis(records, self._basis, None, self._sources.feature_id)
            encoder_id = records[0].encoder_id if self._encoder_id is None else self._encoder_id
            dim = self._dim or self._size_for(encoder_id) or int(np.size(records[0].latent_D))
            action_dim = self._action_dim
            if action_dim < 0:
                action_dim = next((size for record in records if (size := action_size(record))), -1)
            sources = self._known_sources(encoder_id, records).adopting(records)
            feature_dim = self._known_feature_dim(encoder_id, records) or next(
                (size for record in records if (size := feature_size(record))), 0
            )
            payloads = []
            given = {record.id for record in records}
            ids = [record.id or self._new_id(given) for record in records]
            for at, (key, record) in enumerate(zip(ids, records)):
                try:
                    payloads.append(self._payload(record, key, encoder_id, dim, action_dim, sources, feature_dim))
                except RecordError as error:
                    error.args = (f"record {at}: {error}",)
                    raise
            self._check_free([record.id for record in records])
            self._encoder_id, self._dim, self._action_dim = encoder_id, dim, action_dim
            self._sources, self._feature_dim = sources, feature_dim
            self._given.update(key for key in given if key > self._next_id)
            self._put(ids, [np.asarray(record.latent_D, np.float32).tolist() for record in records], payloads)
            self._newest_put_ns = max(self._newest_put_ns, *(record.stamp_ns for record in records))
            return ids

    def _size_for(self, encoder_id: str) -> int:
        """Return the latent size that the server holds of an encoder; 0: none, or unknown while it is away."""
        name = f"{self._prefix}-{encoder_id or 'unnamed'}"
        return self._server.soon(lambda: self._server.size_of(name), 0)

    def _known_sources(self, encoder_id: str, asked: Sequence[MemoryRecord | Query]) -> Sources:
        """Return frame and network; where they matter and are open, what the collection's other records say."""
        if self._sources.frame_id or not any(each.frame_id for each in asked):
            return self._sources
        name = f"{self._prefix}-{encoder_id or 'unnamed'}"
        known = self._sources
        self._sources = self._server.soon(lambda: Sources(*self._server.sources(name)), known)
        return self._sources

    def _known_feature_dim(self, encoder_id: str, asked: Sequence[MemoryRecord | Query]) -> int:
        """Return the feature size; where it matters and is open, what the collection's other records say."""
        if not self._feature_dim and any(each.feature_F is not None and each.feature_F.size for each in asked):
            name = f"{self._prefix}-{encoder_id or 'unnamed'}"
            self._feature_dim = self._server.soon(lambda: self._server.feature_size(name), 0)
        return self._feature_dim

    def _payload(
        self,
        record: MemoryRecord,
        record_id: int,
        encoder_id: str,
        dim: int,
        action_dim: int,
        sources: Sources,
        feature_dim: int,
    ) -> dict[str, Any]:
        if record.encoder_id != encoder_id:
            raise EncoderMismatchError(f"latent of encoder {record.encoder_id}, the memory holds {encoder_id}")
        sources.check(record)
        check_record(record, dim, action_dim, feature_dim)
        yaw = wrap_angle(record.yaw) if abs(record.yaw) > np.pi else record.yaw
        whole = replace(record, yaw=yaw, frame_id=sources.frame_id, feature_id=sources.feature_id)
        return points.payload_of(whole, record_id, self._robot_id, self._grid)

    def _check_free(self, ids: Sequence[int]) -> None:
        """Refuse ids that were given, 0 aside, and are held; while the server is away only what is on its way is known.

        Raises:
            RecordError: The first one, by its place in the list.
        """
        points_N = {self._point(key): at for at, key in enumerate(ids) if key}
        taken = [at for at, key in enumerate(ids) if key and points_N[self._point(key)] != at]
        if points_N and not taken:
            last = self._outbox.last_of(points_N)
            taken = [points_N[point] for point, kind in last.items() if kind == "put"]
            with contextlib.suppress(BackendAwayError):
                held = self._server.held(self._collection, [point for point in points_N if point not in last])
                taken += [points_N[point] for point in held]
        if taken:
            at = min(taken)
            raise RecordError("id-taken", f"record {at}: id {ids[at]} is held already")

    def _put(self, ids: Sequence[int], vectors: Sequence[Sequence[float]], payloads: Sequence[dict]) -> None:
        self._outbox.put(self._puts(ids, vectors, payloads), min(payload["stamp"] for payload in payloads))

    def _puts(
        self, ids: Sequence[int], vectors: Sequence[Sequence[float]], payloads: Sequence[dict]
    ) -> list[Operation]:
        base = {"collection": self._collection}
        return [
            ("put", {**base, "id": self._point(key), "vector": vector, "payload": payload})
            for key, vector, payload in zip(ids, vectors, payloads)
        ]

    def _point(self, record_id: int) -> str:
        return points.point_id(self._robot_id, record_id)

    def _new_id(self, given: Container[int]) -> int:
        self._next_id += 1
        while self._next_id in given or self._next_id in self._given:
            self._next_id += 1
        return self._next_id

    def link(self, record_id: int, successor: Successor) -> bool:
        """Add what followed a record; one that was forgotten meanwhile stays forgotten."""
        check_successor(successor, self._dim, self._sources.feature_id)
        return self._set(record_id, dict([points.successor_item(successor)]))

    def set_surprise(self, record_id: int, surprise: float) -> bool:
        """Say how surprising a record was; one that was forgotten meanwhile stays forgotten."""
        check_surprise(surprise)
        return self._set(record_id, {"surprise": None if math.isnan(surprise) else float(np.float32(surprise))})

    def _set(self, record_id: int, payload: dict[str, Any]) -> bool:
        self._outbox.put([("set", {"collection": self._collection, "id": self._point(record_id), "payload": payload})])
        return True

    # ---------------------------------------------------------------- finding

    def query_batch(self, queries: Sequence[Query]) -> list[Matches]:
        """Answer queries, each exactly, over all robots of the collection.

        Raises:
            QueryError: The first one that cannot be answered as asked, by its place in the list.
            BackendAwayError: The server does not answer.
        """
        self._server.check_there()
        frame_id = self._known_sources(self._encoder_id or "", queries).frame_id
        locate = self._grid.map.place_to_latlng
        features = self._sources.feature_id, self._known_feature_dim(self._encoder_id or "", queries)
        check_queries(queries, self._dim, self._action_dim, self._encoder_id or "", locate, frame_id, *features)
        return [self._held.answer(query) for query in queries]

    @property
    def _held(self) -> Held:
        return Held(self._server, self._collection, self._dim, self._grid, self._feature_dim)

    def query_look(self, query: Query) -> Matches:
        """Answer one query by its feature alone, over all places, exactly."""
        return self.query_batch([query])[0]

    def places(self, most: int) -> np.ndarray:
        """Return where records of this robot lie, x, y, z [N, 3]: all, or ``most`` of them where there are more.

        Raises:
            BackendAwayError: The server does not answer.
        """
        mine = models.Filter(must=[points.is_robot(self._robot_id)])
        records = islice(self._held.scroll(mine, vectors=False, keys=points.COMPARED), most)
        return np.array([(each.x, each.y, each.z) for each in records], np.float64).reshape(-1, 3)

    def sketch(self, most: int, last: int) -> Sketch:
        """Return what this robot holds, in outline: of ``most`` memories at most, as more would keep the server busy.

        Raises:
            BackendAwayError: The server does not answer.
        """
        mine = models.Filter(must=[points.is_robot(self._robot_id)])
        records = list(islice(self._held.scroll(mine, vectors=False, keys=points.COMPARED), most))
        placed = [replace(each, h3_cell=self._grid.cell_of(each.x, each.y)) for each in records]
        return sketch_of(placed, self._sources.frame_id, most, last)

    # ---------------------------------------------------------------- eviction and moving

    def delete(self, what: Forget) -> int:
        """Forget what matches of this robot's and return how many that were.

        Raises:
            BackendAwayError: The server does not answer.
        """
        what.check(self._sources.frame_id)
        self.flush()
        query = Query(latent_D=np.zeros(max(1, self._dim)), box=what.box, session=what.session)
        condition = points.filter_of(query, self._grid, (None, None)) or models.Filter(must=[])
        condition.must = [*(condition.must or []), points.is_robot(self._robot_id)]
        held = list(self._held.scroll(condition, vectors=False, keys=points.COMPARED))
        mask_N = self._held.passing(query, held, (None, None))[1]
        if what.ids:
            chosen = frozenset(what.ids)  # ids beyond 63 bits would make an array of rounded ones
            mask_N &= np.array([record.id in chosen for record in held], bool)
        if what.older_than_s > 0:
            oldest = self._held.present_ns(what.now_ns) - round(what.older_than_s * 1e9)
            mask_N &= np.array([record.stamp_ns < oldest for record in held], bool)
        ids = [held[at].id for at in np.flatnonzero(mask_N)]
        self._drop(ids)
        return len(ids)

    def _drop(self, ids: Sequence[int]) -> None:
        if ids:
            self._outbox.put([("drop", {"collection": self._collection, "ids": [self._point(key) for key in ids]})])
            self.flush()

    def transform(self, rigid: Rigid, session: str = "") -> int:
        """Move the records of a session, or all of this robot's, and return how many.

        All moves go to the outbox in one transaction, as the places to move to: an interruption before it moves none,
        one after it all, once each, however often the sending has to begin again. On the server they move one by one.

        Raises:
            PlaceError: One of them would lie nowhere; then none moved.
            FrameMismatchError: Records of other sessions or robots would stay in another frame; then none moved.
            BackendAwayError: The server went away before the moves were noted; then none moved. Or after: then they
                will have moved when it has taken what waits, and ``stats`` says how much does.
        """
        rigid.check(session, self._sources.frame_id)
        self.flush()
        self._check_alone(rigid)
        held = [record for record in self._mine() if not session or record.session == session]
        moved = []
        for record in held:
            x, y, z, yaw = rigid.apply_one(record.x, record.y, record.z, record.yaw)
            cells = points.cells_of(self._grid.cell_of(x, y), self._grid)
            moved.append({"x": x, "y": y, "z": z, "yaw": yaw, **cells, **points.turned(record, rigid)})
        self._outbox.put(
            [
                ("set", {"collection": self._collection, "id": self._point(record.id), "payload": payload})
                for record, payload in zip(held, moved)
            ]
        )
        self._sources = replace(self._sources, frame_id=rigid.frame_id or self._sources.frame_id)
        self.flush()
        return len(held)

    def _check_alone(self, rigid: Rigid) -> None:
        """Refuse to move to another frame while other robots' records would stay where they are."""
        others = models.Filter(must_not=[points.is_robot(self._robot_id)])
        if rigid.frame_id not in ("", self._sources.frame_id) and self._server.count_where(self._collection, others):
            raise FrameMismatchError(
                f"the collection holds other robots' records in frame {self._sources.frame_id}: they would stay there"
            )

    def _mine(self, *, vectors: bool = False) -> list[MemoryRecord]:
        """Return all records of this robot."""
        return list(self._held.scroll(models.Filter(must=[points.is_robot(self._robot_id)]), vectors=vectors))

    def reproject(self, projection: Projection) -> int:
        """Put all of this robot's records into the collection of another basis and return how many.

        All go to the outbox in one transaction. Queries are answered from the new collection from then on; records of
        it that are still on their way are found when the server took them.

        Raises:
            EncoderMismatchError: It is of another network or other sizes; then nothing changed.
            RecordError: ``missing-feature``; then nothing changed.
            BackendAwayError: The server does not answer; then nothing changed. Or it went away afterwards; then all of
                it will have happened when the server has taken what waits.
        """
        with self._lock:
            self.flush()
            held = self._mine(vectors=True) if self._dim else []
            if not held or self._encoder_id == projection.encoder_id:
                self._basis = projection
                return 0
            feature_dim = self._known_feature_dim(self._encoder_id or "", held)
            mine = Catalogue(self._encoder_id or "", self._dim, **vars(self._sources), feature_dim=feature_dim)
            mine.check_projection(projection)
            moved = [in_basis(record, projection) for record in held]
            drop = ("drop", {"collection": self._collection, "ids": [self._point(record.id) for record in held]})
            before = self._encoder_id, self._dim, self._action_dim, self._sources
            try:
                puts = self._adopting(moved)
                self._outbox.put_now([*puts, drop])
                self._basis = projection
            except SpatialMemoryError:
                self._encoder_id, self._dim, self._action_dim, self._sources = before
                raise
        self.flush()
        return len(moved)

    def clear(self) -> None:
        """Forget everything of this robot, the encoder included; other robots' records stay."""
        self.flush()
        self._drop([record.id for record in self._mine()])
        with self._lock:
            self._encoder_id, self._dim, self._action_dim, self._sources = None, 0, -1, Sources()
            self._feature_dim = 0

    # ---------------------------------------------------------------- whole memory

    def snapshot(self, path: Path) -> int:
        """Write everything of this robot to one file, which every backend restores, and return how many records."""
        self.flush()
        return write_snapshot(path, self._mine(vectors=True), self._grid)

    def restore(self, path: Path, *, any_frame: bool = False) -> int:
        """Replace everything of this robot by what a snapshot holds and return how many records that are.

        What is dropped and what is put goes to the outbox in one transaction, once every record was checked.

        Args:
            path: The snapshot.
            any_frame: Whether its places may be in another frame than the memory's.

        Raises:
            StoreError: The snapshot is absent or damaged, or the outbox does not take it; then nothing changed.
            EncoderMismatchError: It is of another encoder, or of other sizes; then nothing changed.
            RecordError: One of its records cannot be kept; then nothing changed.
            BackendAwayError: The server went away before that was noted; then nothing changed. Or after: then all of
                it will have happened when the server has taken what waits, and ``stats`` says how much does.
        """
        mine = Catalogue(
            self._encoder_id or "", self._dim, self._action_dim, **vars(self._sources), feature_dim=self._feature_dim
        )
        if self._basis is not None:  # another basis of its features will do
            mine.encoder_id = ""
        if any_frame:
            mine = replace(mine, frame_id="")
        records = all_in_basis(read_snapshot(path, mine, self._grid), self._basis, None, self._sources.feature_id)
        if self._encoder_id and records and records[0].encoder_id != self._encoder_id:
            raise EncoderMismatchError(
                f"snapshot {path} is of encoder {records[0].encoder_id}, expected {self._encoder_id}"
            )
        with self._lock:
            self.flush()
            points_N = [self._point(record.id) for record in self._mine()]
            operations: list[Operation] = []
            if points_N:
                operations.append(("drop", {"collection": self._collection, "ids": points_N}))
            before = self._encoder_id, self._dim, self._action_dim, self._sources
            try:
                operations += self._adopting(records)
                self._outbox.put_now(operations)
            except SpatialMemoryError:
                self._encoder_id, self._dim, self._action_dim, self._sources = before
                raise
            self._given.update(record.id for record in records if record.id > self._next_id)
            self._newest_put_ns = max((record.stamp_ns for record in records), default=0)
        self.flush()
        return len(records)

    def _adopting(self, records: Sequence[MemoryRecord]) -> list[Operation]:
        """Take encoder and sizes from a snapshot's records and return the operations that put them."""
        self._encoder_id = records[0].encoder_id if records else None
        self._dim = (self._size_for(records[0].encoder_id) or records[0].latent_D.size) if records else 0
        self._action_dim = next((size for record in records if (size := action_size(record))), -1)
        self._sources = sources = self._known_sources(self._encoder_id or "", records).adopting(records)
        encoder_id, dim, action_dim = self._encoder_id or "", self._dim, self._action_dim
        self._feature_dim = feature_dim = next((size for record in records if (size := feature_size(record))), 0)
        payloads = [
            self._payload(record, record.id, encoder_id, dim, action_dim, sources, feature_dim) for record in records
        ]
        vectors = [np.asarray(record.latent_D, np.float32).tolist() for record in records]
        return self._puts([record.id for record in records], vectors, payloads)

    def flush(self, timeout_s: float = 30.0) -> None:
        """Return once everything so far can be found by all.

        Raises:
            BackendAwayError: The server does not take it at present; it is durable here all the same.
        """
        self._outbox.drain(timeout_s)

    def held_ids(self) -> list[int]:
        """Return the ids of all records of this robot.

        Raises:
            BackendAwayError: The server does not answer.
        """
        return sorted(record.id for record in self._mine())

    def get(self, ids: Sequence[int]) -> list[MemoryRecord]:
        """Return records of this robot by id, with their successors; those that are not held are left out.

        Raises:
            BackendAwayError: The server does not answer.
        """
        return self._server.points(self._collection, [self._point(key) for key in ids])

    def successor_times(self) -> np.ndarray:
        """Return nothing: the server would have to send every record for it."""
        return np.empty(0)

    def stats(self) -> Stats:
        """Return how the memory is doing; what only the server knows stays what it was while it is away."""
        count, trouble = self._server.count(self._collection) if self._dim else (0, None)
        degraded = [trouble] if trouble else []
        if self._room > self._capacity > 0:
            degraded.append(
                f"{self._room} memories held, capacity is {self._capacity}: kept, unless allow_shrink is set"
            )
        if self._outbox.trouble:
            degraded.append(f"{self._outbox.unsent_count} operations wait: {self._outbox.trouble}")
        oldest = self._outbox.oldest_pending_ns()
        durable = self._newest_put_ns if oldest is None else min(self._newest_put_ns, oldest - 1)
        return Stats(
            memory_count=count, capacity=self._capacity, encoder_id=self._encoder_id or "", backend="qdrant",
            **vars(self._sources),
            durable_until_ns=durable, pending_writes=self._outbox.unsent_count, degraded=tuple(degraded),
        )  # fmt: skip

    def close(self) -> None:
        """Make durable what is left and let go; it is sent after the next start."""
        self._outbox.close()
        self._server.close()
