"""Exact search over records in memory, at the cost of what lies near and nothing else.

Shape suffixes: N = records, P = pages, L = lists (one per cell), K = neighbours, D = latent size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from spatial_memory.geometry.cells import CellGrid
from spatial_memory.index.columns import PAGE, Columns, Rows, bits_of, mask_of, slots_of
from spatial_memory.index.directory import CellDirectory
from spatial_memory.index.idmap import IdMap
from spatial_memory.index.kernels import Scanner, load
from spatial_memory.index.ranking import Shortlist, latent_scores, smallest
from spatial_memory.index.successors import hold, hold_all, hold_more
from spatial_memory.store.schema import successor_size
from wm_core.memory.filters import Limits, Measures, has_more_filters, latent_distance, passing
from wm_core.memory.query import Query

KERNELS = load()


class CellIndex:
    """Exact nearest neighbours under filters among the records near a place.

    One list of pages per H3 cell. A query looks up the cells it may touch, narrows their pages to what passes every
    filter, and compares only those latents: first by their codes, which bound every distance, then exactly.
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
        self.columns = Columns(
            dim, action_dim, page_count, coded=KERNELS is not None, successor_size=successor_size(dim)
        )
        self.directory = CellDirectory(grid)
        self._scanner = Scanner(KERNELS, self.columns, self.directory) if KERNELS is not None else None
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
        (hold_more if more else hold)(self.columns, self._ids.get(record_id), body)

    def hold_all_successors(self, chunks: Iterable[Sequence[tuple[int, bytes]]]) -> None:
        """Hold what the store knows of all records."""
        hold_all(self.columns, self._ids, chunks)

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
            flat("yaw")[slots_N],
            flat("session")[slots_N],
            flat("surprise")[slots_N],
            flat("action")[slots_N],
            flat("previous_action")[slots_N],
            self.directory.cell_L[self.columns.page_list[slots_N // PAGE]],
            flat("latent")[slots_N],
        )

    # ---------------------------------------------------------------- searching

    @property
    def is_compiled(self) -> bool:
        """Whether ``shortlists`` answers queries around places in one go."""
        return self._scanner is not None and self.grid.map.name == "local"

    def shortlists(self, queries: Sequence[Query], limits: Sequence[Limits]) -> list[Shortlist]:
        """Return the few records that hold the k nearest of what passes every filter, for each query.

        Args:
            queries: Checked before.
            limits: Their time bounds and sessions, in the memory's numbers.

        Raises:
            PlaceError: A query's place lies nowhere.
        """
        discs = [at for at, query in enumerate(queries) if self.is_compiled and _is_plain_disc(query)]
        found: dict[int, Shortlist] = {}
        if discs:
            found.update(zip(discs, self._around([queries[at] for at in discs], [limits[at] for at in discs])))
        return [
            found[at] if at in found else self._shortlist(query, limit)
            for at, (query, limit) in enumerate(zip(queries, limits))
        ]

    def _around(self, queries: Sequence[Query], limits: Sequence[Limits]) -> list[Shortlist]:
        """Return the shortlists of queries for what lies within a radius, in a metric map, not ranked by cosine."""
        assert self._scanner is not None
        scanner = self._scanner
        scanner.ask(queries)
        discs = [_disc(query, self.grid) for query in queries]
        around = {disc: self.directory.cells_around(*disc) for disc in set(discs)}
        cells = [around[disc] for disc in discs]
        narrowed = [at for at, query in enumerate(queries) if has_more_filters(query, limits[at])]
        if not (scanner.look_around(cells) if narrowed else scanner.search(cells)):
            half = len(queries) // 2
            return self._around(queries[:half], limits[:half]) + self._around(queries[half:], limits[half:])
        if narrowed:
            for at in narrowed:
                part = slice(int(scanner.page_end_G[at - 1]) if at else 0, int(scanner.page_end_G[at]))
                bits_P = scanner.bits_P[part]
                scanner.found_G[at] = self._narrow(
                    queries[at], limits[at], scanner.page_P[part], bits_P, in_radius=True
                )
            scanner.find_nearest()
        ends, counts = scanner.slot_end_G[: len(queries)].tolist(), scanner.found_G[: len(queries)].tolist()
        slot_S = scanner.slot_S[: ends[-1]].copy()
        return [Shortlist(slot_S[start:end], count) for start, end, count in zip([0, *ends[:-1]], ends, counts)]

    def _shortlist(self, query: Query, limits: Limits) -> Shortlist:
        """Return the shortlist of any one query."""
        lists_L = self.directory.near(query)
        page_P = np.arange(self.columns.page_count) if lists_L is None else self.directory.pages_of(lists_L)
        bits_P = self.columns.live_P[page_P]
        count = self._narrow(query, limits, page_P, bits_P)
        if count == 0:
            return Shortlist(np.empty(0, np.int64), 0)
        if self._scanner is not None and not _is_cosine(query) and (self.is_compiled or query.rank == "latent"):
            self._scanner.ask([query])
            self._scanner.look_at(page_P, bits_P, count)
            self._scanner.find_nearest()
            return Shortlist(self._scanner.slot_S[: self._scanner.slot_end_G[0]].copy(), count)
        slots_N = slots_of(page_P, bits_P)
        if count <= query.k:
            return Shortlist(slots_N, count)
        score_N, slack = self._scores(query, slots_N)
        return Shortlist(slots_N[smallest(score_N, query.k, slack)], count)

    def _narrow(
        self, query: Query, limits: Limits, page_P: np.ndarray, bits_P: np.ndarray, *, in_radius: bool = False
    ) -> int:
        """Clear the bits of what does not pass every filter, in place, and return how many are left."""
        some_P = np.flatnonzero(bits_P)
        pages_P = page_P[some_P]
        mask_P16 = mask_of(bits_P[some_P])

        def column(name: str) -> np.ndarray:
            return self.columns.pages(name, pages_P)

        measures = Measures(query, column, self.grid.map) if query.place is not None else None
        passing(query, column, measures, limits, mask_P16, within_radius=in_radius)
        bits_P[some_P] = bits_of(mask_P16)
        return int(np.count_nonzero(mask_P16))

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


def _is_cosine(query: Query) -> bool:
    return query.metric == "cosine" and query.rank != "pose"


def _is_plain_disc(query: Query) -> bool:
    return query.radius_m > 0 and query.ring_count == 0 and not _is_cosine(query)


def _disc(query: Query, grid: CellGrid) -> tuple[int, float]:
    """Return the cell of a query's place, and its radius [m]."""
    assert query.place is not None
    return grid.cell_of(query.place.x, query.place.y), query.radius_m


def _off(score_N: np.ndarray, k: int, relative: float) -> float:
    """Return by how much scores about as large as the k-th smallest may be off together."""
    return 2.0 * relative * float(np.partition(score_N, k - 1)[k - 1])
