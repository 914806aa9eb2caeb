"""Everything about a record but its latent, in columns that a query filters without touching a record it can skip.

Slots come in pages of 16 and every page belongs to one cell, so what lies in some cells is read a page at a time.

Shape suffixes: N = records, P = pages, A = action size.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

PAGE = 16


@dataclass
class Rows:
    """Records side by side, one array per field; what store and index hand each other.

    ``action_NA`` and ``previous_action_NA`` are NaN where unknown. ``session_N`` numbers the memory's sessions.
    """

    id_N: np.ndarray
    stamp_N: np.ndarray
    x_N: np.ndarray
    y_N: np.ndarray
    z_N: np.ndarray
    heading_N: np.ndarray
    session_N: np.ndarray
    surprise_N: np.ndarray
    action_NA: np.ndarray
    previous_action_NA: np.ndarray
    cell_N: np.ndarray
    latent_ND: np.ndarray

    def __len__(self) -> int:
        return len(self.id_N)

    def take(self, which: np.ndarray | slice) -> Rows:
        """Return some of the rows."""
        return Rows(*(getattr(self, item.name)[which] for item in fields(self)))

    @staticmethod
    def concatenate(parts: list[Rows]) -> Rows:
        """Return the rows of all parts, in order."""
        return Rows(*(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(Rows)))


_TYPES = {
    "id": np.int64,
    "stamp": np.int64,
    "x": np.float64,
    "y": np.float64,
    "z": np.float64,
    "heading": np.float32,
    "session": np.int32,
    "surprise": np.float32,
}
_VECTORS = ("action", "previous_action")


class Columns:
    """Growing columns in pages of ``PAGE`` slots; ``live`` says which slots hold something.

    Args:
        action_dim: Action size A; 0 where no action was ever given.
        page_count: Pages to make room for; untouched room costs no memory.
    """

    def __init__(self, action_dim: int, page_count: int = 64) -> None:
        self.page_count = 0
        self._free_pages: list[int] = []
        self._room = page_count
        self.columns = {name: np.zeros((page_count, PAGE), kind) for name, kind in _TYPES.items()}
        for name in _VECTORS:
            self.columns[name] = np.zeros((page_count, PAGE, action_dim), np.float32)
        self.columns["live"] = np.zeros((page_count, PAGE), bool)
        self.page_list = np.full(page_count, -1, np.int32)
        self.page_rank = np.zeros(page_count, np.int32)

    def pages(self, name: str, pages: np.ndarray | slice) -> np.ndarray:
        """Return some pages of one column [P, 16] or [P, 16, A]; a copy, except where pages are a slice."""
        column = self.columns[name]
        return column[pages] if isinstance(pages, slice) else column.take(pages, axis=0, mode="clip")

    def flat(self, name: str) -> np.ndarray:
        """Return one column by slot [16 P] or [16 P, A]."""
        column = self.columns[name]
        return column.reshape(len(column) * PAGE, *column.shape[2:])

    def new_page(self, list_no: int, rank: int) -> int:
        """Return a page for a cell's list; ``rank`` is its place among the list's pages."""
        if self._free_pages:
            page = self._free_pages.pop()
        else:
            page = self.page_count
            if page >= self._room:
                self._grow(self._room + self._room // 2)
            self.page_count += 1
        self.page_list[page] = list_no
        self.page_rank[page] = rank
        return page

    def adopt_actions(self, action_dim: int) -> None:
        """Make room for actions where none was ever given: those of all records so far stay unknown."""
        for name in _VECTORS:
            self.columns[name] = np.full((self._room, PAGE, action_dim), np.nan, np.float32)

    def free_page(self, page: int) -> None:
        """Take back a page that holds nothing any more."""
        self.page_list[page] = -1
        self._free_pages.append(page)

    def write(self, slots_N: np.ndarray | slice, rows: Rows) -> None:
        """Write rows to their slots."""
        for name in (*_TYPES, *_VECTORS):
            suffix = "_NA" if name in _VECTORS else "_N"
            self.flat(name)[slots_N] = getattr(rows, name + suffix)
        self.flat("live")[slots_N] = True

    def move(self, source: int, target: int) -> None:
        """Move one record to another slot and free its own."""
        for name in self.columns:
            column = self.flat(name)
            column[target] = column[source]
        self.flat("live")[source] = False

    def _grow(self, room: int) -> None:
        for name, column in self.columns.items():
            self.columns[name] = _enlarged(column, room)
        self.page_list = _enlarged(self.page_list, room)
        self.page_rank = _enlarged(self.page_rank, room)
        self._room = room

    @property
    def nbytes(self) -> int:
        """Bytes of the pages in use."""
        per_page = sum(column[0].nbytes for column in self.columns.values()) if self._room else 0
        return self.page_count * (per_page + 8)


def _enlarged(array: np.ndarray, room: int) -> np.ndarray:
    larger = np.zeros((room, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
