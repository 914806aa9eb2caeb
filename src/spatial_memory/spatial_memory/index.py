"""Exact search over records in memory, at the cost of what lies near and nothing else.

Shape suffixes: N = records, P = pages, L = lists (one per cell), K = neighbours, D = latent size.
"""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np

from spatial_memory.cells import CellGrid
from spatial_memory.columns import FREE, PAGE, Columns, Rows
from spatial_memory.directory import CellDirectory
from spatial_memory.filters import latent_distance, passing, pose_distance2
from spatial_memory.idmap import IdMap
from spatial_memory.lists import LatentLists
from spatial_memory.query import Query

# Faiss ranks in single precision; a few more than asked for are ranked again in double, so that near ties fall right.
_SPARE = 4


@dataclass(frozen=True)
class Hits:
    """Slots found, nearest first, with their distances."""

    slot_K: np.ndarray
    distance_K: np.ndarray
    latent_distance_K: np.ndarray
    pose_distance_K: np.ndarray
    latent_KD: np.ndarray
    candidate_count: int


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
        self._selector: faiss.IDSelectorBitmap | None = None

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
        self.columns.flat("id")[last_slot] = FREE
        if last % PAGE == 0:
            self.columns.free_page(pages.pop())
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
        return np.flatnonzero(self.columns.flat("id")[: self.columns.page_count * PAGE] != FREE)

    def slots_of_list(self, list_no: int) -> np.ndarray:
        """Return the slots of one cell's records, in the order of its list."""
        offsets = np.arange(int(self.directory.size_L[list_no]))
        return np.array(self.directory.pages[list_no], np.int64)[offsets // PAGE] * PAGE + offsets % PAGE

    def latents(self, slots_N: np.ndarray) -> np.ndarray:
        """Return the latents of slots [N, D]; cheapest when the slots of a list stand together."""
        out_ND = np.empty((len(slots_N), self.dim), np.float32)
        lists_N = self.columns.page_list[slots_N // PAGE]
        offsets_N = self.columns.page_rank[slots_N // PAGE] * PAGE + slots_N % PAGE
        if len(slots_N) <= 32:
            for at, (list_no, offset) in enumerate(zip(lists_N.tolist(), offsets_N.tolist())):
                self._lists.copy_one(list_no, offset, out_ND[at])
            return out_ND
        starts = np.flatnonzero(np.concatenate(([True], lists_N[1:] != lists_N[:-1])))
        for start, end in zip(starts.tolist(), np.append(starts[1:], len(slots_N)).tolist()):
            list_no = int(lists_N[start])
            view = self._lists.view(list_no, int(self.directory.size_L[list_no]))
            out_ND[start:end] = view[offsets_N[start:end]]
        return out_ND

    def rows(self, slots_N: np.ndarray, latent_ND: np.ndarray | None = None) -> Rows:
        """Return the records of slots; their latents too unless they are at hand."""
        flat = self.columns.flat
        return Rows(
            *(flat(name)[slots_N] for name in ("id", "stamp", "x", "y", "z", "heading", "session", "surprise")),
            flat("action")[slots_N],
            flat("previous_action")[slots_N],
            self.directory.cell_L[self.columns.page_list[slots_N // PAGE]],
            self.latents(slots_N) if latent_ND is None else latent_ND,
        )

    # ---------------------------------------------------------------- searching

    def search(self, query: Query, time_bounds: tuple[int | None, int | None], session: int | None) -> Hits:
        """Return the k nearest of what passes every filter.

        Args:
            query: Checked before.
            time_bounds: Oldest and newest stamp allowed, both inclusive [ns]; None: any.
            session: Number of the session asked for; None: any.

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
        mask = self.columns["id"][pages] != FREE
        present = int(self.directory.size_L[lists_L].sum())
        passing(query, lambda name: self.columns[name][pages], self.grid.map, time_bounds, session, mask)
        count = int(np.count_nonzero(mask))
        if count == 0:
            return self._hits(query, np.empty(0, np.int64), 0)
        if query.rank == "latent" and query.metric == "l2":
            slots_N = self._scan(query, lists_L, pages, mask, filtered=count < present)
        else:
            slots_N = self._shortlist(query, _slots(pages, mask))
        return self._hits(query, slots_N, count)

    def _scan(
        self, query: Query, lists_L: np.ndarray, pages: np.ndarray | slice, mask: np.ndarray, *, filtered: bool
    ) -> np.ndarray:
        """Let Faiss find the nearest latents among the slots that passed."""
        latent_D = np.ascontiguousarray(query.latent_D, np.float32)
        k = min(query.k + _SPARE, int(mask.size))
        if not filtered:
            return self._lists.search(latent_D, k, lists_L, None)[1]
        if len(self._bitmap) < len(self.columns.page_list):
            self._bitmap = np.zeros(len(self.columns.page_list), np.uint16)
            self._selector = faiss.IDSelectorBitmap(self._bitmap.nbytes, faiss.swig_ptr(self._bitmap.view(np.uint8)))
        self._bitmap[pages] = np.packbits(mask, axis=1, bitorder="little").view(np.uint16)[:, 0]
        slots_K = self._lists.search(latent_D, k, lists_L, self._selector)[1]
        self._bitmap[pages] = 0
        return slots_K

    def _shortlist(self, query: Query, slots_N: np.ndarray) -> np.ndarray:
        """Return the slots that can be among the k nearest by pose, by cosine, or by both."""
        flat = self.columns.flat
        score_N: np.ndarray | float = 0.0
        if query.rank != "latent":
            x_N, y_N, heading_N = (flat(name)[slots_N] for name in ("x", "y", "heading"))
            score_N = pose_distance2(query, x_N, y_N, heading_N, self.grid.map)
        if query.rank != "pose":
            distance_N = latent_distance(self.latents(slots_N), query.latent_D, query.metric)
            score_N = query.pose_weight * score_N + distance_N**2 if query.rank == "both" else distance_N
        keep = query.k + _SPARE
        return slots_N[np.argpartition(score_N, keep)[:keep]] if keep < len(slots_N) else slots_N

    def _hits(self, query: Query, slots_N: np.ndarray, count: int) -> Hits:
        """Rank a shortlist in double precision, equal ones by id, and keep k."""
        flat = self.columns.flat
        latent_ND = self.latents(slots_N)
        latent_N = pose_N = np.full(len(slots_N), np.nan)
        if query.latent_D is not None:
            latent_N = latent_distance(latent_ND, query.latent_D, query.metric)
        if query.place is not None:
            x_N, y_N, heading_N = (flat(name)[slots_N] for name in ("x", "y", "heading"))
            pose_N = np.sqrt(pose_distance2(query, x_N, y_N, heading_N, self.grid.map))
        if query.rank == "both":
            distance_N = latent_N**2 + query.pose_weight * pose_N**2
        else:
            distance_N = latent_N if query.rank == "latent" else pose_N
        order = np.lexsort((flat("id")[slots_N], distance_N))[: query.k]
        return Hits(slots_N[order], distance_N[order], latent_N[order], pose_N[order], latent_ND[order], count)

    @property
    def nbytes(self) -> int:
        """Bytes held, about: columns, latents with their slots, ids and cells."""
        latents = self._count * (self.dim * 4 + 8)
        return self.columns.nbytes + latents + self._ids.nbytes + self.directory.nbytes + self._bitmap.nbytes


def _slots(pages: np.ndarray | slice, mask: np.ndarray) -> np.ndarray:
    """Return the slots that a mask over pages leaves."""
    rows, columns = np.nonzero(mask)
    return (rows if isinstance(pages, slice) else pages[rows]) * PAGE + columns
