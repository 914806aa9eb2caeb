"""What can still be read of a damaged store, in a new one; the damaged file stays beside it."""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from spatial_memory.store import files
from spatial_memory.store.bases import BASIS, WRITTEN_IN
from spatial_memory.store.checkpoint import Ledger
from spatial_memory.store.extras import GET_EXTRAS, PUT_EXTRA, pack_extra, unpack_extras
from spatial_memory.store.scales import SCALE
from spatial_memory.store.schema import (
    COPY_OF,
    DROP_RECORD,
    DROP_SUCCESSORS,
    GET_META,
    GET_RECORDS,
    GET_SESSIONS,
    GET_SUCCESSORS,
    PUT_META,
    PUT_RECORD,
    PUT_SESSION,
    PUT_SUCCESSOR,
    TOLD_ANEW,
    Row,
    checksummed,
    from_tuples,
    pack_successor,
    sizes_in,
    unpack_successors,
)
from spatial_memory.store.snapshots import copy_to
from spatial_memory.store.thumbnails import GET_THUMBNAILS, PUT_THUMBNAIL, unpack_thumbnail
from spatial_memory.store.verify import verified
from wm_core.databases import open_database
from wm_core.memory.errors import CorruptStoreError, StoreError

_LOG = logging.getLogger(__name__)
# What each store says of itself. Of one that was begun before words were kept twice, some may have no copy.
_ALWAYS = frozenset({"dim", "action_dim", "encoder_id", "frame_id", "feature_id", "feature_dim"})


def recover(path: Path) -> int:
    """Put a store with all readable records in a damaged one's place and return how many those are.

    Args:
        path: The damaged file; what there is of it is renamed to ``NAME.damaged-N``. One that is missing is given up.

    Raises:
        StoreError: There is no file, and never was one; or the disk does not take the new one, and nothing changed.
        CorruptStoreError: Not even what the memory says of itself can be read, so that no record could be trusted.
        StoreLockedError: Another process holds it.
    """
    if not path.exists() and not Ledger(path).path.exists():
        raise StoreError(f"there is no file {path}")
    with _held(path):
        if not path.exists():
            Ledger(path).forget()
            _LOG.error("%s was missing: starting without what it held", path)
            return 0
        rebuilt = path.with_name(path.name + ".rebuilt")
        with _unfinished(path, rebuilt, *(rebuilt.with_name(f"{rebuilt.name}.{part}") for part in ("new", "first"))):
            kept = _rebuild(path, rebuilt)
            aside = _put_in_place(rebuilt, path)
    _LOG.error("%s was damaged: kept %d records, the damaged file is %s", path, kept, aside)
    return kept


def replace_by(path: Path, backup: Path) -> int:
    """Put a whole copy of a backup in a store's place and return how many records it holds.

    Args:
        path: The store; what there is of it is renamed to ``NAME.damaged-N``.
        backup: The backup or snapshot.

    Raises:
        StoreError: The backup is absent, damaged or something else; then nothing changed.
        StoreLockedError: Another process holds the store.
    """
    count = verified(backup).records
    with _held(path), contextlib.closing(_source(backup.expanduser().resolve(), "mode=ro")) as source:
        rebuilt = path.with_name(path.name + ".rebuilt")
        rebuilt.unlink(missing_ok=True)
        with _unfinished(path, rebuilt):
            copy_to(source, rebuilt)
            _put_in_place(rebuilt, path)
    return count


def start_anew(path: Path) -> None:
    """Put what there is of a store aside, as ``NAME.damaged-N``, so that the next start begins with an empty one.

    Raises:
        StoreLockedError: Another process holds it.
    """
    with _held(path):
        _move_away(path)
        Ledger(path).forget()


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    files.check_regular(path)
    lock = files.hold(path)
    try:
        yield
    finally:
        if lock is not None:
            lock.close()


@contextlib.contextmanager
def _unfinished(path: Path, *made: Path) -> Iterator[None]:
    """Take files away again where they do not come into a store's place, and say of which store that was."""
    try:
        yield
    except BaseException as error:
        for each in made:
            files.remove(each)
        if isinstance(error, (sqlite3.Error, OSError)):
            raise StoreError(f"{path} cannot be mended: {error}") from error
        raise


def _source(path: Path, how: str) -> sqlite3.Connection:
    return open_database(f"{path.as_uri()}?{how}", uri=True)


def _rebuild(path: Path, rebuilt: Path) -> int:
    """Write what can be read to a new file: of the file with its log, or without where that says more.

    Where neither says anything, of the file behind a first page that is made anew.
    """
    ways = [(path, "mode=ro")]
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size:
        ways.append((path, "mode=ro&immutable=1"))
    best, trouble = -1, CorruptStoreError(f"{path} cannot be read")
    repaired = rebuilt.with_name(f"{rebuilt.name}.first")
    for where, how in [*ways, (repaired, "mode=ro")]:
        if where == repaired:
            if best >= 0:
                break
            _copy_behind_new_page(path, repaired)
        candidate = rebuilt.with_name(f"{rebuilt.name}.new")
        candidate.unlink(missing_ok=True)
        files.create(candidate)
        try:
            source, new = _source(where, how), files.connect(str(candidate))
            with contextlib.closing(source), contextlib.closing(new):
                kept = _salvage(source, new, path)
        except CorruptStoreError as error:
            trouble = error if where == path else trouble
            candidate.unlink()
            continue
        if kept > best:
            best = kept
            candidate.replace(rebuilt)
    files.remove(repaired)
    if best < 0:
        raise trouble
    return best


def _copy_behind_new_page(path: Path, copy: Path) -> None:
    """Copy a store's file with a new store's first page, where SQLite keeps all that it knows of the tables.

    The tables of a new store begin on the pages on which those of any other do, unless a former version has made it;
    whatever else is read there is no record.
    """
    files.create(copy)
    first = bytearray(copy.read_bytes())
    del first[int.from_bytes(first[16:18], "big") :]
    # Of https://sqlite.org/fileformat.html, the database header: its size in pages, and no list of free ones.
    first[28:40] = (path.stat().st_size // len(first)).to_bytes(4, "big") + bytes(8)
    with open(path, "rb") as source, open(copy, "wb") as target:
        target.write(first)
        source.seek(len(first))
        shutil.copyfileobj(source, target)


def _put_in_place(rebuilt: Path, path: Path) -> Path | None:
    """Put a file in a store's place, forget what was noted of that, and return the name of what was there."""
    aside = _move_away(path)
    files.publish(rebuilt, path)
    Ledger(path).forget()
    return aside


def _move_away(path: Path) -> Path | None:
    names = (path.with_name(f"{path.name}.damaged-{number}") for number in itertools.count(1))
    aside = next(name for name in names if not name.exists() and not Path(f"{name}-wal").exists())
    moved = None
    for suffix in ("", "-wal", "-shm"):
        part = Path(f"{path}{suffix}")
        if part.exists():
            part.rename(f"{aside}{suffix}")
            moved = aside
    return moved


def _salvage(source: sqlite3.Connection, new: sqlite3.Connection, path: Path) -> int:
    meta, sessions = _whole_meta(source, path), dict(_whole(_rows(source, GET_SESSIONS, "ASC")))
    words = dict(meta)
    dim, action_dim, _ = sizes_in(words)
    kept: set[int] = set()
    new.execute("PRAGMA journal_mode = DELETE").fetchone()
    new.execute("BEGIN")
    new.executemany(PUT_META, [checksummed(*row) for row in meta])
    for row in (*_rows(source, GET_RECORDS, "ASC"), *_rows(source, GET_RECORDS, "DESC")):
        number = None if row[0] in kept else _session_of(row, dim, max(action_dim, 0))
        if number is not None:
            if number not in sessions:
                sessions[number] = _name_for(number, sessions.values())
            new.execute(PUT_RECORD, row)
            kept.add(row[0])
    new.executemany(PUT_SESSION, [checksummed(*row) for row in sessions.items()])
    for row in _rows(source, GET_SUCCESSORS, "ASC"):
        if row[0] in kept:
            for successor in unpack_successors([row], dim)[0].get(row[0], ()):
                new.execute(PUT_SUCCESSOR, (row[0], pack_successor(row[0], successor)))
    featured = _salvage_extras(source, new, kept)
    if words.get(BASIS):  # which basis the others' latents are in is not known any more
        new.executemany(DROP_RECORD, [(record_id,) for record_id in kept - featured])
        new.executemany(DROP_SUCCESSORS, [(record_id,) for record_id in kept - featured])
        kept &= featured
    for record_id, body in _rows(source, GET_THUMBNAILS, "ASC"):
        if record_id in kept and unpack_thumbnail(record_id, body) is not None:
            new.execute(PUT_THUMBNAIL, (record_id, body))
    new.execute("COMMIT")
    return len(kept)


def _salvage_extras(source: sqlite3.Connection, new: sqlite3.Connection, kept: set[int]) -> set[int]:
    """Keep what only some records have and return those whose feature could be read."""
    featured: set[int] = set()
    for record_id, body in _rows(source, GET_EXTRAS, "ASC"):
        if record_id in kept and isinstance(body, bytes):
            for extra in unpack_extras(record_id, body)[0].values():
                new.execute(PUT_EXTRA, (record_id, pack_extra(record_id, extra)))
                if extra.horizon_s == 0.0 and extra.feature_F.size:
                    featured.add(record_id)
    return featured


def _rows(source: sqlite3.Connection, sql: str, order: str) -> Iterator[Row]:
    """Yield rows from one end until the file cannot be read further."""
    try:
        yield from source.execute(f"{sql} ORDER BY 1 {order}")
    except (sqlite3.DatabaseError, OverflowError):
        return


def _session_of(row: Row, dim: int, action_dim: int) -> int | None:
    """Return the number of a record's session; None: the record is damaged."""
    try:
        return int(from_tuples([row], dim, action_dim).session_N[0])
    except CorruptStoreError:
        return None


def _whole(rows: Iterable[Row]) -> list[tuple[Any, Any]]:
    """Return key and value of those small rows that say what was written."""
    return [row[:-1] for row in rows if checksummed(*row[:-1]) == row]


def _whole_meta(source: sqlite3.Connection, path: Path) -> list[tuple[str, str]]:
    """Return what a store says of itself, without what can be told anew.

    Raises:
        CorruptStoreError: Without what is unreadable no record could be trusted.
    """
    unreadable = f"{path} cannot be recovered: its description is unreadable"
    try:
        rows = source.execute(GET_META).fetchall()
    except sqlite3.DatabaseError as error:
        raise CorruptStoreError(f"{unreadable} ({error})") from error
    words = dict(_whole(rows))
    damaged = {str(key) for key, *_ in rows if key not in words}
    copies = {key.removeprefix(COPY_OF): value for key, value in words.items() if key.startswith(COPY_OF)}
    meta = copies | {key: value for key, value in words.items() if not key.startswith(COPY_OF)}
    missing = {"dim", "action_dim", *(key.removeprefix(COPY_OF) for key in damaged)} - meta.keys() - TOLD_ANEW
    if copies.keys() >= _ALWAYS and not any(key.startswith(COPY_OF) for key in damaged):
        missing -= damaged - _ALWAYS - {BASIS, WRITTEN_IN, SCALE}  # keys that are damaged: there are copies of those
    if missing:
        raise CorruptStoreError(f"{unreadable} (the word {min(missing)!r} is damaged)")
    return [*meta.items(), *((f"{COPY_OF}{key}", value) for key, value in meta.items() if key not in TOLD_ANEW)]


def _name_for(number: int, taken: Iterable[str]) -> str:
    """Return a name for a session of which only the number can be read."""
    first, held = f"recovered-{number}", set(taken)
    others = (f"{first}-{count}" for count in itertools.count(2))
    return next(name for name in itertools.chain([first], others) if name not in held)
