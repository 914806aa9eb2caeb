"""Which list each cell has, in arrays that compiled code looks up too.

Shape suffixes: T = places in the table (a power of two), C = cells.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_FACTOR = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1


class CellTable:
    """A hash table with open addressing; a dropped cell keeps its place, without a list, until the table is made anew.

    Attributes:
        cell_T: H3 cell, 0 where the place is empty (no cell is 0).
        list_T: Its list, negative where it has none any more.
        shift: A cell starts at ``cell * factor mod 2^64 >> shift``; from there on, place by place.
    """

    def __init__(self) -> None:
        self._lists: dict[int, int] = {}
        self._resize(10)

    def _resize(self, bits: int) -> None:
        self.shift = 64 - bits
        self.cell_T = np.zeros(1 << bits, np.uint64)
        self.list_T = np.full(1 << bits, -1, np.int32)
        self._taken = 0
        for cell, list_no in self._lists.items():
            self._write(cell, list_no)

    def _write(self, cell: int, list_no: int) -> None:
        at, last = (cell * _FACTOR & _WORD) >> self.shift, len(self.cell_T) - 1
        while (found := int(self.cell_T[at])) not in (0, cell):
            at = (at + 1) & last
        self._taken += found == 0
        self.cell_T[at] = cell
        self.list_T[at] = list_no

    def put(self, cell: int, list_no: int) -> None:
        """Give a cell a list."""
        self._lists[cell] = list_no
        self._write(cell, list_no)
        if 2 * self._taken > len(self.cell_T):
            self._resize((4 * len(self._lists)).bit_length())

    def drop(self, cell: int) -> None:
        """Take a cell's list away."""
        del self._lists[cell]
        self._write(cell, -1)

    def get(self, cell: int) -> int | None:
        """Return the list of a cell, or None."""
        return self._lists.get(cell)

    def lists_of(self, cells_C: np.ndarray) -> np.ndarray:
        """Return the lists of those cells that have one, int64."""
        lists = self._lists
        return np.array([lists[cell] for cell in cells_C.tolist() if cell in lists], np.int64)

    def __len__(self) -> int:
        return len(self._lists)

    def __iter__(self) -> Iterator[int]:
        return iter(self._lists)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.cell_T.nbytes + self.list_T.nbytes
