"""Opening a store's file: created whole or not at all, held by one process, refused when damaged."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from wm_core.databases import open_database
from wm_core.memory.errors import CorruptStoreError, StoreError, StoreLockedError

IN_MEMORY = ":memory:"
APPLICATION_ID = 0x574D454D  # "WMEM"
FORMAT_VERSION = 3
READABLE_VERSIONS = (1, 2, 3)

# Rows and a sum over their keys, kept by the database itself: what is missing or stands in the wrong place shows.
KEY_MODULUS = 1000003
_KEYS = {"record": f"{{row}}id % {KEY_MODULUS}", "successor": f"{{row}}record % {KEY_MODULUS}",
         "extra": f"{{row}}record % {KEY_MODULUS}", "thumbnail": f"{{row}}record % {KEY_MODULUS}"}  # fmt: skip
_TALLY = """
INSERT INTO tally VALUES ('{table}', 0, 0);
CREATE TRIGGER {table}_in AFTER INSERT ON {table} BEGIN
    UPDATE tally SET rows = rows + 1, keys = keys + {new} WHERE name = '{table}'; END;
CREATE TRIGGER {table}_out AFTER DELETE ON {table} BEGIN
    UPDATE tally SET rows = rows - 1, keys = keys - ({old}) WHERE name = '{table}'; END;
"""


_NO_COUNT = "SELECT name FROM tally WHERE typeof(rows) <> 'integer' OR typeof(keys) <> 'integer' OR rows < 0"


def _tally(table: str) -> str:
    keys = _KEYS[table]
    return _TALLY.format(table=table, new=keys.format(row="NEW."), old=keys.format(row="OLD."))


CREATE_1 = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = 1;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE session (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, checksum INTEGER NOT NULL);
CREATE TABLE record (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE successor (record INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE tally (name TEXT PRIMARY KEY, rows INTEGER NOT NULL, keys INTEGER NOT NULL) WITHOUT ROWID;
{_tally("record")}{_tally("successor")}"""
# Version 2 has frame_id and feature_id in meta, and a table of what only some records have: nothing is rewritten.
FROM_1_TO_2 = f"""
CREATE TABLE extra (record INTEGER PRIMARY KEY, body BLOB NOT NULL);
{_tally("extra")}
PRAGMA user_version = 2;
"""
# Version 3 has a table of small pictures: nothing is rewritten.
FROM_2_TO_3 = f"""
CREATE TABLE thumbnail (record INTEGER PRIMARY KEY, body BLOB NOT NULL);
{_tally("thumbnail")}
PRAGMA user_version = 3;
"""
CREATE_2 = CREATE_1 + FROM_1_TO_2
CREATE = CREATE_2 + FROM_2_TO_3


def hold(path: Path) -> IO[str] | None:
    """Take the lock beside a store, for as long as the returned file is open.

    Returns:
        The lock file, or None where the folder cannot be written, so that nobody can write the store either.

    Raises:
        StoreLockedError: Another process holds it.
    """
    try:
        lock = open(f"{path}.lock", "a+", encoding="utf-8")  # noqa: SIM115 - held open on purpose
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise StoreLockedError(f"{path} is held by another process (pid {holder})") from error
    with contextlib.suppress(OSError):  # it is held all the same; who holds it is told where the disk has room for that
        os.ftruncate(lock.fileno(), 0)
        os.write(lock.fileno(), str(os.getpid()).encode())
    return lock


# No other day makes room for a file there; a disk that is full, away or read-only is written once it can be.
_NO_PLACE = (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)
_SHOWN = 120


def check_place(path: str) -> None:
    """Refuse a path at which no file can ever lie; makes its folder.

    Raises:
        StoreError: It is a folder, a file stands where it needs a folder, no folder can be made there, or a name is too
            long for the system.
    """
    place = Path(path).expanduser()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        why = "it is a folder" if place.is_dir() else ""
        with contextlib.suppress(FileNotFoundError):
            place.stat()
            why = why or ("" if place.is_file() else "what is there is no file")
    except OSError as error:
        why = f"{error.strerror}" if error.errno in _NO_PLACE else ""
    if why:
        raise StoreError(f"{path[:_SHOWN]} can never hold a memory: {why}")


def check_regular(path: Path) -> None:
    """Refuse what is there and no file: a pipe is waited for without end, a device never ends.

    Raises:
        StoreError: It is a folder, pipe, device or socket.
    """
    if path.exists() and not path.is_file():
        raise StoreError(f"{path} is no file")


@contextlib.contextmanager
def folder_of(path: Path) -> Iterator[None]:
    """Make the folder of a file that is written meanwhile, and take away what was made of it where that fails.

    Raises:
        OSError: It cannot be made.
    """
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def create(path: Path) -> None:
    """Make an empty store appear at a path in one step, so that an empty file there always means damage.

    Raises:
        sqlite3.Error, OSError: The disk does not take it.
    """
    temporary = path.with_name(path.name + ".new")
    with folder_of(path):
        temporary.unlink(missing_ok=True)
        try:
            with contextlib.closing(open_database(temporary)) as connection:
                connection.executescript(CREATE)
            publish(temporary, path)
        except BaseException:
            remove(temporary)
            raise


def remove(path: Path) -> None:
    """Take a file that was not finished away, and what lies beside it, as far as the disk lets it."""
    for suffix in ("", "-journal", "-wal", "-shm", ".ledger", ".lock"):
        with contextlib.suppress(OSError):
            Path(f"{path}{suffix}").unlink(missing_ok=True)


def publish(temporary: Path, path: Path) -> None:
    """Move a finished file to its place so that a crash leaves the old one or the new one."""
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def check(connection: sqlite3.Connection, path: str) -> None:
    """Refuse a file that is not a memory of this version, or of one that ``migrate`` leads to it.

    Raises:
        CorruptStoreError: Torn, damaged, or something else.
    """
    try:
        application_id = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        found = _tables(connection)
        encoding = connection.execute("PRAGMA encoding").fetchone()[0]
        uncounted = connection.execute(_NO_COUNT).fetchall() if ("table", "tally") in {row[:2] for row in found} else []
    except sqlite3.DatabaseError as error:
        raise CorruptStoreError(damage_text(path, error), str(error)) from error
    if application_id != APPLICATION_ID:
        text = f"is not a spatial memory (application id {application_id:#x})"
        raise CorruptStoreError(f"{path} {text}; {mend_text(path)}", f"it {text}")
    if version not in READABLE_VERSIONS:
        text = f"has format version {version}, this program reads {READABLE_VERSIONS[0]} to {READABLE_VERSIONS[-1]}"
        raise CorruptStoreError(f"{path} {text}", f"it {text}")
    if strange := sorted(f"{kind} {name}" for kind, name, _ in found ^ _expected_tables(version)):
        # A column, trigger or index that is not ours would refuse or change what is written later.
        text = f"not the tables of a memory: {', '.join(dict.fromkeys(strange))}"
        raise CorruptStoreError(damage_text(path, text), text)
    if uncounted:
        text = f"the count of its {uncounted[0][0]!r} rows is none"
        raise CorruptStoreError(damage_text(path, text), text)
    if encoding != "UTF-8":
        raise CorruptStoreError(damage_text(path, f"text in {encoding}"), f"text in {encoding}, expected UTF-8")


def _tables(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    """Return kind, name and definition of all that a file defines, without what SQLite keeps for itself."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'")
    return {(kind, name, " ".join(str(sql).split())) for kind, name, sql in rows}


@functools.cache
def _expected_tables(version: int) -> frozenset[tuple[str, str, str]]:
    with contextlib.closing(open_database(IN_MEMORY)) as connection:
        connection.executescript({1: CREATE_1, 2: CREATE_2}.get(version, CREATE))
        return frozenset(_tables(connection))


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a checked file to the present version, all or nothing.

    Raises:
        sqlite3.Error, OSError: The disk does not take it; then it is as it was.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == FORMAT_VERSION:
        return
    steps = FROM_2_TO_3 if version == 2 else FROM_1_TO_2 + FROM_2_TO_3
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {steps} COMMIT;")
    except (sqlite3.Error, OSError):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def damage_text(path: str, error: object) -> str:
    """Return what to tell the user of a damaged store."""
    return f"{path} is damaged ({error}); {mend_text(path)}"


def mend_text(path: object) -> str:
    """Return the commands that mend a store."""
    return (f"start with on_corrupt: recover, or run wm memory mend {path}, to keep what can be read; "
            f"wm memory mend {path} --from BACKUP puts a backup or snapshot in its place")  # fmt: skip


def connect(path: str, *, timeout_s: float = 5.0) -> sqlite3.Connection:
    """Open a store for one thread at a time, in explicit transactions."""
    connection = open_database(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    try:
        # More would be filled for the first hours of a drive, and gains nothing: what is written next lies together.
        connection.execute("PRAGMA cache_size = -4096")
    except BaseException:
        connection.close()
        raise
    return connection
