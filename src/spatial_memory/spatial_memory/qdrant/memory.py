"""The memory of many robots in one Qdrant collection per encoder.

What is inserted goes to an outbox on disk first, which is what acknowledged means here, and from there to the server in
batches; a server that is away is tried again. ``qdrant_search`` answers queries.

Shape suffix: N = records.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models

from spatial_memory.embedded.reprojection import all_in_basis, in_basis
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.qdrant import points
from spatial_memory.qdrant.collection import Collection
from spatial_memory.qdrant.eviction import BoundedSender
from spatial_memory.qdrant.kind import Kind
from spatial_memory.qdrant.numbering import Numbering, check_free
from spatial_memory.qdrant.operations import Operations
from spatial_memory.qdrant.outbox import Operation, Outbox
from spatial_memory.qdrant.search import Held
from spatial_memory.qdrant.server import QdrantServer
from spatial_memory.qdrant.transfer import read_snapshot, write_snapshot
from spatial_memory.store.files import IN_MEMORY
from wm_core.memory.errors import (
    BackendAwayError,
    EncoderMismatchError,
    FrameMismatchError,
    SpatialMemoryError,
)
from wm_core.memory.overview import Overview, overview_of
from wm_core.memory.protocol import Forget, Rigid, Stats
from wm_core.memory.query import Matches, Query, check_queries
from wm_core.memory.record import (
    MemoryRecord,
    Successor,
    check_successor,
    check_surprise,
)
from wm_core.projection import Projection


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
        self._server = QdrantServer(client, len(grid.levels), indexed=indexed)
        self._collection = Collection(self._server, collection)
        self._sender = BoundedSender(self._server, robot_id, capacity, surprise_weight, allow_shrink=allow_shrink)
        self._grid = grid
        self._robot_id = robot_id
        self._capacity = capacity
        self._lock = threading.RLock()
        self._basis: Projection | None = None
        self._numbering = Numbering(robot_id)
        self._newest_put_ns = 0
        with contextlib.suppress(BackendAwayError):  # found again with the first operation that gets through
            self._collection.adopt_only()
        self._outbox = Outbox(outbox_path, self._sender.send, commit_every_s)

    @property
    def _operations(self) -> Operations:
        return Operations(self._robot_id, self._collection.name, self._grid)

    # ---------------------------------------------------------------- keeping

    def insert(self, records: Sequence[MemoryRecord]) -> list[int]:
        """Keep records and return their ids; all or none. They can be found once the server took them.

        Raises:
            RecordError: The first one that cannot be kept, by its place in the list.
        """
        if not records:
            return []
        with self._lock:
            records = all_in_basis(records, self._basis, None, self._collection.kind.sources.feature_id)
            kind = self._collection.kind_with(records)
            make = Operations(self._robot_id, self._collection.name_for(kind.encoder_id), self._grid)
            given = {record.id for record in records}
            ids = [record.id or self._numbering.new(given) for record in records]
            puts = make.put(ids, records, kind)
            check_free([record.id for record in records], make, self._outbox, self._server)
            self._collection.become(kind)
            self._numbering.take(given)
            self._outbox.put(puts, min(record.stamp_ns for record in records))
            self._newest_put_ns = max(self._newest_put_ns, *(record.stamp_ns for record in records))
            return ids

    def link(self, record_id: int, successor: Successor) -> bool:
        """Add what followed a record; one that was forgotten meanwhile stays forgotten."""
        kind = self._collection.kind
        check_successor(successor, kind.dim, kind.sources.feature_id)
        return self._set(record_id, dict([points.successor_item(successor)]))

    def set_surprise(self, record_id: int, surprise: float) -> bool:
        """Say how surprising a record was; one that was forgotten meanwhile stays forgotten."""
        check_surprise(surprise)
        return self._set(record_id, {"surprise": None if math.isnan(surprise) else float(np.float32(surprise))})

    def _set(self, record_id: int, payload: dict[str, Any]) -> bool:
        self._outbox.put([self._operations.set(record_id, payload)])
        return True

    # ---------------------------------------------------------------- finding

    def query_batch(self, queries: Sequence[Query]) -> list[Matches]:
        """Answer queries, each exactly, over all robots of the collection.

        Raises:
            QueryError: The first one that cannot be answered as asked, by its place in the list.
            BackendAwayError: The server does not answer.
        """
        self._server.check_there()
        encoder_id = self._collection.kind.encoder_id
        self._collection.learn_sources(queries, encoder_id)
        self._collection.learn_feature_dim(queries, encoder_id)
        kind = self._collection.kind
        features = kind.sources.feature_id, kind.feature_dim
        locate = self._grid.map.place_to_latlng
        frame_id = kind.sources.frame_id
        check_queries(queries, kind.dim, kind.action_dim, kind.encoder_id or "", locate, frame_id, *features)
        return [self._held.answer(query) for query in queries]

    @property
    def _held(self) -> Held:
        kind = self._collection.kind
        return Held(self._server, self._collection.name, kind.dim, self._grid, kind.feature_dim)

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

    def overview(self, most: int, last: int) -> Overview:
        """Return what this robot holds, in outline: of ``most`` memories at most, as more would keep the server busy.

        Raises:
            BackendAwayError: The server does not answer.
        """
        mine = models.Filter(must=[points.is_robot(self._robot_id)])
        records = list(islice(self._held.scroll(mine, vectors=False, keys=points.COMPARED), most))
        placed = [replace(each, h3_cell=self._grid.cell_of(each.x, each.y)) for each in records]
        return overview_of(placed, self._collection.kind.sources.frame_id, most, last)

    # ---------------------------------------------------------------- eviction and moving

    def delete(self, what: Forget) -> int:
        """Forget what matches of this robot's and return how many that were.

        Raises:
            BackendAwayError: The server does not answer.
        """
        what.check(self._collection.kind.sources.frame_id)
        self.flush()
        query = Query(latent_D=np.zeros(max(1, self._collection.kind.dim)), box=what.box, session=what.session)
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
            self._outbox.put(self._operations.drop(ids))
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
        rigid.check(session, self._collection.kind.sources.frame_id)
        self.flush()
        self._check_alone(rigid)
        held = [record for record in self._mine() if not session or record.session == session]
        make, moves = self._operations, []
        for record in held:
            x, y, z, yaw = rigid.apply_one(record.x, record.y, record.z, record.yaw)
            cells = points.cells_of(self._grid.cell_of(x, y), self._grid)
            place = {"x": x, "y": y, "z": z, "yaw": yaw, **cells, **points.turned(record, rigid)}
            moves.append(make.set(record.id, place))
        self._outbox.put(moves)
        with self._lock:
            kind = self._collection.kind
            frame_id = rigid.frame_id or kind.sources.frame_id
            self._collection.become(replace(kind, sources=replace(kind.sources, frame_id=frame_id)))
        self.flush()
        return len(held)

    def _check_alone(self, rigid: Rigid) -> None:
        """Refuse to move to another frame while other robots' records would stay where they are."""
        others = models.Filter(must_not=[points.is_robot(self._robot_id)])
        frame_id = self._collection.kind.sources.frame_id
        if rigid.frame_id not in ("", frame_id) and self._server.count_where(self._collection.name, others):
            raise FrameMismatchError(
                f"the collection holds other robots' records in frame {frame_id}: they would stay there"
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
            before = self._collection.kind
            held = self._mine(vectors=True) if before.dim else []
            if not held or before.encoder_id == projection.encoder_id:
                self._basis = projection
                return 0
            self._collection.learn_feature_dim(held, before.encoder_id)
            self._collection.kind.catalogue().check_projection(projection)
            moved = [in_basis(record, projection) for record in held]
            drop = self._operations.drop([record.id for record in held])
            self._replace(moved, lambda puts: [*puts, *drop])
            self._basis = projection
        self.flush()
        return len(moved)

    def clear(self) -> None:
        """Forget everything of this robot, the encoder included; other robots' records stay."""
        self.flush()
        self._drop([record.id for record in self._mine()])
        with self._lock:
            self._collection.become(Kind())

    # ---------------------------------------------------------------- whole memory

    def snapshot(self, path: Path) -> int:
        """Write everything of this robot to one file, which every backend restores, and return how many records."""
        self.flush()
        return write_snapshot(path, self._mine(vectors=True), self._grid)

    def restore(self, path: Path, *, is_own: bool = False) -> int:
        """Replace everything of this robot by what a snapshot holds and return how many records that are.

        What is dropped and what is put goes to the outbox in one transaction, once every record was checked.

        Args:
            path: The snapshot.
            is_own: It is this memory's own past: its places may be in another frame than now, its stamps as ever.

        Raises:
            StoreError: The snapshot is absent or damaged, or the outbox does not take it; then nothing changed.
            EncoderMismatchError: It is of another encoder, or of other sizes; then nothing changed.
            RecordError: One of its records cannot be kept; then nothing changed.
            BackendAwayError: The server went away before that was noted; then nothing changed. Or after: then all of
                it will have happened when the server has taken what waits, and ``stats`` says how much does.
        """
        before = self._collection.kind
        mine = before.catalogue()
        if self._basis is not None:  # another basis of its features will do
            mine.encoder_id = ""
        if is_own:
            mine = replace(mine, frame_id="")
        records = all_in_basis(read_snapshot(path, mine, self._grid), self._basis, None, before.sources.feature_id)
        if before.encoder_id and records and records[0].encoder_id != before.encoder_id:
            raise EncoderMismatchError(
                f"snapshot {path} is of encoder {records[0].encoder_id}, expected {before.encoder_id}"
            )
        with self._lock:
            self.flush()
            drop = self._operations.drop([record.id for record in self._mine()])
            self._replace(records, lambda puts: [*drop, *puts])
            self._numbering.take(record.id for record in records)
            self._newest_put_ns = max((record.stamp_ns for record in records), default=0)
        self.flush()
        return len(records)

    def _replace(self, records: Sequence[MemoryRecord], in_order: Callable[[list[Operation]], list[Operation]]) -> None:
        """Put records as all that this robot holds, in one transaction; where that fails, nothing has changed.

        Args:
            records: With their ids.
            in_order: Returns all operations of the transaction, of those that put the records.
        """
        before = self._collection.kind
        try:
            self._collection.become(self._collection.kind_of(records))
            puts = self._operations.put([record.id for record in records], records, self._collection.kind)
            self._outbox.put_now(in_order(puts))
        except SpatialMemoryError:
            self._collection.become(before)
            raise

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
        return self._server.points(self._collection.name, [self._operations.point(key) for key in ids])

    def successor_times(self) -> np.ndarray:
        """Return nothing: the server would have to send every record for it."""
        return np.empty(0)

    def stats(self) -> Stats:
        """Return how the memory is doing; what only the server knows stays what it was while it is away."""
        kind = self._collection.kind
        count, trouble = self._server.count(self._collection.name) if kind.dim else (0, None)
        degraded = [text for text in (trouble, self._sender.complaint) if text]
        if self._outbox.trouble:
            degraded.append(f"{self._outbox.unsent_count} operations wait: {self._outbox.trouble}")
        oldest = self._outbox.oldest_pending_ns()
        durable = self._newest_put_ns if oldest is None else min(self._newest_put_ns, oldest - 1)
        return Stats(
            memory_count=count, capacity=self._capacity, encoder_id=kind.encoder_id or "", backend="qdrant",
            **vars(kind.sources),
            durable_until_ns=durable, pending_writes=self._outbox.unsent_count, degraded=tuple(degraded),
        )  # fmt: skip

    def close(self) -> None:
        """Make durable what is left and let go; it is sent after the next start."""
        self._outbox.close()
        self._server.close()
