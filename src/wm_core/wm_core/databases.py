"""SQLite files of which nothing is known: whatever bytes they hold, what goes wrong is an error of SQLite's."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

Answer = TypeVar("Answer")


def open_database(database: str | Path, **options: Any) -> sqlite3.Connection:
    """Return a connection as ``sqlite3.connect`` does.

    SQLite's message about a damaged schema quotes the file. Python reads it as UTF-8 before it knows which error to
    raise, so that a damaged file may end in a ``UnicodeDecodeError``; here it ends in a ``sqlite3.DatabaseError``.
    Text that is no UTF-8 would end the reading of all rows in a ``sqlite3.OperationalError``, like a disk that is away;
    here it is read with its bytes escaped, for whoever checks the row to find.

    Args:
        database: Path or URI.
        **options: As for ``sqlite3.connect``.

    Raises:
        sqlite3.Error: It cannot be opened.
    """
    connection: sqlite3.Connection = sqlite3.connect(database, factory=_Connection, **options)
    connection.text_factory = _text
    return connection


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


def _said(work: Callable[..., Answer], *arguments: Any) -> Answer:
    try:
        return work(*arguments)
    except UnicodeDecodeError as error:
        quoted = error.object.decode(errors="backslashreplace")
        raise sqlite3.DatabaseError(quoted) from error


class _Cursor(sqlite3.Cursor):
    def execute(self, sql: str, parameters: Any = (), /) -> _Cursor:
        return _said(super().execute, sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> _Cursor:
        return _said(super().executemany, sql, parameters)

    def executescript(self, script: str, /) -> sqlite3.Cursor:
        return _said(super().executescript, script)

    def fetchone(self) -> Any:
        return _said(super().fetchone)

    def fetchall(self) -> list[Any]:
        return _said(super().fetchall)

    def __next__(self) -> Any:
        return _said(super().__next__)


class _Connection(sqlite3.Connection):
    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)

    def _new(self) -> _Cursor:
        # Not as _Cursor(self): the connection would never forget that there was one.
        cursor: _Cursor = self.cursor()
        return cursor

    # Python's own make a cursor of its own kind.
    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return self._new().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        return self._new().executemany(sql, parameters)

    def executescript(self, script: str, /) -> sqlite3.Cursor:
        return self._new().executescript(script)

    def backup(self, target: sqlite3.Connection, **options: Any) -> None:
        _said(lambda: super(_Connection, self).backup(target, **options))
