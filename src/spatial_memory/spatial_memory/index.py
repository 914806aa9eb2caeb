"""Exact search over records in memory, at the cost of what lies near and nothing else.

Shape suffixes: N = records, P = pages, L = lists (one per cell), K = neighbours, D = latent size.
"""

from __future__ import annotations

import numpy as np

from spatial_memory import kernels
from spatial_memory.cells import CellGrid
from spatial_memory.columns import PAGE, Columns, Rows, bits_of, mask_of
from spatial_memory.directory import CellDirectory
from spatial_memory.filters import Limits, Measures, has_more_filters, latent_distance, passing
from spatial_memory.idmap import IdMap
from spatial_memory.query import Query
from spatial_memory.ranking import Shortlist, latent_scores, smallest

KERNELS = kernels.load()


class CellIndex:
    """Exact nearest neighbours under filters among the records near a place.

    One list of pages per H3 cell. A query looks up the cells it may touch, narrows their pages to what passes every
    filter, and compares only those latents: first by their sketches, which bound every distance, then exactly.
    Not thread-safe: the owner locks.

    Args:
        dim: Latent size D.
        action_dim: Action size; 0 where no action was ever given.
        grid: Cuts the map into cells.
        page_count: Pages to make room for.

    Source: an inverted file with one list per cell; filtering before ranking after IVF^2 of the big-ann filter track;
    bounds from one-byte codes after the VA-file.
    """

    def __init__(self, dim: int, action_dim: int, grid: CellGrid, page_count: int = 64) -> None:
        self.dim = dim
        self.grid = grid
        self._kernels = KERNELS
        self.columns = Columns(dim, action_dim, page_count, sketched=self._kernels is not None)
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

    # ---------------------------------------------------------------- reading

    def slot_of(self, record_id: int) -> int:
        """Return the slot of an id, or -1."""
        return self._ids.get(record_id)

    def cell_at(self, slot: int) -> int:
        """Return the cell of the record in a slot."""
        return int(self.directory.cell_L[self.columns.page_list[slot // PAGE]])

    def newest_ns(self) -> int:
        """Return the newest stamp held [ns]; 0 where nothing is."""
        lists_L = self.directory.occupied()
        return int(self.directory.newest_L[lists_L].max()) if len(lists_L) else 0

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
        return Rows(
            flat("id")[slots_N],
            flat("stamp")[slots_N],
            flat("x")[slots_N],
            flat("y")[slots_N],
            flat("z")[slots_N],
            flat("heading")[slots_N],
            flat("session")[slots_N],
            flat("surprise")[slots_N],
            flat("action")[slots_N],
            flat("previous_action")[slots_N],
            self.directory.cell_L[self.columns.page_list[slots_N // PAGE]],
            flat("latent")[slots_N],
        )

    # ---------------------------------------------------------------- searching

    def shortlist(self, query: Query, limits: Limits) -> Shortlist:
        """Return the few records that hold the k nearest of what passes every filter.

        Args:
            query: Checked before.
            limits: Its time bounds and session, in the memory's numbers.

        Raises:
            PlaceError: The query's place lies nowhere.
        """
        page_P, bits_P, count = self._passing(query, limits)
        if count == 0:
            return Shortlist(np.empty(0, np.int64), 0)
        planar = self.grid.map.name == "local" or query.rank == "latent"
        if self._kernels is not None and planar and (query.metric == "l2" or query.rank == "pose"):
            return Shortlist(self._kernels.nearest(self.columns, page_P, bits_P, count, query), count)
        slots_N = slots_of(page_P, bits_P)
        if count <= query.k:
            return Shortlist(slots_N, count)
        score_N, slack = self._scores(query, slots_N)
        return Shortlist(slots_N[smallest(score_N, query.k, slack)], count)

    def _passing(self, query: Query, limits: Limits) -> tuple[np.ndarray, np.ndarray, int]:
        """Return the pages that hold something that passes every filter, a bit per slot that does, and how many do."""
        columns, place = self.columns, query.place
        is_disc = self._kernels is not None and query.radius_m > 0 and self.grid.map.name == "local"
        if is_disc:
            page_P, bits_P, count = self._within(query)
            if not has_more_filters(query, limits):
                return page_P, bits_P, count
        else:
            lists_L = self.directory.near(query)
            page_P = np.arange(columns.page_count) if lists_L is None else self.directory.pages_of(lists_L)
            bits_P = columns.live_P[page_P]
        mask_P16 = mask_of(bits_P)

        def column(name: str) -> np.ndarray:
            return columns.pages(name, page_P)

        measures = Measures(query, column, self.grid.map) if place is not None else None
        passing(query, column, measures, limits, mask_P16, within_radius=is_disc)
        bits_P = bits_of(mask_P16)
        kept_P = np.flatnonzero(bits_P)
        return page_P[kept_P], bits_P[kept_P], int(np.count_nonzero(mask_P16))

    def _within(self, query: Query) -> tuple[np.ndarray, np.ndarray, int]:
        """Return the pages that hold something within the radius (and rings), a bit per slot, and how many."""
        assert query.place is not None
        assert self._kernels is not None
        disc = (query.place.x, query.place.y, query.radius_m)
        cells = None if query.ring_count > 0 else self.directory.cells_around(*disc)
        if cells is not None:
            page_P = self._kernels.pages_of(self.directory, self.columns, cells, *disc)
        else:
            lists_L = self.directory.near(query)
            assert lists_L is not None
            page_P = self.directory.pages_of(lists_L)
        return self._kernels.within(self.columns, page_P, *disc)

    def _scores(self, query: Query, slots_N: np.ndarray) -> tuple[np.ndarray, float]:
        """Return what slots are ranked by, and by how much any two may be off together."""
        pose_N: np.ndarray | None = None
        if query.rank != "latent":
            pose_N = Measures(query, lambda name: self.columns.flat(name)[slots_N], self.grid.map).pose_distance2()
        if query.rank == "pose":
            assert pose_N is not None
            return pose_N, _off(pose_N, query.k, 1e-12)
        assert query.latent_D is not None
        if query.metric == "cosine":
            distance_N = latent_distance(self.columns.flat("latent")[slots_N], query.latent_D, cosine=True)
            return (distance_N if pose_N is None else distance_N**2 + query.pose_weight * pose_N), 1e-12
        score_N = latent_scores(self.columns.flat("latent"), slots_N, query.latent_D)
        if pose_N is not None:
            score_N = score_N + query.pose_weight * pose_N
        return score_N, _off(score_N, query.k, 1e-6 * (self.dim + 8))

    @property
    def nbytes(self) -> int:
        """Bytes held, about: columns, ids and cells."""
        return self.columns.nbytes + self._ids.nbytes + self.directory.nbytes


def slots_of(page_P: np.ndarray, bits_P: np.ndarray) -> np.ndarray:
    """Return the slots whose bit is set."""
    at_N = np.flatnonzero(mask_of(bits_P))
    return page_P[at_N // PAGE] * PAGE + at_N % PAGE


def _off(score_N: np.ndarray, k: int, relative: float) -> float:
    """Return by how much scores about as large as the k-th smallest may be off together."""
    return 2.0 * relative * float(np.partition(score_N, k - 1)[k - 1])
