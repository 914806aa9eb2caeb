"""From committed to acknowledged: numbered, whole in the store's own file, and noted outside of it.

Every transaction numbers itself in the store's own description. The number goes to the ledger, a file of two slots with
checksums that are written in turns, before anything is acknowledged. A store that holds a lower number has lost some.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import sqlite3
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from spatial_memory.store import files
from spatial_memory.store.schema import GET_META, Row, checksummed
from wm_core.databases import open_database
from wm_core.memory.errors import CorruptStoreError, LostRecordsError

_LOG = logging.getLogger(__name__)
_MAGIC = b"WMLEDGR1"
_SLOT = struct.Struct("<8s16sQQ")
_STRIDE = 512
_KEY = "commit"
_WORD = re.compile(r"(\d{1,18}) ([0-9a-f]{32})")
_WAIT_MS = 100


class Mark(NamedTuple):
    """How far a store has come.

    Attributes:
        store_id: Which store, 16 bytes in hexadecimal; empty: it does not say.
        number: Of its last transaction; 0: of a store that does not number them.
        record_count: How many rows it held that must not get lost.
    """

    store_id: str = ""
    number: int = 0
    record_count: int = 0

    def row(self) -> Row:
        """Return what a transaction writes about itself in the description."""
        return checksummed(_KEY, f"{self.number} {self.store_id}")


def mark_in(connection: sqlite3.Connection) -> Mark:
    """Return the mark of what a connection reads; its count is not known.

    Raises:
        sqlite3.Error: It cannot be read.
        CorruptStoreError: It is whole, and of no transaction.
    """
    rows = connection.execute(f"{GET_META} WHERE key = ?", (_KEY,)).fetchall()
    if not rows or checksummed(*rows[0][:-1]) != rows[0]:
        return Mark()
    found = _WORD.fullmatch(str(rows[0][1]))
    if found is None:
        text = f"the store's description is damaged: {rows[0][1]!r:.60} is no transaction"
        raise CorruptStoreError(text, text)
    return Mark(found[2], int(found[1]))


class Ledger:
    """The file beside a store that holds its mark.

    Args:
        path: The store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".ledger")
        self._slot = 0

    def read(self) -> Mark | None:
        """Return what was noted last; None where nothing was, or nothing can be read of it."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        marks = [_unpacked(content[at : at + _SLOT.size + 4]) for at in (0, _STRIDE)]
        best = max((mark for mark in marks if mark is not None), key=lambda mark: mark.number, default=None)
        if best is None:
            _LOG.error("%s is damaged: what was acknowledged before cannot be compared", self.path)
        elif best == marks[0]:
            self._slot = 1
        return best

    def write(self, mark: Mark) -> None:
        """Note a mark, on disk before it returns.

        Raises:
            OSError: The disk does not take it; the one before still stands.
        """
        body = _SLOT.pack(_MAGIC, bytes.fromhex(mark.store_id), mark.number, mark.record_count)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.pwrite(file, body + zlib.crc32(body).to_bytes(4, "little"), self._slot * _STRIDE)
            os.fsync(file)
        finally:
            os.close(file)
        self._slot = 1 - self._slot

    def forget(self) -> None:
        """Take what there is for what is wanted, at the next start."""
        self.path.unlink(missing_ok=True)


def _unpacked(slot: bytes) -> Mark | None:
    if len(slot) != _SLOT.size + 4 or zlib.crc32(slot[:-4]) != int.from_bytes(slot[-4:], "little"):
        return None
    magic, store_id, number, count = _SLOT.unpack(slot[:-4])
    return Mark(store_id.hex(), number, count) if magic == _MAGIC else None


class Checkpointer:
    """Numbers the transactions of one store and checkpoints them.

    A checkpointed transaction has left the log: losing the log, or copying the file without it, loses nothing of it.
    While somebody reads for long, the log is emptied later; the ledger tells at the next start if it got lost until
    then.

    Args:
        path: The store's file.
        count: SQL that counts the rows which must not get lost.
    """

    def __init__(self, path: Path, count: str) -> None:
        self._ledger = Ledger(path)
        self._count = count
        self._mark = Mark()
        self.is_behind = False

    def begin(self, connection: sqlite3.Connection) -> None:
        """Go on where a store stands that was just opened.

        Raises:
            sqlite3.Error: It cannot be read.
        """
        self._mark = mark_in(connection)
        if not self._mark.store_id:
            self._mark = Mark(secrets.token_hex(16))
            return
        noted = self._ledger.read()
        if noted is None or noted[:2] != self._mark[:2]:
            try:
                self._note(connection)
            except OSError as error:
                _LOG.warning("%s cannot be written: %s", self._ledger.path, error)

    @property
    def mark(self) -> Mark:
        """How far the store has come."""
        return self._mark

    def row(self) -> Row:
        """Return what the next transaction writes into the description."""
        return self._mark._replace(number=self._mark.number + 1).row()

    def committed(self) -> None:
        """Note that it was committed."""
        self._mark = self._mark._replace(number=self._mark.number + 1)

    def confirm(self, connection: sqlite3.Connection) -> None:
        """Make what was committed survive the loss of the log, and note its number.

        Raises:
            sqlite3.Error: The disk does not take it at present.
            OSError: The same.
        """
        usual_ms = connection.execute("PRAGMA busy_timeout").fetchone()[0]
        connection.execute(f"PRAGMA busy_timeout = {_WAIT_MS}")
        try:
            self.is_behind = bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
        finally:
            connection.execute(f"PRAGMA busy_timeout = {usual_ms}")
        self._note(connection)

    def _note(self, connection: sqlite3.Connection) -> None:
        count = connection.execute(self._count).fetchone()
        self._mark = self._mark._replace(record_count=int(count[0]) if count else 0)
        if self._mark.number:
            self._ledger.write(self._mark)


def check_start(path: Path) -> None:
    """Refuse a store that has lost what was acknowledged, before anything is written to it.

    A log that would take the file back behind what it holds itself is put aside instead: the file alone has it all.

    Raises:
        LostRecordsError: Names what is missing, and the commands that mend it.
        OSError: Such a log cannot be put aside.
    """
    mark = Ledger(path).read()
    if not path.exists():
        if mark is not None and mark.record_count:
            raise LostRecordsError(_lost_text(path, mark, "the file is missing"), "the file is missing")
        return
    alone = _peeked(path, "mode=ro&immutable=1")
    log = Path(f"{path}-wal")
    found = alone
    if log.exists() and log.stat().st_size:
        found = _peeked(path, "mode=ro")
        if alone is not None and alone.number and (found is None or found.number < alone.number):
            put_aside(log)
            Path(f"{path}-shm").unlink(missing_ok=True)
            _LOG.error("%s is damaged or of another time; put aside, for %s alone is newer", log, path.name)
            found = alone
    if mark is None or found is None:  # what cannot be read is refused by name when it is opened
        return
    if found.store_id != mark.store_id:
        text = "another memory lies in its place"
    elif found.number < mark.number:
        text = (f"it is at transaction {found.number}, {mark.number} was acknowledged: its log is missing or damaged, "
                "or an older copy lies in its place")  # fmt: skip
    else:
        return
    raise LostRecordsError(_lost_text(path, mark, text), text)


def _lost_text(path: Path, mark: Mark, what: str) -> str:
    return f"{path} has lost some of {mark.record_count} acknowledged records ({what}); {files.mend_text(path)}"


def _peeked(path: Path, how: str) -> Mark | None:
    """Return the mark of a store, without writing to it; None where it cannot be read."""
    try:
        with contextlib.closing(open_database(f"{path.as_uri()}?{how}", uri=True)) as connection:
            return mark_in(connection)
    except (sqlite3.Error, CorruptStoreError):
        return None


def put_aside(part: Path) -> Path:
    """Give a file a name of its own, ``NAME.damaged-N``, and return it."""
    number = 1
    while (aside := part.with_name(f"{part.name}.damaged-{number}")).exists():
        number += 1
    part.rename(aside)
    return aside
