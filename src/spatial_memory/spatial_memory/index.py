"""Exact search over records in memory, at the cost of what lies near and nothing else.

Shape suffixes: N = records, P = pages, L = lists (one per cell), K = neighbours, D = latent size.
"""

from __future__ import annotations

import numpy as np

from spatial_memory.cells import CellGrid
from spatial_memory.columns import PAGE, Columns, Rows
from spatial_memory.directory import CellDirectory
from spatial_memory.filters import Limits, Measures, latent_distance, passing
from spatial_memory.idmap import IdMap
from spatial_memory.lists import LatentLists
from spatial_memory.query import Query
from spatial_memory.ranking import SPARE, Shortlist, Shortlisted, smallest


class CellIndex:
    """Exact nearest neighbours under filters among the records near a place.

    One Faiss inverted list per H3 cell holds the latents, pages of columns per cell hold the rest. A query looks up the
    cells it may touch, narrows their columns to what passes every filter, and has Faiss scan only those latents.
    Not thread-safe: the owner locks.

    Args:
        dim: Latent size D.
        action_dim: Action size; 0 where no action was ever given.
        grid: Cuts the map into cells.
        page_count: Pages to make room for.

    Source: Faiss ``IndexIVFFlat``; filtering before ranking after IVF^2 of the big-ann filter track.
    """

    def __init__(self, dim: int, action_dim: int, grid: CellGrid, page_count: int = 64) -> None:
        self.dim = dim
        self.grid = grid
        self.columns = Columns(action_dim, page_count)
        self.directory = CellDirectory(grid)
        self._lists = LatentLists(dim)
        self._ids = IdMap()
        self._count = 0
        self._bitmap = np.zeros(0, np.uint16)

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
        latent_ND = np.ascontiguousarray(rows.latent_ND, np.float32)
        for cell, start, end in zip(cells[starts].tolist(), starts.tolist(), ends.tolist()):
            list_no = self._extend(cell, slots_N[start:end], latent_ND[start:end])
            newest = int(rows.stamp_N[start:end].max())
            self.directory.grew(list_no, rows.x_N[start:end], rows.y_N[start:end], newest)
        self.columns.write(slots_N, rows)
        if len(rows) == 1:
            self._ids.set(int(rows.id_N[0]), int(slots_N[0]))
        else:
            self._ids.set_many(rows.id_N, slots_N)
        self._count += len(rows)

    def _extend(self, cell: int, slots_N: np.ndarray, latent_ND: np.ndarray) -> int:
        """Give the records of one cell their slots, append their latents to its list and return the list."""
        directory = self.directory
        list_no = directory.list_of(cell)
        self._lists.reserve(list_no)
        size = int(directory.size_L[list_no])
        pages = directory.pages[list_no]
        while len(pages) * PAGE < size + len(slots_N):
            pages.append(self.columns.new_page(list_no, len(pages)))
            directory.repaged(list_no)
        offsets = np.arange(size, size + len(slots_N))
        slots_N[:] = np.array(pages, np.int64)[offsets // PAGE] * PAGE + offsets % PAGE
        self._lists.extend(list_no, slots_N, latent_ND)
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
        self._lists.pull(list_no, offset, last, slot)
        self._ids.remove(record_id)
        if offset != last:
            self.columns.move(last_slot, slot)
            self._ids.set(int(self.columns.flat("id")[slot]), slot)
        self.columns.flat("live")[last_slot] = False
        if last % PAGE == 0:
            self.columns.free_page(pages.pop())
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
        return np.flatnonzero(self.columns.flat("live")[: self.columns.page_count * PAGE])

    def slots_of_list(self, list_no: int) -> np.ndarray:
        """Return the slots of one cell's records, in the order of its list."""
        offsets = np.arange(int(self.directory.size_L[list_no]))
        return np.array(self.directory.pages[list_no], np.int64)[offsets // PAGE] * PAGE + offsets % PAGE

    def latents(self, slots_N: np.ndarray) -> np.ndarray:
        """Return the latents of slots [N, D]; cheapest when the slots of a list stand together."""
        out_ND = np.empty((len(slots_N), self.dim), np.float32)
        pages_N = slots_N // PAGE
        lists_N = self.columns.page_list[pages_N]
        offsets_N = self.columns.page_rank[pages_N] * PAGE + slots_N % PAGE
        starts = np.flatnonzero(np.concatenate((lists_N[:1] >= 0, lists_N[1:] != lists_N[:-1])))
        if len(starts) * 8 >= len(slots_N):
            self._lists.copy(lists_N, offsets_N, out_ND)
            return out_ND
        for start, end in zip(starts.tolist(), np.append(starts[1:], len(slots_N)).tolist()):
            list_no = int(lists_N[start])
            view = self._lists.view(list_no, int(self.directory.size_L[list_no]))
            out_ND[start:end] = view[offsets_N[start:end]]
        return out_ND

    def rows(self, slots_N: np.ndarray, latent_ND: np.ndarray | None = None) -> Rows:
        """Return the records of slots; their latents too unless they are at hand."""
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
            self.latents(slots_N) if latent_ND is None else latent_ND,
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
        lists_L = self.directory.near(query)
        pages: np.ndarray | slice
        if lists_L is None:
            lists_L = self.directory.occupied()
            pages = slice(0, self.columns.page_count)
        else:
            pages = self.directory.pages_of(lists_L)
        mask = self.columns.pages("live", pages)
        if isinstance(pages, slice):
            mask = mask.copy()

        def column(name: str) -> np.ndarray:
            return self.columns.pages(name, pages)

        measures = Measures(query, column, self.grid.map) if query.place is not None else None
        passing(query, column, measures, limits, mask)
        count = int(np.count_nonzero(mask))
        if count == 0:
            return Shortlist(np.empty(0, np.int64), 0)
        if query.rank == "latent" and query.metric == "l2":
            present = int(self.directory.size_L[lists_L].sum())
            return Shortlist(self._scan(query, lists_L, pages, mask, filtered=count < present), count)
        slots_N = _slots(pages, mask)
        if count <= query.k:
            return Shortlist(slots_N, count)
        score_N, slack = self._scores(query, slots_N)
        return Shortlist(slots_N[smallest(score_N, query.k, slack)], count)

    def _scan(
        self, query: Query, lists_L: np.ndarray, pages: np.ndarray | slice, mask: np.ndarray, *, filtered: bool
    ) -> np.ndarray:
        """Let Faiss find the nearest latents among the slots that passed."""
        latent_D = np.ascontiguousarray(query.latent_D, np.float32)
        k = query.k + SPARE
        if not filtered:
            return self._lists.search(latent_D, k, lists_L, filtered=False)
        if len(self._bitmap) < len(self.columns.page_list):
            self._bitmap = np.zeros(len(self.columns.page_list), np.uint16)
            self._lists.select_by(self._bitmap)
        self._bitmap[pages] = np.packbits(mask.reshape(-1), bitorder="little").view(np.uint16)
        slots_K = self._lists.search(latent_D, k, lists_L, filtered=True)
        self._bitmap[pages] = 0
        return slots_K

    def _scores(self, query: Query, slots_N: np.ndarray) -> tuple[np.ndarray, float]:
        """Return what slots are ranked by (pose, cosine, or both), and by how much any two may be off together."""
        pose_N: np.ndarray | None = None
        if query.rank != "latent":
            pose_N = Measures(query, lambda name: self.columns.flat(name)[slots_N], self.grid.map).pose_distance2()
        if query.rank == "pose":
            assert pose_N is not None
            return pose_N, 0.0
        assert query.latent_D is not None
        latent_ND = self.latents(slots_N)
        if query.metric == "cosine":
            distance_N = latent_distance(latent_ND, query.latent_D, cosine=True)
            return (distance_N if pose_N is None else distance_N**2 + query.pose_weight * pose_N), 1e-12
        assert pose_N is not None, "Faiss ranks by latent alone"
        latent_ND -= np.asarray(query.latent_D, np.float32)
        score_N = np.einsum("nd,nd->n", latent_ND, latent_ND) + query.pose_weight * pose_N
        return score_N, 1e-5 * float(np.partition(score_N, query.k)[query.k])

    def listed(self, slots_N: np.ndarray) -> Shortlisted:
        """Return what ranking has to know of the records in slots."""
        flat = self.columns.flat
        columns = (flat(name)[slots_N] for name in ("id", "x", "y", "heading"))
        return Shortlisted._make((*columns, self.latents(slots_N)))

    @property
    def nbytes(self) -> int:
        """Bytes held, about: columns, latents with their slots, ids and cells."""
        latents = self._count * (self.dim * 4 + 8)
        return self.columns.nbytes + latents + self._ids.nbytes + self.directory.nbytes + self._bitmap.nbytes


def _slots(pages: np.ndarray | slice, mask: np.ndarray) -> np.ndarray:
    """Return the slots that a mask over pages leaves."""
    rows, columns = np.nonzero(mask)
    return (rows if isinstance(pages, slice) else pages[rows]) * PAGE + columns
