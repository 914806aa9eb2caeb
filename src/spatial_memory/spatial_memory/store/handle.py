"""The file under a store: held by one process, opened for reading and writing, or for reading only until it can."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from spatial_memory.store import files
from spatial_memory.store.schema import GET_TALLY
from wm_core.memory.errors import CorruptStoreError, StoreError

_LOG = logging.getLogger(__name__)


class Handle:
    """Opens a store's file, reads from it, and hands out the connection to write with.

    A path that cannot be written at the moment is no error: what is there is read, and ``connect`` tries again.

    Args:
        path: The file, or ``:memory:``.

    Raises:
        StoreLockedError: Another process holds the file.
        CorruptStoreError: The file is damaged or something else.
        StoreError: It can neither be written nor read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path) if str(path) == files.IN_MEMORY else str(Path(path).expanduser().resolve())
        self.guard = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._lock: IO[str] | None = None
        # Not yet opened for writing; what was found in it then must still be all of it when it is.
        self._frozen = False
        self._found: list[tuple] = []
        if self.in_memory:
            self._reader = files.connect(self.path)
            self._reader.executescript(files.CREATE)
            return
        self._lock = files.hold(Path(self.path)) if Path(self.path).parent.is_dir() else None
        try:
            self._reader = self._begin()
            self._found = self.tally()
        except StoreError:
            self.release()
            raise

    def _begin(self) -> sqlite3.Connection | None:
        try:
            return self._open()
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                raise CorruptStoreError(files.damage_text(self.path, error), str(error)) from error
            _LOG.warning("%s cannot be written (%s): new memories live in RAM until it can", self.path, error)
            self._frozen = True
            return self._open_frozen(error) if Path(self.path).exists() else None

    @property
    def in_memory(self) -> bool:
        """Nothing is kept beyond this process."""
        return self.path == files.IN_MEMORY

    def shared(self) -> sqlite3.Connection:
        """Return the one connection of a store in memory; to be used under ``guard``."""
        assert self._reader is not None
        return self._reader

    def _open(self) -> sqlite3.Connection:
        path = Path(self.path)
        if not path.exists():
            files.create(path)
            if self._lock is None:
                self._lock = files.hold(path)
        connection = files.connect(self.path)
        try:
            files.check(connection, self.path)
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            files.migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_frozen(self, reason: Exception) -> sqlite3.Connection:
        """Open a file that cannot be written at present, to read what it holds.

        Raises:
            StoreError: Part of it stands in a log that can only be read where it can be written.
        """
        log = Path(f"{self.path}-wal")
        if log.exists() and log.stat().st_size:
            raise StoreError(f"{self.path} cannot be opened ({reason}), and its log {log.name} needs that to be read")
        connection = sqlite3.connect(
            f"{Path(self.path).as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None, check_same_thread=False
        )
        files.check(connection, self.path)
        return connection

    def connect(self) -> sqlite3.Connection:
        """Open the writer's connection; every commit reaches the disk before it returns."""
        if self._frozen:
            self._thaw()
        connection = files.connect(self.path)
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _thaw(self) -> None:
        """Open a file for writing that could not be at start, unless it holds what was not loaded then."""
        try:
            if self._lock is None and Path(self.path).parent.is_dir():
                self._lock = files.hold(Path(self.path))
            reader = self._open()
        except StoreError as error:
            raise OSError(str(error)) from error
        if reader.execute(GET_TALLY, ("record",)).fetchall() != (self._found or [(0, 0)]):
            reader.close()
            raise OSError(f"{self.path} holds memories that were not loaded; restart to load them")
        with self.guard:
            if self._reader is not None:
                self._reader.close()
            self._reader = reader
            self._frozen = False

    def read(self, sql: str, values: Sequence = ()) -> list[tuple]:
        """Return all rows of a query on what is committed; none while the file cannot be opened.

        Raises:
            CorruptStoreError: The file is damaged.
        """
        with self.guard:
            if self._reader is None:
                return []
            try:
                return self._reader.execute(sql, values).fetchall()
            except sqlite3.OperationalError as error:
                raise StoreError(f"{self.path}: {error}") from error
            except sqlite3.DatabaseError as error:
                raise CorruptStoreError(files.damage_text(self.path, error), str(error)) from error

    def tally(self) -> list[tuple]:
        """Return how many records are committed and the sum of their keys, in a list that is empty without a file."""
        return self.read(GET_TALLY, ("record",))

    def release(self) -> None:
        """Let go of the file."""
        if self._reader is not None:
            self._reader.close()
        if self._lock is not None:
            self._lock.close()
