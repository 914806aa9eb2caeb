"""The tables of a durable memory, and rows to and from them.

Shape suffixes: N = records, D = latent size, A = action size.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np

from spatial_memory.columns import Rows
from spatial_memory.errors import CorruptStoreError

APPLICATION_ID = 0x574D454D  # "WMEM"
FORMAT_VERSION = 1

CREATE = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE session (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, checksum INTEGER NOT NULL);
CREATE TABLE record (
    id INTEGER PRIMARY KEY, stamp INTEGER NOT NULL, session INTEGER NOT NULL,
    x REAL NOT NULL, y REAL NOT NULL, z REAL NOT NULL, heading REAL NOT NULL, cell INTEGER NOT NULL,
    surprise REAL, previous_action BLOB NOT NULL, action BLOB NOT NULL, latent BLOB NOT NULL,
    checksum INTEGER NOT NULL);
CREATE TABLE successor (
    record INTEGER NOT NULL, horizon REAL NOT NULL, dt REAL NOT NULL, latent BLOB NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (record, horizon)) WITHOUT ROWID;
CREATE TABLE tally (one INTEGER PRIMARY KEY, records INTEGER NOT NULL);
INSERT INTO tally VALUES (1, 0);
CREATE TRIGGER record_in AFTER INSERT ON record BEGIN UPDATE tally SET records = records + 1; END;
CREATE TRIGGER record_out AFTER DELETE ON record BEGIN UPDATE tally SET records = records - 1; END;
"""
TABLES = ("meta", "session", "record", "successor")
_COLUMNS = ("id", "stamp", "session", "x", "y", "z", "heading", "cell", "surprise", "previous_action", "action",
            "latent", "checksum")  # fmt: skip
_MARKS = ", ".join("?" * len(_COLUMNS))
_UPDATES = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])
# An update, not a replacement: the tally counts insertions.
PUT_RECORD = f"INSERT INTO record VALUES ({_MARKS}) ON CONFLICT (id) DO UPDATE SET {_UPDATES}"
PUT_SUCCESSOR = "INSERT OR REPLACE INTO successor VALUES (?,?,?,?,?)"
PUT_META = "INSERT OR REPLACE INTO meta VALUES (?,?,?)"
PUT_SESSION = "INSERT OR REPLACE INTO session VALUES (?,?,?)"
DROP_RECORD = "DELETE FROM record WHERE id = ?"
DROP_SUCCESSORS = "DELETE FROM successor WHERE record = ?"
GET_RECORDS = f"SELECT {', '.join(_COLUMNS)} FROM record"
GET_SUCCESSORS = "SELECT record, horizon, dt, latent, checksum FROM successor"
GET_META = "SELECT key, value, checksum FROM meta"
GET_SESSIONS = "SELECT number, name, checksum FROM session"


def sealed(*values: object) -> tuple:
    """Return a small row with the checksum of what it says."""
    return (*values, zlib.crc32(repr(values).encode()))


def opened(rows: list[tuple], what: str) -> list[tuple]:
    """Return small rows without their checksums.

    Raises:
        CorruptStoreError: One of them does not say what was written.
    """
    for row in rows:
        if sealed(*row[:-1]) != row:
            raise CorruptStoreError(f"{what} {row[0]!r} is damaged: its checksum does not match")
    return [row[:-1] for row in rows]


def _scalars(rows: Rows) -> list[bytes]:
    """Return the numbers of each row as bytes, the same before and after SQLite: no negative zero, one kind of NaN."""
    parts = [
        np.ascontiguousarray(column, kind).view(np.uint8).reshape(len(rows), -1)
        for column, kind in (
            (rows.id_N, "<i8"),
            (rows.stamp_N, "<i8"),
            (rows.session_N, "<i4"),
            (rows.x_N + 0.0, "<f8"),
            (rows.y_N + 0.0, "<f8"),
            (rows.z_N + 0.0, "<f8"),
            (rows.heading_N + np.float32(0.0), "<f4"),
            (np.where(np.isnan(rows.surprise_N), np.float32(np.nan), rows.surprise_N + np.float32(0.0)), "<f4"),
            (rows.cell_N, "<u8"),
        )
    ]
    whole = np.concatenate(parts, axis=1)
    width = whole.shape[1]
    packed = whole.tobytes()
    return [packed[at : at + width] for at in range(0, len(packed), width)]


def _blobs(vector_NA: np.ndarray) -> list[bytes]:
    """Return one blob per row; an unknown vector, which is NaN, is empty."""
    known_N = ~np.isnan(vector_NA).any(axis=1)
    return [row.tobytes() if known else b"" for row, known in zip(np.ascontiguousarray(vector_NA, "<f4"), known_N)]


def _vectors(blobs: Sequence[bytes], size: int) -> np.ndarray:
    """Return blobs as rows; an empty one is unknown, which is NaN."""
    empty = np.full(size, np.nan, "<f4").tobytes()
    joined = np.frombuffer(b"".join([blob or empty for blob in blobs]), "<f4")
    return joined.reshape(len(blobs), size)


def to_tuples(rows: Rows) -> list[tuple]:
    """Return one tuple per row for ``PUT_RECORD``; SQLite keeps a NaN as NULL."""
    blobs = [_blobs(column) for column in (rows.previous_action_NA, rows.action_NA, rows.latent_ND)]
    checksums = [zlib.crc32(b"".join(parts)) for parts in zip(_scalars(rows), *blobs)]
    scalars = (rows.id_N, rows.stamp_N, rows.session_N, rows.x_N, rows.y_N, rows.z_N, rows.heading_N, rows.cell_N,
               rows.surprise_N)  # fmt: skip
    return list(zip(*(column.tolist() for column in scalars), *blobs, checksums))


def from_tuples(tuples: list[tuple], dim: int, action_dim: int) -> Rows:
    """Return the rows that ``GET_RECORDS`` gave.

    Raises:
        CorruptStoreError: A row that is not what was written.
    """
    columns = list(zip(*tuples))
    try:
        rows = Rows(
            np.array(columns[0], np.int64),
            np.array(columns[1], np.int64),
            *(np.array(columns[at], np.float64) for at in (3, 4, 5)),
            np.array(columns[6], np.float32),
            np.array(columns[2], np.int32),
            np.array([math.nan if value is None else value for value in columns[8]], np.float32),
            _vectors(columns[10], action_dim),
            _vectors(columns[9], action_dim),
            np.array(columns[7], np.uint64),
            _vectors(columns[11], dim),
        )
        checksums = [zlib.crc32(b"".join(parts)) for parts in zip(_scalars(rows), *columns[9:12])]
    except (TypeError, ValueError, OverflowError) as error:
        raise CorruptStoreError(f"records {columns[0][0]}..{columns[0][-1]} do not read as records: {error}") from error
    for record_id, mine, stored in zip(columns[0], checksums, columns[12]):
        if mine != stored:
            raise CorruptStoreError(f"record {record_id} is damaged: its checksum does not match")
    return rows
