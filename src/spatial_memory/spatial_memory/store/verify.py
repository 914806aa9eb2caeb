"""Whether every row of a store is what was written, without building an index of them."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spatial_memory.store import files
from spatial_memory.store.checkpoint import Mark, check_start, mark_in
from spatial_memory.store.extras import GET_EXTRAS, unpack_extras
from spatial_memory.store.recent import Read
from spatial_memory.store.schema import (
    GET_META,
    GET_RECORDS,
    GET_SESSIONS,
    GET_SUCCESSORS,
    GET_TALLY,
    Row,
    check_successors,
    from_tuples,
    opened,
    sizes_in,
)
from spatial_memory.store.thumbnails import GET_THUMBNAILS, check_thumbnails
from wm_core.databases import open_database
from wm_core.memory.errors import CorruptStoreError, StoreError

CHUNK = 250_000
_EXTRAS_CHUNK = 20_000  # features are large


@dataclass(frozen=True)
class Contents:
    """What a store holds, all of it whole.

    Attributes:
        records: How many.
        sessions: How many.
        encoder_id: Whose latents.
        number: Of its last transaction.
    """

    records: int
    sessions: int
    encoder_id: str
    number: int


def tallied(
    read: Read, name: str, table: str, sql: str, key: str, most: int = CHUNK
) -> Iterator[list[tuple[int, bytes]]]:
    """Yield all rows of a table, some at a time, and compare their number and keys with what the database counted.

    Args:
        read: Returns all rows of a query with its values.
        name: What to call the file.
        table: The table.
        sql: Reads it, with its key first.
        key: Its key.
        most: Rows at a time.

    Raises:
        CorruptStoreError: Rows are missing or stand in the wrong place.
    """
    last, count, keys = -(2**63), 0, 0
    while rows := read(f"{sql} WHERE {key} > ? ORDER BY {key} LIMIT {most}", (last,)):
        last = rows[-1][0]
        count += len(rows)
        keys += sum([row[0] % files.KEY_MODULUS for row in rows])
        yield rows
    expected = read(GET_TALLY, (table,))
    if (expected or count) and expected != [(count, keys)]:
        text = f"{table}: {count} rows and key sum {keys}, expected {expected}"
        raise CorruptStoreError(files.damage_text(name, text), text)


def verified(path: Path) -> Contents:
    """Return what a store, snapshot or backup holds; it is only read, and may be in use.

    Raises:
        StoreError: It is absent or cannot be read.
        CorruptStoreError: Not all of it is as it was written, or acknowledged records are missing.
    """
    path = path.expanduser().resolve()
    files.check_regular(path)
    check_start(path)
    if not path.is_file():
        raise StoreError(f"there is no file {path}")
    try:
        with contextlib.closing(open_database(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            files.check(connection, str(path))
            return check_rows(connection, str(path))
    except sqlite3.OperationalError as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    except sqlite3.DatabaseError as error:
        raise CorruptStoreError(files.damage_text(str(path), error), str(error)) from error


def check_rows(connection: sqlite3.Connection, name: str) -> Contents:
    """Return what a connection to a file of known tables reads, all of it checked, in one transaction.

    Raises:
        CorruptStoreError: Not all of it is as it was written.
        sqlite3.Error: It cannot be read.
    """

    def read(sql: str, values: Row = ()) -> list[Row]:
        return connection.execute(sql, values).fetchall()

    connection.execute("BEGIN")
    try:
        verdict = read("PRAGMA quick_check(1)")[0][0]
        if verdict != "ok":
            raise CorruptStoreError(files.damage_text(name, verdict), verdict)
        meta = dict(opened(read(GET_META), f"{name}: the word"))
        sessions = opened(read(GET_SESSIONS), f"{name}: session")
        count = _check_all(read, name, meta)
        return Contents(count, len(sessions), meta.get("encoder_id", ""), mark_in(connection).number)
    finally:
        connection.execute("COMMIT")


def whole_mark(connection: sqlite3.Connection, name: str) -> Mark:
    """Return the mark of what a connection reads once every row is checked, as ``check_rows`` does."""
    return mark_in(connection)._replace(record_count=check_rows(connection, name).records)


def _check_all(read: Read, name: str, meta: dict[str, str]) -> int:
    """Check records, successors, pictures and what only some records have, and return how many records those are."""
    sizes = sizes_in(meta)
    dim, action_dim = sizes.dim, max(sizes.action_dim, 0)
    count = 0
    for tuples in tallied(read, name, "record", GET_RECORDS, "id"):
        count += len(from_tuples(tuples, dim, action_dim))
    for rows in tallied(read, name, "successor", GET_SUCCESSORS, "record"):
        check_successors(rows, dim)
    if read("SELECT 1 FROM sqlite_master WHERE name = 'extra'"):
        for rows in tallied(read, name, "extra", GET_EXTRAS, "record", _EXTRAS_CHUNK):
            check_extras(rows, name)
    if read("SELECT 1 FROM sqlite_master WHERE name = 'thumbnail'"):
        for rows in tallied(read, name, "thumbnail", GET_THUMBNAILS, "record", _EXTRAS_CHUNK):
            check_thumbnails(rows, name)
    return count


def check_extras(rows: list[tuple[int, bytes]], name: str) -> None:
    """Refuse rows of what only some records have that are not whole.

    Raises:
        CorruptStoreError: Names the first.
    """
    for record_id, body in rows:
        if not isinstance(body, bytes) or not unpack_extras(record_id, body)[1]:
            text = f"the rotation or features of record {record_id} are damaged"
            raise CorruptStoreError(files.damage_text(name, text), text)
