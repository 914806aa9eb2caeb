"""From a durable store to an index that answers."""

from __future__ import annotations

import contextlib
import gc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import h3.api.numpy_int as h3
import numpy as np

from spatial_memory.embedded.followed import FollowedAnew
from spatial_memory.embedded.table import Catalogue, grid_meta
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.index.cell_index import Backend, CellIndex, Search
from spatial_memory.index.columns import Rows, room_for
from spatial_memory.index.rebasing import project_all, put_in_place
from spatial_memory.store import files
from spatial_memory.store.bases import basis_of
from spatial_memory.store.schema import successor_size
from wm_core.memory.errors import CorruptStoreError
from wm_core.memory.frames import LevelGrid
from wm_core.memory.record import LAST_FOLLOWED_ID
from wm_core.projection import Projection

_LOG = logging.getLogger(__name__)


class Stored(Protocol):
    """What is read of a durable store, as ``Store`` keeps it."""

    path: str

    def meta(self) -> dict[str, str]:
        """Return the meta about the memory."""

    def sessions(self) -> dict[str, int]:
        """Return the number of each session."""

    def count(self) -> int:
        """Return how many records are committed."""

    def load(self, dim: int, action_dim: int) -> Iterator[Rows]:
        """Yield all committed records, some at a time."""

    def all_successors(self) -> Iterator[list[tuple[int, bytes]]]:
        """Yield the committed successors of all records, packed, some at a time."""

    def load_extras(self) -> Iterator[tuple[np.ndarray, np.ndarray, list[np.ndarray]]]:
        """Yield ids, whole rotations and features of the records that have such."""

    def followed_features(self, ids: Sequence[int]) -> list[tuple[np.ndarray, float, np.ndarray]]:
        """Return the features of what followed some records: ids, horizon [s] and features."""

    def read_in(self, basis: Projection | None) -> None:
        """Return successors in a basis from now on, whatever they were kept in; None: as they were kept."""

    def replace(self, parts: Sequence[Rows], *, grid: str) -> None:
        """Rewrite records, and how the map is cut, in one transaction."""


def new_search(backend: Backend, catalogue: Catalogue, grid: CellGrid, page_count: int) -> Search:
    """Return an empty search over records of a catalogue's sizes."""
    dim = catalogue.dim
    search = backend.make(dim, max(catalogue.action_dim, 0), grid, page_count, successor_size(dim))
    if catalogue.feature_dim:
        search.index.columns.adopt_features(catalogue.feature_dim)
    return search


def room_of(catalogue: Catalogue, held: int, capacity: int) -> int:
    """Return for how many pages of records of a catalogue's sizes to make room at once.

    Args:
        catalogue: Says the sizes.
        held: Records that are held already.
        capacity: Records that may be.
    """
    return room_for(held, capacity, catalogue.dim, max(catalogue.action_dim, 0), catalogue.feature_dim)


def load(
    store: Stored, grid: CellGrid, capacity: int, backend: Backend, progress: Callable[[int, int], None] | None
) -> tuple[Catalogue, Search | None, int]:
    """Return catalogue, search and newest stamp [ns] of all that is committed.

    Records that were cut into other cells (another resolution, datum or map) are cut anew, in one transaction.

    Args:
        store: What is durable.
        grid: Cuts the map into cells.
        capacity: Records to make room for.
        backend: How to search.
        progress: Called with records read and records in all.

    Raises:
        CorruptStoreError: The store is damaged.
        PlaceError: Records lie outside the map as it is cut now.
    """
    try:
        return _loaded(store, grid, capacity, backend, progress)
    except CorruptStoreError as error:
        raise type(error)(files.damage_text(store.path, error.reason), error.reason) from error


def _loaded(
    store: Stored, grid: CellGrid, capacity: int, backend: Backend, progress: Callable[[int, int], None] | None
) -> tuple[Catalogue, Search | None, int]:
    meta = store.meta()
    catalogue = Catalogue.from_meta(meta, store.sessions())
    total = store.count()
    if catalogue.dim == 0:
        if total:
            raise CorruptStoreError(f"{store.path} holds {total} records but does not say of what size")
        return catalogue, None, 0
    started = time.monotonic()
    search = new_search(backend, catalogue, grid, room_of(catalogue, total, capacity))
    index = search.index
    is_recut = meta.get("grid") != grid_meta(grid)
    with _collector_paused():
        recut = _fill(index, store, catalogue, total, progress, is_recut=is_recut)
    basis = basis_of(meta)
    if basis is not None:
        catalogue.check_projection(basis)
        store.read_in(basis)
        replacement = project_all(index.columns, basis, FollowedAnew(store, basis), in_turns=False)
        put_in_place(index.columns, replacement, basis)
    if is_recut or recut:
        store.replace(recut, grid=grid_meta(grid))
        _LOG.info("cut %d memories into new cells: %s, before %s", len(index), grid_meta(grid), meta.get("grid"))
    _LOG.info("loaded %d memories in %.2f s", len(index), time.monotonic() - started)
    return catalogue, search, index.newest_ns()


def _fill(
    index: CellIndex,
    store: Stored,
    catalogue: Catalogue,
    total: int,
    progress: Callable[[int, int], None] | None,
    *,
    is_recut: bool,
) -> list[Rows]:
    """Add all that is committed to an index; return what was cut anew."""
    recut: list[Rows] = []
    known = set(catalogue.sessions.values())
    for rows in store.load(catalogue.dim, max(catalogue.action_dim, 0)):
        if not known.issuperset(set(rows.session_N.tolist())):
            raise CorruptStoreError(f"{store.path} holds records of a session it does not name")
        if is_recut or not _are_cells(rows.cell_N, index.grid):
            rows.cell_N = index.grid.cells_of(rows.x_N, rows.y_N)
            recut.append(rows)
        index.add(rows)
        followed_N = rows.id_N[rows.id_N <= LAST_FOLLOWED_ID]
        catalogue.reserve_ids(int(followed_N.max(initial=0)))
        if progress is not None:
            progress(len(index), total)
    index.hold_all_successors(store.all_successors())
    _fill_extras(index, store, catalogue)
    return recut


def _fill_extras(index: CellIndex, store: Stored, catalogue: Catalogue) -> None:
    """Add whole rotations and features to the records of an index; one of another size stays in the store alone."""
    for id_N, rotation_N4, features in store.load_extras():
        held_N = index.slots_of_ids(id_N) >= 0
        if held_N.any():
            index.hold_extras(id_N[held_N], rotation_N4[held_N], None)
        sizes_N = np.array([feature_F.size for feature_F in features])
        if not catalogue.feature_dim and sizes_N.any():  # a file from before the size was noted
            catalogue.feature_dim = int(sizes_N[sizes_N > 0][0])
            index.columns.adopt_features(catalogue.feature_dim)
        some_N = np.flatnonzero(held_N & (sizes_N == catalogue.feature_dim) & (sizes_N > 0))
        if len(some_N):
            feature_NF = np.stack([features[at] for at in some_N.tolist()])
            index.hold_extras(id_N[some_N], rotation_N4[some_N], feature_NF)


def _are_cells(cell_N: np.ndarray, grid: LevelGrid) -> bool:
    """Return whether all are cells of the grid's resolution."""
    return all(
        h3.is_valid_cell(cell) and h3.get_resolution(cell) == grid.resolution for cell in np.unique(cell_N).tolist()
    )


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Let millions of short-lived rows pass without looking for cycles among them, which takes a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
