"""The file under a store: held by one process, opened for reading and writing, or for reading only until it can."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from spatial_memory.store import files
from spatial_memory.store.checkpoint import Checkpointer, Mark, check_start, put_aside
from spatial_memory.store.foreign import ForeignWrites
from spatial_memory.store.identity import Identity
from spatial_memory.store.schema import GET_TALLY, Row
from spatial_memory.store.snapshots import copy_to
from wm_core.databases import open_database
from wm_core.memory.errors import CorruptStoreError, StoreError

_LOG = logging.getLogger(__name__)
_COUNT = "SELECT rows FROM tally WHERE name = 'record'"


class Handle:
    """Opens a store's file, reads from it, and hands out the connection to write with.

    A path that cannot be written at the moment is no error: what is there is read, and ``connect`` tries again.

    Args:
        path: The file, or ``:memory:``.
        check: Returns the mark of what a connection reads once every row is checked, raising ``CorruptStoreError``.

    Raises:
        StoreLockedError: Another process holds the file.
        CorruptStoreError: The file is damaged or something else.
        StoreError: It can neither be written nor read.
    """

    def __init__(self, path: str | Path, check: Callable[[sqlite3.Connection, str], Mark]) -> None:
        self.path = str(path) if str(path) == files.IN_MEMORY else str(Path(path).expanduser().resolve())
        self.guard = threading.Lock()
        self.foreign = ForeignWrites(self.path)
        self._reader: sqlite3.Connection | None = None
        self._lock: IO[str] | None = None
        # Not yet opened for writing; what was found in it then must still be all of it when it is.
        self._frozen = False
        self._found: list[Row] = []
        self.checkpointer = Checkpointer(Path(self.path), _COUNT)
        self._identity: Identity | None = None
        self._check = check
        self._refusal: tuple[object, str] = (None, "")
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
        check_start(path)
        if not path.exists():
            files.create(path)
            if self._lock is None:
                self._lock = files.hold(path)
        with contextlib.ExitStack() as opened:
            # What is held of a file that cannot be opened would keep this process, too, from opening it later.
            identity = opened.enter_context(contextlib.closing(Identity(path)))
            connection = opened.enter_context(contextlib.closing(files.connect(self.path)))
            files.check(connection, self.path)
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            files.migrate(connection)
            self.checkpointer.begin(connection)
            identity.accept()
            opened.pop_all()
        self._identity = identity
        return connection

    def _open_frozen(self, reason: Exception) -> sqlite3.Connection:
        """Open a file that cannot be written at present, to read what it holds.

        Raises:
            StoreError: Part of it stands in a log that can only be read where it can be written.
        """
        log = Path(f"{self.path}-wal")
        if log.exists() and log.stat().st_size:
            raise StoreError(f"{self.path} cannot be opened ({reason}), and its log {log.name} needs that to be read")
        where = f"{Path(self.path).as_uri()}?mode=ro&immutable=1"
        try:
            connection = open_database(where, uri=True, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise StoreError(f"{self.path} can neither be written ({reason}) nor read ({error})") from error
        files.check(connection, self.path)
        return connection

    def connect(self) -> sqlite3.Connection:
        """Open the writer's connection; every commit reaches the disk before it returns."""
        if self._frozen:
            self._thaw()
        connection = files.connect(self.path)
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
        # Only sealing empties the log, so that nothing but that changes the file.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        self.foreign.begin(connection)
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
            assert self._identity is not None
            self._identity.close()
            self._identity = None
            raise OSError(f"{self.path} holds memories that were not loaded; restart to load them")
        with self.guard:
            if self._reader is not None:
                self._reader.close()
            self._reader = reader
            self._frozen = False

    def keep(self, connection: sqlite3.Connection | None) -> sqlite3.Connection:
        """Return the connection to go on writing with, once it is sure that it writes to the files that will be found.

        Files that were taken away are written anew from those that are still open.

        Raises:
            OSError: Another file lies in their place, another program changed them, or the disk does not take them.
        """
        if self._frozen:
            return self.connect()
        difference = self._identity.difference() if self._identity is not None else ""
        if difference == "replaced":
            raise OSError(self._refused_once(difference, self._set_aside))
        if difference == "changed":
            self._check_changed()
        elif difference:
            self._rebuild(connection)
            connection = None
        return connection if connection is not None else self.connect()

    def is_untouched(self) -> bool:
        """Return whether the files are those that were opened, as they were left; a file not opened yet is."""
        return self._identity is None or not self._identity.difference()

    def look(self, connection: sqlite3.Connection) -> None:
        """Note whether another program wrote to the file."""
        self.foreign.look(connection)

    def row(self) -> Row:
        """Return what the next transaction writes about itself."""
        return self.checkpointer.row()

    def committed(self) -> None:
        """Note that it was committed."""
        self.checkpointer.committed()

    def confirm(self, connection: sqlite3.Connection) -> bool:
        """Checkpoint what is committed and return whether the log is still to be emptied.

        Raises:
            sqlite3.Error, OSError: The disk does not take it at present, or the files were taken away meanwhile.
        """
        try:
            self.checkpointer.confirm(connection)
        finally:
            difference = self._identity.difference() if self._identity is not None else ""
            if self._identity is not None and difference in ("", "changed"):
                self._identity.accept()
        if difference not in ("", "changed"):
            raise OSError(f"{self.path} was taken away")
        return self.checkpointer.is_behind

    def _refused_once(self, key: object, explain: Callable[[], str]) -> str:
        """Return why nothing is acknowledged any more, worked out once for each reason."""
        if self._refusal[0] != key:
            self._refusal = key, explain()
        return self._refusal[1]

    def _set_aside(self) -> str:
        """Keep what only the open file holds, since another one lies in its place."""
        path = Path(self.path)
        number = 1
        while (aside := path.with_name(f"{path.name}.rescued-{number}")).exists():
            number += 1
        with self.guard:
            assert self._reader is not None
            count = copy_to(self._reader, aside)
        text = (f"another file was put in the place of {path} while it was in use: nothing more is acknowledged; "
                f"the {count} memories acknowledged before are in {aside.name}")  # fmt: skip
        _LOG.error("%s", text)
        return text

    def _check_changed(self) -> None:
        """Go on where a file that another program touched is whole all the same, and holds no other records."""
        assert self._identity is not None
        if text := self._refused_once(self._identity.content(), self._change):
            raise OSError(text)
        _LOG.warning("%s was touched by another program; it is as it was", self.path)
        self._identity.accept()

    def _change(self) -> str:
        """Return what is wrong with a file that another program wrote to; empty: nothing."""
        what = "holds other records"
        try:
            with contextlib.closing(files.connect(self.path)) as connection:
                found = self._check(connection, self.path)
            if found == self.checkpointer.mark:
                return ""
        except (sqlite3.Error, CorruptStoreError) as error:
            what = str(error)
        return f"{self.path} was changed by another program ({what}): nothing more is acknowledged until a restart"

    def _rebuild(self, connection: sqlite3.Connection | None) -> None:
        """Write the files anew from those that are open, which were taken away, wholly or in part."""
        path = Path(self.path)
        fresh = path.with_name(path.name + ".rebuilt")
        with self.guard:
            assert self._reader is not None
            assert self._identity is not None
            count = copy_to(self._reader, fresh)
            self._found = self._reader.execute(GET_TALLY, ("record",)).fetchall()
            for each in (connection, self._reader):
                if each is not None:
                    each.close()
            self._identity.close()
            self._reader, self._identity, self._frozen = None, None, True
            self._hold_again()
            for suffix in ("", "-wal", "-shm"):
                if (part := Path(f"{path}{suffix}")).exists():
                    put_aside(part)
            files.publish(fresh, path)
            try:
                self._reader, self._frozen = self._open(), False
            except StoreError as error:
                raise OSError(str(error)) from error
        _LOG.error("%s was taken away while it was in use: written anew with all its %d memories", path, count)

    def _hold_again(self) -> None:
        """Take the lock file again where it was taken away, too."""
        beside = Path(f"{self.path}.lock")
        if self._lock is not None:
            if beside.exists() and os.path.samestat(os.fstat(self._lock.fileno()), beside.stat()):
                return
            self._lock.close()
        self._lock = files.hold(Path(self.path))

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
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

    def tally(self) -> list[Row]:
        """Return how many records are committed and the sum of their keys, in a list that is empty without a file."""
        return self.read(GET_TALLY, ("record",))

    def release(self) -> None:
        """Let go of the file."""
        if self._reader is not None:
            self._reader.close()
        if self._identity is not None:
            self._identity.close()
            self._identity = None
        if self._lock is not None:
            self._lock.close()
