"""What can still be read of a damaged store, in a new one; the damaged file stays beside it."""

from __future__ import annotations

import contextlib
import itertools
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from spatial_memory.store import files
from spatial_memory.store.extras import GET_EXTRAS, PUT_EXTRA, pack_extra, unpack_extras
from spatial_memory.store.schema import (
    GET_META,
    GET_RECORDS,
    GET_SESSIONS,
    GET_SUCCESSORS,
    PUT_META,
    PUT_RECORD,
    PUT_SESSION,
    PUT_SUCCESSOR,
    from_tuples,
    opened,
    pack_successor,
    unpack_successors,
)
from wm_core.memory.errors import CorruptStoreError

_LOG = logging.getLogger(__name__)


def recover(path: Path) -> int:
    """Put a store with all readable records in a damaged one's place and return how many those are.

    Args:
        path: The damaged file; it is renamed to ``NAME.damaged-N``.

    Raises:
        CorruptStoreError: Not even what the memory says of itself can be read, so that no record could be trusted.
        StoreLockedError: Another process holds it.
    """
    lock = files.hold(path)
    rebuilt = path.with_name(path.name + ".rebuilt")
    try:
        rebuilt.unlink(missing_ok=True)
        files.create(rebuilt)
        source, new = sqlite3.connect(path), files.connect(str(rebuilt))
        with contextlib.closing(source), contextlib.closing(new):
            kept = _salvage(source, new, path)
        names = (path.with_name(f"{path.name}.damaged-{number}") for number in itertools.count(1))
        aside = next(name for name in names if not name.exists())
        for suffix in ("", "-wal", "-shm"):
            part = Path(f"{path}{suffix}")
            if part.exists():
                part.rename(f"{aside}{suffix}")
        files.publish(rebuilt, path)
    finally:
        if lock is not None:
            lock.close()
    _LOG.error("%s was damaged: kept %d records, the damaged file is %s", path, kept, aside)
    return kept


def _salvage(source: sqlite3.Connection, new: sqlite3.Connection, path: Path) -> int:
    try:
        meta = opened(source.execute(GET_META).fetchall(), "the word")
        sessions = opened(source.execute(GET_SESSIONS).fetchall(), "session")
        dim, action_dim = int(dict(meta)["dim"]), int(dict(meta)["action_dim"])
    except (sqlite3.DatabaseError, KeyError, ValueError) as error:
        raise CorruptStoreError(f"{path} cannot be recovered: its description is unreadable ({error})") from error
    kept: set[int] = set()
    new.execute("BEGIN")
    new.executemany(PUT_META, source.execute(GET_META).fetchall())
    new.executemany(PUT_SESSION, source.execute(GET_SESSIONS).fetchall())
    numbers = {number for number, _ in sessions}
    for row in (*_rows(source, GET_RECORDS, "ASC"), *_rows(source, GET_RECORDS, "DESC")):
        if row[0] not in kept and _session_of(row, dim, max(action_dim, 0)) in numbers:
            new.execute(PUT_RECORD, row)
            kept.add(row[0])
    for row in _rows(source, GET_SUCCESSORS, "ASC"):
        if row[0] in kept:
            for successor in unpack_successors([row], dim)[0].get(row[0], ()):
                new.execute(PUT_SUCCESSOR, (row[0], pack_successor(row[0], successor)))
    for record_id, body in _rows(source, GET_EXTRAS, "ASC"):
        if record_id in kept and isinstance(body, bytes):
            for extra in unpack_extras(record_id, body)[0].values():
                new.execute(PUT_EXTRA, (record_id, pack_extra(record_id, extra)))
    new.execute("COMMIT")
    return len(kept)


def _rows(source: sqlite3.Connection, sql: str, order: str) -> Iterator[tuple]:
    """Yield rows from one end until the file cannot be read further."""
    try:
        yield from source.execute(f"{sql} ORDER BY 1 {order}")
    except (sqlite3.DatabaseError, OverflowError):
        return


def _session_of(row: tuple, dim: int, action_dim: int) -> int:
    """Return the number of a record's session, -1 where the record is damaged."""
    try:
        return int(from_tuples([row], dim, action_dim).session_N[0])
    except CorruptStoreError:
        return -1
