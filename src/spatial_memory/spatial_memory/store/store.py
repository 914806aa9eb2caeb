"""The durable memory: one SQLite file, WAL, every commit synced.

Acknowledged is what was committed and checkpointed: after ``flush`` returned, or for states stamped at or before
``durable_until_ns``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spatial_memory.store import files
from spatial_memory.store.bases import in_basis
from spatial_memory.store.extra_table import ExtraTable, Statement
from spatial_memory.store.extras import (
    DROP_EXTRAS,
    GET_EXTRAS,
    PUT_EXTRA,
    Extra,
    pack_extra,
    unpack_alike,
    unpack_own,
    with_successor_features,
)
from spatial_memory.store.handle import Handle
from spatial_memory.store.schema import (
    COPY_OF,
    DROP_RECORD,
    DROP_SUCCESSORS,
    GET_META,
    GET_RECORDS,
    GET_SESSIONS,
    GET_SUCCESSORS,
    PUT_META,
    PUT_RECORD,
    PUT_SESSION,
    PUT_SUCCESSOR,
    TABLES,
    TALLY_DIFFERENCES,
    TOLD_ANEW,
    Row,
    checksummed,
    from_tuples,
    horizons_of,
    opened,
    pack_successor,
    to_tuples,
)
from spatial_memory.store.snapshots import copy_to
from spatial_memory.store.successor_table import SuccessorTable
from spatial_memory.store.thumbnails import DROP_THUMBNAIL, Thumbnails
from spatial_memory.store.verify import CHUNK, tallied, whole_mark
from spatial_memory.store.writer import Change, Writer
from wm_core.memory.errors import CorruptStoreError, StoreError
from wm_core.memory.record import MemoryRecord, Successor
from wm_core.memory.rows import Rows
from wm_core.projection import Projection

_EXTRAS_CHUNK = 20_000  # features are large


class Packed(NamedTuple):
    """Records of another memory, and what belongs to them, as they are written.

    Attributes:
        rows: The records, under ids that are free.
        successors: What followed them, packed, by record.
        extras: What only some of them have, packed, by record.
    """

    rows: Rows
    successors: Sequence[tuple[int, bytes]]
    extras: Sequence[tuple[int, bytes]]


class Store:
    """Keeps records, successors, sessions and a few meta about the memory in one file.

    Reads wait for no write: they have a connection of their own. A path that cannot be written at the moment makes the
    store degraded, not absent: changes wait in RAM and are written when the disk takes them.

    Args:
        path: The file, or ``:memory:``.
        commit_every_s: Longest time a change waits before it is committed [s].

    Raises:
        StoreLockedError: Another process holds the file.
        CorruptStoreError: The file is damaged or something else.

    Attributes:
        thumbnails: Small pictures of records.
    """

    def __init__(self, path: str | Path = files.IN_MEMORY, commit_every_s: float = 0.2) -> None:
        self._file = Handle(path, whole_mark)
        self.path = self._file.path
        self.in_memory = self._file.in_memory
        self._successors = SuccessorTable(self._file.read, self.path)
        self._extras = ExtraTable(self._file.read, self.path)
        self._basis: Projection | None = None
        if self.in_memory:
            self._writer = Writer(self._file.shared, commit_every_s, guard=self._file.guard)
        else:
            self._writer = Writer(self._file.connect, commit_every_s, keeper=self._file)
        self.thumbnails = Thumbnails(self._file.read, lambda rows, count: self._writer.put(Change(rows, None, count)))

    def close(self) -> None:
        """Commit what is left, if the disk takes it, and let go of the file."""
        self._writer.close()
        self._file.release()

    # ---------------------------------------------------------------- reading

    def meta(self) -> dict[str, str]:
        """Return the meta about the memory."""
        words = opened(self._file.read(GET_META), f"{self.path}: the word")
        return {key: value for key, value in words if not key.startswith(COPY_OF)}

    def sessions(self) -> dict[str, int]:
        """Return the number of each session."""
        sessions = opened(self._file.read(GET_SESSIONS), f"{self.path}: session")
        return {name: number for number, name in sessions}

    def count(self) -> int:
        """Return how many records are committed."""
        rows = self._file.tally()
        return rows[0][0] if rows else 0

    def load(self, dim: int, action_dim: int) -> Iterator[Rows]:
        """Yield all committed records, some at a time.

        Raises:
            CorruptStoreError: The file or a record in it is damaged, or rows are missing or stand in the wrong place.
        """
        for tuples in self._all("record", GET_RECORDS, "id"):
            yield from_tuples(tuples, dim, action_dim)

    def all_successors(self) -> Iterator[list[tuple[int, bytes]]]:
        """Yield the committed successors of all records, packed, some at a time.

        Raises:
            CorruptStoreError: Rows are missing or stand in the wrong place.
        """
        return self._all("successor", GET_SUCCESSORS, "record")

    def _all(self, table: str, sql: str, key: str, most: int = CHUNK) -> Iterator[list[tuple[int, bytes]]]:
        """Yield all rows of a table, and compare their number and keys with what the database counted itself."""
        return tallied(self._file.read, self.path, table, sql, key, most)

    def successors(
        self, ids: Sequence[int], dim: int, held: Sequence[tuple[int, bytes]] = ()
    ) -> dict[int, tuple[Successor, ...]]:
        """Return the successors of records, nearest in time first, whether committed yet or not.

        One that is damaged is left out, logged, and told by ``trouble`` from then on.

        Args:
            ids: Whose to read.
            dim: Latent size D.
            held: Ids of other records, and their successors, packed.
        """
        found = self._successors.get(ids, dim, held)
        if self._basis is not None and ids:
            read = {record_id: found[record_id] for record_id in ids if record_id in found}
            found |= in_basis(read, self.extras(list(read)), self._basis)
        return found

    def read_in(self, basis: Projection | None) -> None:
        """Return successors in a basis from now on, whatever they were kept in; None: as they were kept."""
        self._basis = basis

    def load_extras(self) -> Iterator[tuple[np.ndarray, np.ndarray, list[np.ndarray]]]:
        """Yield ids, whole rotations [N, 4] (NaN: the yaw says it all) and features of the records that have such.

        Raises:
            CorruptStoreError: Rows are missing, stand in the wrong place, or are damaged.
        """
        if self._extras.is_used:
            for rows in self._all("extra", GET_EXTRAS, "record", _EXTRAS_CHUNK):
                try:
                    yield np.array([key for key, _ in rows], np.int64), *unpack_own(rows)
                except CorruptStoreError as error:
                    raise CorruptStoreError(files.damage_text(self.path, error), str(error)) from error

    def completed(self, records: Sequence[MemoryRecord]) -> list[MemoryRecord]:
        """Return records, as the index holds them, with the features of their successors."""
        extras = self.extras([record.id for record in records if record.successors])
        return with_successor_features(records, extras) if extras else list(records)

    def extras(self, ids: Sequence[int]) -> dict[int, dict[float, Extra]]:
        """Return what only some records have, by id and horizon, whether committed yet or not.

        What is damaged is left out, logged, and told by ``damage`` from then on.
        """
        return self._extras.get(ids)

    def followed_features(self, ids: Sequence[int]) -> list[tuple[np.ndarray, float, np.ndarray]]:
        """Return the committed features of what followed some records: ids [N], horizon [s], features [N, F].

        Each entry is of records whose extras lie alike; a later one replaces an earlier. Of several thousand records
        at most, and none where any of them is damaged.
        """
        asked = ids if self._extras.is_used else []
        rows = self._file.read(f"{GET_EXTRAS} WHERE record IN ({','.join('?' * len(asked))})", asked)
        try:
            alike = list(unpack_alike(rows))
        except CorruptStoreError:
            return []
        id_N = np.array([key for key, _ in rows], np.int64)
        return [(id_N[at_N], horizon_s, code) for at_N, items in alike for horizon_s, _, code in items if horizon_s]

    # ---------------------------------------------------------------- writing

    def put(self, rows: Rows, *, known: bool = False) -> None:
        """Keep records; ``known`` ones are there already and only changed."""
        oldest_ns = None if known else int(rows.stamp_N.min())
        self._writer.put(Change([(PUT_RECORD, to_tuples(rows))], oldest_ns, len(rows)))

    def put_meta(self, **meta: object) -> None:
        """Keep meta about the memory."""
        self._writer.put(Change([_meta_rows(meta)]))

    def put_meta_now(self, meta: Mapping[str, object], timeout_s: float = 30.0) -> None:
        """Keep meta about the memory for good before returning, or not at all.

        Raises:
            StoreError: The disk does not take it; then nothing changed.
        """
        self._writer.run_now(Change([_meta_rows(meta)]), timeout_s)

    def featureless(self, ids: Sequence[int], dim: int, feature_dim: int) -> list[int]:
        """Return those of some records of which a committed successor has no feature of a size.

        Args:
            ids: Of at most a few thousand records.
            dim: Latent size D.
            feature_dim: Feature size F.
        """
        followed = self._file.read(f"{GET_SUCCESSORS} WHERE record IN ({','.join('?' * len(ids))})", ids)
        extras = self.extras([key for key, _ in followed])
        return [
            key
            for key, body in followed
            if any(
                horizon_s not in extras.get(key, {}) or extras[key][horizon_s].feature_F.size != feature_dim
                for horizon_s in horizons_of(body, dim)
            )
        ]

    def put_session(self, name: str, number: int) -> None:
        """Keep the number of a session."""
        self._writer.put(Change([(PUT_SESSION, [checksummed(number, name)])]))

    def drop_sessions(self, numbers: Sequence[int]) -> None:
        """Forget sessions that no record is of."""
        if numbers:
            self._writer.put(Change([("DELETE FROM session WHERE number = ?", [(number,) for number in numbers])]))

    def put_successors(self, links: Sequence[tuple[int, Successor]]) -> list[tuple[int, bytes]]:
        """Keep successors of records and return them as they are kept, in their order."""
        packed = [(record_id, pack_successor(record_id, successor)) for record_id, successor in links]
        self._writer.put(self._successors.change(links, packed))
        return packed

    def put_extras(self, items: Sequence[tuple[int, Extra]], oldest_ns: int | None = None) -> None:
        """Keep what only some records have; ``oldest_ns`` is the oldest stamp of those that are new [ns]."""
        if items:
            self._writer.put(self._extras.change(items, oldest_ns=oldest_ns))

    def drop(self, ids: Sequence[int]) -> None:
        """Forget records and what belongs to them."""
        self._forget(ids)
        self._writer.put(self._dropped(ids))

    def drop_now(self, ids: Sequence[int], timeout_s: float = 600.0) -> None:
        """Forget records and what belongs to them, in one transaction and for good before returning, or none of them.

        Raises:
            StoreError: The disk does not take it; then nothing changed.
        """
        self._writer.run_now(self._dropped(ids), timeout_s)
        self._forget(ids)

    def _forget(self, ids: Sequence[int]) -> None:
        self._successors.forget(ids)
        self._extras.forget(ids)

    def _dropped(self, ids: Sequence[int]) -> Change:
        keys = [(record_id,) for record_id in ids]
        statements = [(DROP_RECORD, keys), (DROP_SUCCESSORS, keys)]
        if self._extras.is_used:
            statements.append((DROP_EXTRAS, keys))
        if self.thumbnails.is_used:
            statements.append((DROP_THUMBNAIL, keys))
        return Change(statements, None, 2 * len(ids))

    def replace(self, parts: Sequence[Rows], **meta: object) -> None:
        """Rewrite records, which come in parts, and meta, in one transaction."""
        statements: list[tuple[str, Sequence[Row]]] = [(PUT_RECORD, to_tuples(part)) for part in parts]
        statements.append(_meta_rows(meta))
        self._writer.put(Change(statements, row_count=sum(map(len, parts))))

    def replace_now(
        self,
        parts: Iterable[Rows],
        extras: Sequence[tuple[int, Extra]],
        timeout_s: float = 600.0,
        **meta: object,
    ) -> None:
        """As ``replace``, with what only some have, for good before returning, or not at all.

        Each part is packed as it is written.

        Raises:
            StoreError: The disk does not take it; then nothing changed.
        """
        rows: list[tuple[object, ...]] = [(record_id, pack_extra(record_id, extra)) for record_id, extra in extras]

        def statements() -> Iterator[tuple[str, Iterable[Row]]]:
            for part in parts:
                yield PUT_RECORD, to_tuples(part)
            yield _meta_rows(meta)
            yield PUT_EXTRA, rows

        self._writer.run_now(Change(statements()), timeout_s)
        self._extras.is_used = self._extras.is_used or bool(rows)

    def merge(
        self,
        parts: Iterable[Packed],
        meta: Callable[[], Mapping[str, object]],
        sessions: Mapping[str, int],
        timeout_s: float = 600.0,
    ) -> None:
        """Keep records of another memory, in one transaction and for good before returning, or none of them.

        Args:
            parts: Made as they are written, so that only one is held at a time.
            meta: Returns what the memory is to say of itself, once all parts are written.
            sessions: Number of each session.
            timeout_s: Longest to wait for what was handed over before [s].

        Raises:
            StoreError: The disk does not take them; then nothing changed.
        """
        has_extras = False

        def statements() -> Iterator[tuple[str, Iterable[Row]]]:
            nonlocal has_extras
            for packed in parts:
                has_extras = has_extras or bool(packed.extras)
                yield PUT_RECORD, to_tuples(packed.rows)
                yield PUT_SUCCESSOR, packed.successors
                yield PUT_EXTRA, packed.extras
            yield PUT_SESSION, [checksummed(number, name) for name, number in sessions.items()]
            yield _meta_rows(meta())

        self._writer.run_now(Change(statements()), timeout_s)
        self._extras.is_used = self._extras.is_used or has_extras

    def clear(self, timeout_s: float = 600.0, **meta: object) -> None:
        """Forget everything but these meta about the memory, for good before returning, or nothing.

        Raises:
            StoreError: The disk does not take it; then nothing changed.
        """
        statements: list[Statement] = [(f"DELETE FROM {table}", [()]) for table in TABLES]
        statements.append(_meta_rows(meta))
        self._writer.run_now(Change(statements), timeout_s)
        self._successors.forget_all()
        self._extras.forget_all()

    def flush(self, timeout_s: float = 30.0) -> None:
        """Return once everything so far is durable.

        Raises:
            StoreError: It is not, and why.
        """
        self._writer.flush(timeout_s)

    # ---------------------------------------------------------------- whole files

    def snapshot(self, path: Path, timeout_s: float = 600.0) -> int:
        """Write everything so far to one file, atomically, and return how many records that is; reads go on.

        Raises:
            StoreError: It cannot be written, and why.
        """
        own = {f"{self.path}{suffix}" for suffix in ("", "-wal", "-shm", ".lock", ".ledger")}
        if not self.in_memory and os.path.realpath(path) in own:
            raise StoreError(f"snapshot {path} cannot be written: that is the memory itself")
        self.flush(timeout_s)
        if self.in_memory:
            with self._file.guard:
                return copy_to(self._file.shared(), path)
        self._writer.watch()
        connection = files.connect(self.path)
        try:
            return copy_to(connection, path)
        finally:
            connection.close()

    def restore(
        self, path: Path, around: contextlib.AbstractContextManager[None], timeout_s: float = 600.0, **meta: object
    ) -> None:
        """Replace everything by what a checked copy of a snapshot holds, in one transaction; reads go on until its end.

        Args:
            path: The copy, as ``staging`` makes it.
            around: Entered when all is written but the end of the transaction, in memory before anything is; left once
                that is committed.
            timeout_s: Longest time that what was put before may take [s].
            **meta: Words about the memory that differ from the copy's.

        Raises:
            StoreError: The disk does not take it; then nothing changed, and ``around`` was not left in peace.
        """
        statements: list[Statement] = []
        for table in TABLES:
            statements += [(f"DELETE FROM {table}", [()])]
            statements += [(f"INSERT INTO {table} SELECT * FROM snapshot.{table}", [()])]
        statements.append(_meta_rows(meta))
        change = Change(statements, attach=path, differences=TALLY_DIFFERENCES)
        if not self.in_memory:
            self._writer.run_now(replace(change, around=self._replaced(around)), timeout_s)
            return
        # Reads share the one connection: whoever holds what ``around`` waits for may wait for a transaction to end.
        with self._replaced(around):
            self._writer.run_now(change, timeout_s)
        self._look()

    @contextlib.contextmanager
    def _replaced(self, around: contextlib.AbstractContextManager[None]) -> Iterator[None]:
        """Wait for what the disk has to do before a transaction ends, and forget what was read when it has."""
        if not self.in_memory:
            with contextlib.suppress(FileNotFoundError), open(f"{self.path}-wal", "rb") as log:
                os.fsync(log.fileno())
        with around:
            yield
            self._successors.renew()
            self._extras.renew()
            if not self.in_memory:  # else the one connection is at work still
                self._look()

    def _look(self) -> None:
        self._extras.look()
        self.thumbnails.look()

    # ---------------------------------------------------------------- state

    @property
    def trouble(self) -> str | None:
        """Why changes are not durable at present, or None."""
        return self._writer.trouble

    @property
    def damage(self) -> str | None:
        """What was found damaged, or written by another program, since the file was opened, or None."""
        found = (self._successors.damage, self._extras.damage, self.thumbnails.damage, self._file.foreign.complaint)
        return "; ".join(filter(None, found)) or None

    @property
    def pending_count(self) -> int:
        """Changes that are not durable yet."""
        return self._writer.pending_count

    def durable_until_ns(self, newest_ns: int) -> int:
        """Return the newest stamp up to which all states are durable [ns].

        Args:
            newest_ns: The newest stamp that was ever put.
        """
        oldest = self._writer.oldest_pending_ns()
        return newest_ns if oldest is None else min(newest_ns, oldest - 1)

    def disk_bytes(self) -> int:
        """Return the size of the file and its log."""
        if self.in_memory:
            return 0
        parts = (Path(self.path), Path(f"{self.path}-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())


def _meta_rows(meta: Mapping[str, object]) -> Statement:
    """Return what keeps meta about a memory, twice what nothing else could tell."""
    words = {key: str(value) for key, value in meta.items()}
    copies = {f"{COPY_OF}{key}": value for key, value in words.items() if key not in TOLD_ANEW}
    return PUT_META, [checksummed(*word) for word in (words | copies).items()]
