"""What is forgotten when the memory is full.

Eviction takes from the most crowded cell, so that no place is emptied while another is crowded; among equally crowded
cells from the one that was visited longest ago. In that cell it takes the record with the lowest worth: rank by recency
plus ``surprise_weight`` times rank by surprise, so that what is new and what was hard to foresee stays.

Shape suffixes: N = records, L = lists (one per cell).
"""

from __future__ import annotations

import heapq

import numpy as np

from spatial_memory.index.cell_index import CellIndex


def worth(stamp_N: np.ndarray, surprise_N: np.ndarray, id_N: np.ndarray, surprise_weight: float) -> np.ndarray:
    """Return what each record of one cell is worth: its rank by recency plus its weighted rank by surprise.

    Args:
        stamp_N: When they were seen [ns]; equal ones rank by id.
        surprise_N: NaN where unknown, which counts as no surprise.
        id_N: Their ids.
        surprise_weight: How much surprise counts against recency.
    """
    ranks = np.arange(len(id_N), dtype=np.float64)
    worth_N = np.zeros(len(id_N))
    worth_N[np.lexsort((id_N, stamp_N))] += ranks
    worth_N[np.lexsort((id_N, stamp_N, np.nan_to_num(surprise_N, nan=-1.0)))] += surprise_weight * ranks
    return worth_N


class Eviction:
    """Chooses the next record to forget.

    Keeps the crowd of every cell in a heap whose entries may be out of date; they are checked when they come up.

    Args:
        index: Where the records lie.
        surprise_weight: How much surprise counts against recency.
    """

    def __init__(self, index: CellIndex, surprise_weight: float = 1.0) -> None:
        self._index = index
        self._surprise_weight = surprise_weight
        self._heap: list[tuple[int, int, int, int]] | None = None

    def touch(self, cell: int) -> None:
        """Note that a cell's records changed."""
        if self._heap is None:
            return
        list_no = self._index.directory.find(cell)
        if list_no is not None:
            heapq.heappush(self._heap, self._crowd(list_no))
        if len(self._heap) > 4 * self._index.directory.cell_count + 1024:
            self._heap = None

    def next_victim(self) -> tuple[int, int]:
        """Return the id and the cell of the record to forget next; there must be one."""
        list_no = self._most_crowded()
        slots_N = self._index.slots_of_list(list_no)
        flat = self._index.columns.flat
        id_N = flat("id")[slots_N]
        worth_N = worth(flat("stamp")[slots_N], flat("surprise")[slots_N], id_N, self._surprise_weight)
        return int(id_N[np.lexsort((id_N, worth_N))[0]]), int(self._index.directory.cell_L[list_no])

    def _crowd(self, list_no: int) -> tuple[int, int, int, int]:
        directory = self._index.directory
        return (-int(directory.size_L[list_no]), int(directory.newest_L[list_no]), int(directory.cell_L[list_no]),
                list_no)  # fmt: skip

    def _most_crowded(self) -> int:
        if self._heap is None:
            self._heap = [self._crowd(int(list_no)) for list_no in self._index.directory.occupied()]
            heapq.heapify(self._heap)
        while True:
            entry = self._heap[0]
            if entry == self._crowd(entry[3]):
                return entry[3]
            heapq.heappop(self._heap)
