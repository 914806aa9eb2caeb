"""Exact search over records in memory, at the cost of what lies near and nothing else.

Shape suffixes: N = records, P = pages, L = lists (one per cell), K = neighbours, D = latent size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from spatial_memory.index.columns import OPTIONAL, PAGE, Columns, Copy, Rows, bits_of, mask_of, slots_of
from spatial_memory.index.directory import CellDirectory
from spatial_memory.index.idmap import IdMap
from spatial_memory.index.successors import hold, hold_all, hold_more
from wm_core.memory.filters import Candidates, Limits, passing
from wm_core.memory.frames import LevelGrid
from wm_core.memory.present import newest_ns
from wm_core.memory.query import Query
from wm_core.memory.ranking import Shortlist


class CellIndex:
    """Records in memory, in one list of pages per H3 cell, and which of them pass a query's filters.

    A search over it (``compiled``, ``portable``, ``flat``) ranks what passes. Not thread-safe: the owner locks.

    Args:
        dim: Latent size D.
        action_dim: Action size; 0 where no action was ever given.
        grid: Cuts the map into cells.
        page_count: Pages to make room for.
        successor_size: Bytes of a packed successor.
        copy: What else a search wants to hold of the latents.

    Source: an inverted file with one list per cell; filtering before ranking after IVF^2 of the big-ann filter track.
    """

    def __init__(
        self, dim: int, action_dim: int, grid: LevelGrid, page_count: int = 64, *, successor_size: int,
        copy: Copy | None = None,
    ) -> None:  # fmt: skip
        self.dim = dim
        self.grid = grid
        self.columns = Columns(dim, action_dim, page_count, copy=copy, successor_size=successor_size)
        self.directory = CellDirectory(grid)
        self._ids = IdMap()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, record_id: int) -> bool:
        return record_id in self._ids

    # ---------------------------------------------------------------- writing

    def add(self, rows: Rows) -> None:
        """Add rows whose ids are new and whose cells are set."""
        if len(rows) == 0:
            return
        if len(rows) > 1:
            rows = rows.take(np.argsort(rows.cell_N, kind="stable"))
        cells = rows.cell_N
        starts = np.flatnonzero(np.concatenate(([True], cells[1:] != cells[:-1])))
        ends = np.append(starts[1:], len(rows))
        slots_N = np.empty(len(rows), np.int64)
        for cell, start, end in zip(cells[starts].tolist(), starts.tolist(), ends.tolist()):
            list_no = self._extend(cell, slots_N[start:end])
            newest = int(rows.stamp_N[start:end].max())
            self.directory.grew(list_no, rows.x_N[start:end], rows.y_N[start:end], newest)
        self.columns.write(slots_N, rows)
        if len(rows) == 1:
            self._ids.set(int(rows.id_N[0]), int(slots_N[0]))
        else:
            self._ids.set_many(rows.id_N, slots_N)
        self._count += len(rows)

    def _extend(self, cell: int, slots_N: np.ndarray) -> int:
        """Give the records of one cell their slots and return its list."""
        directory = self.directory
        list_no = directory.list_of(cell)
        size = int(directory.size_L[list_no])
        pages = directory.pages[list_no]
        while len(pages) * PAGE < size + len(slots_N):
            pages.append(self.columns.new_page(list_no, len(pages), pages[-1] if pages else -1))
            directory.repaged(list_no)
        offsets = np.arange(size, size + len(slots_N))
        slots_N[:] = np.array(pages, np.int64)[offsets // PAGE] * PAGE + offsets % PAGE
        return list_no

    def remove(self, record_id: int) -> bool:
        """Remove a record; False where there is none of that id."""
        slot = self._ids.get(record_id)
        if slot < 0:
            return False
        page = slot // PAGE
        list_no = int(self.columns.page_list[page])
        offset = int(self.columns.page_rank[page]) * PAGE + slot % PAGE
        last = int(self.directory.size_L[list_no]) - 1
        pages = self.directory.pages[list_no]
        last_slot = pages[last // PAGE] * PAGE + last % PAGE
        self._ids.remove(record_id)
        if offset != last:
            self.columns.move(last_slot, slot)
            self._ids.set(int(self.columns.flat("id")[slot]), slot)
        else:
            self.columns.clear(slot)
        if last % PAGE == 0:
            self.columns.free_page(pages.pop(), pages[-1] if pages else -1)
            self.directory.repaged(list_no)
        self.directory.shrank(list_no)
        self.directory.newest_L[list_no] = self.columns.flat("stamp")[self.slots_of_list(list_no)].max(initial=-(2**63))
        self._count -= 1
        return True

    def set_surprise(self, record_id: int, surprise: float) -> bool:
        """Say how surprising a record was; False where there is none of that id."""
        slot = self._ids.get(record_id)
        if slot >= 0:
            self.columns.flat("surprise")[slot] = surprise
        return slot >= 0

    def hold_successors(self, record_id: int, body: bytes, *, more: bool = False) -> None:
        """Hold what followed a record, or what did too, as the store packs it."""
        slot = self._ids.get(record_id)
        if more:
            hold_more(self.columns, slot, body)
        else:
            hold(self.columns, slot, body, is_whole=True)

    def hold_all_successors(self, chunks: Iterable[Sequence[tuple[int, bytes]]]) -> None:
        """Hold what the store knows of all records."""
        hold_all(self.columns, self._ids, chunks)

    def hold_extras(self, id_N: np.ndarray, rotation_N4: np.ndarray, feature_NF: np.ndarray | None) -> None:
        """Hold what the store knows of some records that are held: whole rotations, and features where they have any.

        Args:
            id_N: The records.
            rotation_N4: NaN where the yaw says it all.
            feature_NF: int8; None: those of none of them.
        """
        slots_N = self._ids.get_many(id_N)
        self.columns.hold_rotations(slots_N, rotation_N4)
        if feature_NF is not None:
            self.columns.hold_look(slots_N, feature_NF)

    @property
    def has_rotations(self) -> bool:
        """Whether a record ever had a rotation that is more than a yaw."""
        return "rotation" in self.columns.columns

    # ---------------------------------------------------------------- reading

    def slot_of(self, record_id: int) -> int:
        """Return the slot of an id, or -1."""
        return self._ids.get(record_id)

    def slots_of_ids(self, id_N: np.ndarray) -> np.ndarray:
        """Return the slots of ids, -1 where there is none, int64."""
        return self._ids.get_many(id_N)

    def cell_at(self, slot: int) -> int:
        """Return the cell of the record in a slot."""
        return int(self.directory.cell_L[self.columns.page_list[slot // PAGE]])

    def newest_ns(self) -> int:
        """Return the newest stamp held that is believed [ns]; 0 where nothing is."""
        of_cells_L = self.directory.newest_L[self.directory.occupied()]
        newest = newest_ns(of_cells_L)
        # A cell tells its newest alone: where that is not believed, each record is asked.
        is_newest = not len(of_cells_L) or newest == int(of_cells_L.max())
        return newest if is_newest else newest_ns(self.columns.flat("stamp")[self.slots()])

    def slots(self) -> np.ndarray:
        """Return the slots of all records."""
        return np.flatnonzero(mask_of(self.columns.live_P[: self.columns.page_count]))

    def slots_of_list(self, list_no: int) -> np.ndarray:
        """Return the slots of one cell's records, in the order of its list."""
        offsets = np.arange(int(self.directory.size_L[list_no]))
        return np.array(self.directory.pages[list_no], np.int64)[offsets // PAGE] * PAGE + offsets % PAGE

    def rows(self, slots_N: np.ndarray) -> Rows:
        """Return the records of slots."""
        flat = self.columns.flat
        # Of whole rows ``take`` costs a quarter of an index, of single values an index is cheaper.
        return Rows(
            flat("id")[slots_N],
            flat("stamp")[slots_N],
            flat("x")[slots_N],
            flat("y")[slots_N],
            flat("z")[slots_N],
            flat("yaw")[slots_N],
            flat("session")[slots_N],
            flat("surprise")[slots_N],
            flat("action").take(slots_N, axis=0),
            flat("previous_action").take(slots_N, axis=0),
            self.directory.cell_L[self.columns.page_list[slots_N // PAGE]],
            flat("latent").take(slots_N, axis=0),
            *(self.columns.flat_if_any(name, slots_N) for name in OPTIONAL),
        )

    # ---------------------------------------------------------------- searching

    def passing(self, query: Query, limits: Limits) -> tuple[np.ndarray, np.ndarray, int]:
        """Return the pages that hold what passes every filter, a bit per slot of it, and how many that are.

        Args:
            query: Checked before.
            limits: Its time bounds and session, in the memory's numbers.

        Raises:
            PlaceError: The query's place lies nowhere.
        """
        lists_L = self.directory.near(query)
        page_P = np.arange(self.columns.page_count) if lists_L is None else self.directory.pages_of(lists_L)
        bits_P = self.columns.live_P[page_P]
        return page_P, bits_P, self.narrow(query, limits, page_P, bits_P)

    def passing_slots(self, query: Query, limits: Limits) -> np.ndarray:
        """Return the slots of all that passes every filter, int64; arguments and errors as ``passing``."""
        page_P, bits_P, _ = self.passing(query, limits)
        return slots_of(page_P, bits_P)

    def narrow(
        self, query: Query, limits: Limits, page_P: np.ndarray, bits_P: np.ndarray, known: frozenset[str] = frozenset()
    ) -> int:
        """Clear the bits of what does not pass every filter, in place, and return how many are left.

        Args:
            query: The filters.
            limits: Their bounds in the memory's numbers.
            page_P: Pages to look into.
            bits_P: One bit per slot of each.
            known: Names of filters that all of them pass.
        """
        some_P = np.flatnonzero(bits_P)
        pages_P = page_P[some_P]
        mask_P16 = mask_of(bits_P[some_P])
        candidates = Candidates(query, lambda name: self.columns.pages_if_any(name, pages_P), self.grid.map)
        passing(query, limits, candidates, mask_P16, known)
        bits_P[some_P] = bits_of(mask_P16)
        return int(np.count_nonzero(mask_P16))

    def candidates(self, query: Query, slots_N: np.ndarray) -> Candidates:
        """Return the columns of some slots, and how far they lie from a query's place."""
        return Candidates(query, lambda name: self.columns.flat_if_any(name, slots_N), self.grid.map)

    @property
    def nbytes(self) -> int:
        """Bytes held, about: columns, ids and cells."""
        return self.columns.nbytes + self._ids.nbytes + self.directory.nbytes


class Search(Protocol):
    """Finds the few records that hold the k nearest of what passes every filter. Not thread-safe.

    Attributes:
        index: Where it looks.
    """

    index: CellIndex

    def shortlists(self, queries: Sequence[Query], limits: Sequence[Limits]) -> list[Shortlist]:
        """Return the shortlist of each query.

        Args:
            queries: Checked before.
            limits: Their time bounds and sessions, in the memory's numbers.

        Raises:
            PlaceError: A query's place lies nowhere.
        """


class Backend(NamedTuple):
    """A way to search records in memory.

    Attributes:
        name: What the parameter ``backend`` and ``stats`` call it.
        make: Returns an empty search from latent size, action size (0: none was ever given), grid, pages to make room
            for, and bytes of a packed successor.
    """

    name: str
    make: Callable[[int, int, LevelGrid, int, int], Search]
