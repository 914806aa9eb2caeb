"""A whole memory in one file."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from pathlib import Path

from spatial_memory.store import files
from spatial_memory.store.schema import GET_META, GET_TALLY, opened
from wm_core.databases import open_database
from wm_core.memory.errors import CorruptStoreError, EncoderMismatchError, StoreError

_SQLITE = b"SQLite format 3\0"
# Where SQLite keeps the application's number.
_ID_AT, _HEAD = 68, 72


def copy_to(source: sqlite3.Connection, path: Path) -> int:
    """Write all that is committed to one file and return how many records; a crash leaves the old file or the new one.

    Raises:
        StoreError: It cannot be written, and why.
    """
    temporary = path.with_name(path.name + ".new")
    try:
        check_replaceable(path)
        with files.folder_of(path):
            try:
                temporary.unlink(missing_ok=True)
                with contextlib.closing(open_database(temporary)) as target:
                    source.backup(target)
                    target.execute("PRAGMA journal_mode = DELETE").fetchone()
                    count: int = target.execute(GET_TALLY, ("record",)).fetchone()[0]
                files.publish(temporary, path)
            except (sqlite3.Error, OSError):
                files.remove(temporary)
                raise
        return count
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{path} cannot be written: {error}") from error


def check_replaceable(path: Path) -> None:
    """Refuse to write a snapshot over anything that is none, or over the file of a memory.

    Raises:
        StoreError: Such a thing lies there.
        OSError: It cannot be looked at.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise StoreError(f"{path} is no snapshot: nothing is written over it")
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    is_memory = head.startswith(_SQLITE) and head[_ID_AT:_HEAD] == files.APPLICATION_ID.to_bytes(4, "big")
    if not is_memory or path.with_name(path.name + ".ledger").exists():
        raise StoreError(f"{path} is no snapshot, or the file of a memory: nothing is written over it")


def check_snapshot(path: Path, encoder_id: str, name: str = "") -> None:
    """Refuse a file that is no snapshot, whose pages are damaged, or that is of another encoder.

    Args:
        path: The file.
        encoder_id: The encoder whose latents come in at present; empty: any.
        name: What to call it.

    Raises:
        StoreError: There is none.
        CorruptStoreError: It is damaged or something else.
        EncoderMismatchError: It holds latents of another encoder.
    """
    name = name or f"snapshot {path}"
    if not path.is_file():
        raise StoreError(f"there is no snapshot {path}")
    with contextlib.closing(open_database(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        files.check(connection, name)
        try:
            verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            meta = dict(opened(connection.execute(GET_META).fetchall(), f"{name}: the word"))
        except sqlite3.OperationalError as error:
            raise StoreError(f"{name} cannot be read: {error}") from error
        except sqlite3.DatabaseError as error:
            raise CorruptStoreError(f"{name} is damaged: {error}", str(error)) from error
    if verdict != "ok":
        raise CorruptStoreError(f"{name} is damaged: {verdict}", verdict)
    theirs = meta.get("encoder_id", "")
    if encoder_id and theirs and theirs != encoder_id:
        raise EncoderMismatchError(f"{name} is of encoder {theirs}, expected {encoder_id}")
