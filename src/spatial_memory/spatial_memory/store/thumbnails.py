"""Small pictures of what was seen at some records: a table of their own that no query reads.

A picture is a JPEG file, followed by the CRC-32 of itself and the record's id. It goes with its record; of too many the
oldest go first.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from spatial_memory.store import files
from spatial_memory.store.recent import Read
from wm_core.databases import open_database
from wm_core.memory.errors import CorruptStoreError, StoreError
from wm_core.words import counted

_LOG = logging.getLogger(__name__)
# Only of a record that is still there, and after it: what is written keeps its order.
PUT_THUMBNAIL = """INSERT INTO thumbnail SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM record WHERE id = ?1)
                   ON CONFLICT (record) DO UPDATE SET body = excluded.body"""
DROP_THUMBNAIL = "DELETE FROM thumbnail WHERE record = ?"
GET_THUMBNAILS = "SELECT record, body FROM thumbnail"
_PRUNE = """DELETE FROM thumbnail WHERE record IN (SELECT record FROM thumbnail ORDER BY record LIMIT
            max(0, (SELECT rows FROM tally WHERE name = 'thumbnail') - ?))"""
_ANY_TALLY = "SELECT rows FROM tally WHERE name = 'thumbnail'"
_CHECKSUM_SIZE = 4
_MOST_KEYS = 10_000
MOST_BYTES = 16_384
"""Largest picture that is kept."""

Statements = Sequence[tuple[str, Sequence[tuple[object, ...]]]]


def pack_thumbnail(record_id: int, jpeg: bytes) -> bytes:
    """Return a picture as it is kept."""
    return jpeg + zlib.crc32(jpeg, record_id & 0xFFFFFFFF).to_bytes(_CHECKSUM_SIZE, "little")


def unpack_thumbnail(record_id: int, body: object) -> bytes | None:
    """Return the picture that was kept; None: it is damaged."""
    if not isinstance(body, bytes) or len(body) <= _CHECKSUM_SIZE:
        return None
    jpeg = body[:-_CHECKSUM_SIZE]
    return jpeg if pack_thumbnail(record_id, jpeg) == body else None


def check_thumbnails(rows: Sequence[tuple[int, bytes]], name: str) -> None:
    """Refuse rows of pictures that are not whole.

    Raises:
        CorruptStoreError: Names the first.
    """
    for record_id, body in rows:
        if unpack_thumbnail(record_id, body) is None:
            text = f"the picture of record {record_id} is damaged"
            raise CorruptStoreError(files.damage_text(name, text), text)


class Thumbnails:
    """The pictures of a store.

    Args:
        read: Returns all committed rows of a query with its values.
        put: Hands statements over to be written together; told about how many rows they are.
    """

    def __init__(self, read: Read, put: Callable[[Statements, int], None]) -> None:
        self._read, self._put = read, put
        self._damaged: set[int] = set()
        self.look()

    def look(self) -> None:
        """Take note of whether there are any."""
        rows = self._read(_ANY_TALLY)
        self.is_used = bool(rows and rows[0][0])

    def __len__(self) -> int:
        rows = self._read(_ANY_TALLY)
        return int(rows[0][0]) if rows else 0

    def keep(self, pictures: Mapping[int, bytes], most: int = 0) -> None:
        """Keep pictures of records, in place of those before; returns at once.

        Args:
            pictures: Record -> JPEG file; of a record that is not there none is kept.
            most: Pictures in all, the newest records'; 0: any number.

        Raises:
            StoreError: A picture is empty, or larger than ``MOST_BYTES``.
        """
        for record_id, jpeg in pictures.items():
            if not 0 < len(jpeg) <= MOST_BYTES:
                raise StoreError(f"the picture of record {record_id} has {len(jpeg)} bytes, expected 1 to {MOST_BYTES}")
        if not pictures:
            return
        self.is_used = True
        packed = [(record_id, pack_thumbnail(record_id, jpeg)) for record_id, jpeg in pictures.items()]
        prune = [(_PRUNE, [(most,)])] if most > 0 else []
        self._put([(PUT_THUMBNAIL, packed), *prune], len(packed))

    def get(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return the pictures of records, of those that have a whole one; ``damage`` tells of others."""
        found: dict[int, bytes] = {}
        for at in range(0, len(ids) if self.is_used else 0, _MOST_KEYS):
            some = list(ids[at : at + _MOST_KEYS])
            rows = self._read(f"{GET_THUMBNAILS} WHERE record IN ({','.join('?' * len(some))})", some)
            for record_id, body in rows:
                jpeg = unpack_thumbnail(record_id, body)
                if jpeg is not None:
                    found[record_id] = jpeg
                elif record_id not in self._damaged:
                    self._damaged.add(record_id)
                    _LOG.error("the picture of record %d is damaged", record_id)
        return found

    @property
    def damage(self) -> str:
        """What was found damaged since the file was opened; empty: nothing."""
        return f"{counted(len(self._damaged), 'picture')} damaged" if self._damaged else ""


def read_thumbnail(path: Path, record_id: int) -> bytes | None:
    """Return the picture of a record as a JPEG file, from a memory's file that may be in use; None: there is none.

    Args:
        path: The file, a snapshot or a backup; it is only read.
        record_id: Whose.

    Raises:
        StoreError: The file is absent or cannot be read.
        CorruptStoreError: It is no memory, or damaged.
    """
    path = path.expanduser().resolve()
    if not path.is_file():
        raise StoreError(f"there is no file {path}")
    try:
        with contextlib.closing(open_database(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            files.check(connection, str(path))
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'thumbnail'").fetchone():
                return None
            row = connection.execute(f"{GET_THUMBNAILS} WHERE record = ?", (record_id,)).fetchone()
    except sqlite3.OperationalError as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    except (sqlite3.DatabaseError, OverflowError) as error:
        raise CorruptStoreError(files.damage_text(str(path), error), str(error)) from error
    return None if row is None else unpack_thumbnail(*row)
