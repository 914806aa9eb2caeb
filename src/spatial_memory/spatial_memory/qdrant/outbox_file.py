"""The file of an outbox: what waits in it was acknowledged, and is checkpointed and watched as a memory's file is."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import IO

from spatial_memory.store import files
from spatial_memory.store.checkpoint import Checkpointer, check_start
from spatial_memory.store.identity import Identity
from spatial_memory.store.schema import Row
from wm_core.memory.errors import CorruptStoreError

_CREATE = """
CREATE TABLE IF NOT EXISTS outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID;
"""
_COUNT = "SELECT count(*) FROM outbox"


class OutboxFile:
    """Opens the file of an outbox, and tells whether it is still there.

    Args:
        path: The file, or ``:memory:``.

    Raises:
        StoreLockedError: Another process holds it.
        LostRecordsError: Operations that were acknowledged are missing.
        CorruptStoreError: It is damaged.
        OSError: The disk does not take it.
    """

    def __init__(self, path: str) -> None:
        in_memory = path == files.IN_MEMORY
        self._path = path if in_memory else str(Path(path).expanduser().resolve())
        self._lock: IO[str] | None = None
        self._identity: Identity | None = None
        self._checkpointer = Checkpointer(Path(self._path), _COUNT)
        if not in_memory:
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
            self._lock = files.hold(Path(self._path))
        try:
            self.connection = self._open(in_memory)
        except BaseException:
            self.close()
            raise

    def _open(self, in_memory: bool) -> sqlite3.Connection:
        path = Path(self._path)
        if not in_memory:
            check_start(path)
            path.touch()
            self._identity = Identity(path)
        connection = files.connect(self._path)
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.executescript(_CREATE)
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise CorruptStoreError(files.damage_text(self._path, verdict), verdict)
            self._checkpointer.begin(connection)
            self.confirm(connection)
        except sqlite3.DatabaseError as error:
            connection.close()
            raise CorruptStoreError(files.damage_text(self._path, error), str(error)) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def is_untouched(self) -> bool:
        """Return whether the file is the one that was opened."""
        return self._identity is None or self._identity.difference() in ("", "changed")

    def keep(self, connection: sqlite3.Connection | None) -> sqlite3.Connection:
        """Return the connection, where what it writes will be found.

        Raises:
            OSError: It was taken away or replaced.
        """
        if not self.is_untouched():
            raise OSError(f"{self._path} was taken away or replaced: nothing more is acknowledged until a restart")
        return connection or self.connection

    def look(self, _connection: sqlite3.Connection) -> None:
        """Note nothing: what waits to be sent is nobody's to look at."""

    def row(self) -> Row:
        """Return what the next transaction writes about itself."""
        return self._checkpointer.row()

    def committed(self) -> None:
        """Note that it was committed."""
        self._checkpointer.committed()

    def confirm(self, connection: sqlite3.Connection) -> bool:
        """Checkpoint what is committed and return whether the log is still to be emptied."""
        if self._identity is None:
            return False
        self._checkpointer.confirm(connection)
        if not self.is_untouched():
            raise OSError(f"{self._path} was taken away or replaced")
        self._identity.accept()
        return self._checkpointer.is_behind

    def close(self) -> None:
        """Let go of the file; the connection is closed before."""
        if self._identity is not None:
            self._identity.close()
        if self._lock is not None:
            self._lock.close()
