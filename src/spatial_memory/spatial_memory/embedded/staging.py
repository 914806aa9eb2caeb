"""A snapshot to restore: copied aside, checked completely, and read, before anything it replaces is touched."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spatial_memory.embedded.loading import load
from spatial_memory.embedded.table import Catalogue
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.index.cell_index import Backend, Search
from spatial_memory.store import files
from spatial_memory.store.bases import basis_of
from spatial_memory.store.schema import check_successors
from spatial_memory.store.snapshots import check_snapshot
from spatial_memory.store.store import Store
from wm_core.databases import open_database
from wm_core.memory.errors import CorruptStoreError, EncoderMismatchError, FrameMismatchError, StoreError
from wm_core.projection import Projection


@dataclass(frozen=True)
class Staged:
    """A snapshot that can be restored.

    Attributes:
        path: A copy of it, whole, of this format and cut by the grid asked for.
        catalogue: What it knows about its records.
        search: Over its records; None: it has none.
        newest_ns: Its newest stamp [ns].
        basis: What its latents are read in; None: they are as they were written.
    """

    path: Path
    catalogue: Catalogue
    search: Search | None
    newest_ns: int
    basis: Projection | None = None


@contextlib.contextmanager
def staged(path: Path, beside: str, grid: CellGrid, capacity: int, backend: Backend) -> Iterator[Staged]:
    """Copy a snapshot aside and read all of it.

    Args:
        path: The snapshot; it is only read.
        beside: The file that it is to replace, beside which the copy lies for as long as it is needed.
        grid: Cuts the map into cells.
        capacity: Records to make room for.
        backend: How to search them.

    Raises:
        StoreError: There is none, it cannot be read, or there is no room for the copy.
        CorruptStoreError: It is damaged or something else.
        PlaceError: Records lie outside the map.
    """
    with _folder(beside) as folder:
        copy = folder / "snapshot"
        _copy(path, copy)
        with _named(path):
            check_snapshot(copy, "", name=f"snapshot {path}")
            store = Store(copy)
            try:
                loaded = load(store, grid, capacity, backend, None)
                basis = basis_of(store.meta())
                for rows in store.all_successors():
                    check_successors(rows, loaded[0].dim)
                store.flush()
            finally:
                store.close()
        yield Staged(copy, *loaded, basis)


@contextlib.contextmanager
def _folder(beside: str) -> Iterator[Path]:
    """Make a folder beside a file, in place of one that a killed process left, and take it away again."""
    if beside == files.IN_MEMORY:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
        return
    folder = Path(f"{beside}.restoring")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    except OSError as error:
        raise StoreError(f"a snapshot cannot be read beside {beside}: {error}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(path: Path, copy: Path) -> None:
    """Copy what is committed in a snapshot, which may be another process's live file."""
    try:
        if not path.is_file():
            raise StoreError(f"there is no snapshot {path}")
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with contextlib.closing(open_database(uri, uri=True)) as source:
            source.execute("BEGIN")
            # Takes the read lock or fails in time; without it copying would wait for as long as another one writes.
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            with contextlib.closing(open_database(copy)) as target:
                source.backup(target)
    except (sqlite3.OperationalError, OSError) as error:
        raise StoreError(f"snapshot {path} cannot be copied: {error}") from error
    except sqlite3.DatabaseError as error:
        raise CorruptStoreError(f"snapshot {path} is damaged: {error}", str(error)) from error


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say of which snapshot something is wrong, not of which copy."""
    try:
        yield
    except CorruptStoreError as error:
        raise CorruptStoreError(f"snapshot {path} is damaged: {error.reason}", error.reason) from error
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"snapshot {path} cannot be read: {error}") from error


def check_fits(name: str, theirs: Catalogue, mine: Catalogue) -> None:
    """Refuse a snapshot after which nothing that comes in at present could be kept.

    Args:
        name: What to call the snapshot.
        theirs: The snapshot's.
        mine: The memory's.

    Raises:
        EncoderMismatchError: It holds latents of another encoder or size, actions of another size, or features of
            another network.
        FrameMismatchError: Its places are in another frame.
    """
    if mine.encoder_id and theirs.encoder_id and theirs.encoder_id != mine.encoder_id:
        raise EncoderMismatchError(f"snapshot {name} is of encoder {theirs.encoder_id}, expected {mine.encoder_id}")
    if mine.frame_id and theirs.frame_id and theirs.frame_id != mine.frame_id:
        raise FrameMismatchError(f"snapshot {name} is in frame {theirs.frame_id}, the memory in {mine.frame_id}")
    if mine.feature_id and theirs.feature_id and theirs.feature_id != mine.feature_id:
        raise EncoderMismatchError(
            f"snapshot {name} holds features of network {theirs.feature_id}, expected {mine.feature_id}"
        )
    if mine.dim and theirs.dim and theirs.dim != mine.dim:
        raise EncoderMismatchError(f"snapshot {name} holds latents of {theirs.dim} values, expected {mine.dim}")
    if mine.feature_dim and theirs.feature_dim and theirs.feature_dim != mine.feature_dim:
        raise EncoderMismatchError(
            f"snapshot {name} holds features of {theirs.feature_dim} values, expected {mine.feature_dim}"
        )
    if mine.action_dim > 0 and theirs.action_dim > 0 and theirs.action_dim != mine.action_dim:
        raise EncoderMismatchError(
            f"snapshot {name} holds actions of {theirs.action_dim} values, expected {mine.action_dim}"
        )
