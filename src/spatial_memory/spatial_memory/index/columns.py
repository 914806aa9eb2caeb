"""Everything about a record in columns, so that a query touches nothing that it can skip.

Slots come in pages of 16, every page belongs to one cell, and what lies in some cells is read a page at a time. A page
knows which of its slots are in use and the bounds of where its records lie: most pages are wholly inside a search's
circle or wholly outside, and only the others are looked into.

Shape suffixes: N = records, P = pages, A = action size, D = latent size, F = feature size.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from wm_core.memory.errors import RecordError
from wm_core.memory.kernels import address
from wm_core.memory.rows import Rows, suffix_of

__all__ = ["PAGE", "Columns", "Rows"]

PAGE = 16


class Copy(Protocol):
    """Something else that holds the latents of all slots, in a form that a search wants, and follows every change."""

    def write(self, slots_N: np.ndarray, latent_ND: np.ndarray) -> None:
        """Take latents into their slots."""

    def move(self, source: int, target: int) -> None:
        """Copy one latent to another slot."""

    def grow(self, page_count: int) -> None:
        """Make room for more pages."""

    def fresh(self) -> Copy:
        """Return another of this kind, empty and without room."""

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What compiled code reads, by name."""

    @property
    def nbytes(self) -> int:
        """Bytes of all the room."""


_TYPES = {
    "id": np.int64,
    "stamp": np.int64,
    "x": np.float64,
    "y": np.float64,
    "z": np.float64,
    "yaw": np.float32,
    "session": np.int32,
    "surprise": np.float32,
}
_ACTIONS = ("action", "previous_action")
OPTIONAL = ("feature", "has_feature", "rotation")
"""Columns that take no room until a record has such."""
HELD = 2
"""Successors that are held in RAM per record, at most."""
_MOST_AT_ONCE = 4_000_000
# Of address space; memory is taken as it is written to.
_BYTES_AT_ONCE, _MOST_ADOPTED_BYTES = 4 << 30, 8 << 30
_NOWHERE = (np.inf, np.inf, -np.inf, -np.inf)


class Replacement:
    """Other latents of all records of some columns and of what followed them, made beside those in use.

    Args:
        room: Pages.
        dim: Latent size D.
        followed_size: Bytes of successors per record.
        copy: What a search wants to hold of them, empty.
        touched: Slots that were written since.
    """

    def __init__(self, room: int, dim: int, followed_size: int, copy: Copy | None, touched: list[np.ndarray]) -> None:
        self.latent: np.ndarray = np.zeros((room, PAGE, dim), np.float32)
        self.successors: np.ndarray = np.zeros((room, PAGE, followed_size), np.uint8)
        self.count: np.ndarray = np.zeros((room, PAGE), np.uint8)
        self.copy = copy
        self.touched = touched
        if copy is not None:
            copy.grow(room)

    def write(self, slots_N: np.ndarray, latent_ND: np.ndarray) -> None:
        """Take latents into their slots."""
        self.latent.reshape(-1, self.latent.shape[2])[slots_N] = latent_ND
        if self.copy is not None:
            self.copy.write(slots_N, latent_ND)

    def hold(self, slots_N: np.ndarray, successors_NW: np.ndarray, count_N: np.ndarray) -> None:
        """Take what followed the records in some slots, and how many that are, as columns do; all of it is whole."""
        self.successors.reshape(-1, self.successors.shape[2])[slots_N] = successors_NW
        self.count.reshape(-1)[slots_N] = count_N

    def missed(self, columns: Columns) -> np.ndarray:
        """Return the slots that were written since, once there is room for as many pages as the columns have.

        What followed the records there is to be asked of the store.
        """
        room = len(columns.columns["latent"])
        if room > len(self.latent):
            self.latent, self.successors = enlarged(self.latent, room), enlarged(self.successors, room)
            self.count = enlarged(self.count, room)
            if self.copy is not None:
                self.copy.grow(room)
        slots_N: np.ndarray = np.unique(np.concatenate([np.empty(0, np.int64), *self.touched]))
        self.count.reshape(-1)[slots_N] = 0
        return slots_N


class Columns:
    """Growing columns in pages of ``PAGE`` slots.

    Args:
        dim: Latent size D.
        action_dim: Action size A; 0 where no action was ever given.
        page_count: Pages to make room for; untouched room costs no memory.
        copy: Follows the latents; see ``Copy``. The compiled search needs ``SQ8Codes``.
        successor_size: Bytes of a packed successor; see ``successors.py``.

    Attributes:
        page_list: The list that each page belongs to.
        page_rank: Its place among the list's pages.
        next_P: The list's next page, -1 after the last.
        live_P: One bit per slot in use, uint16.
        box_P4: Bounds of each page's records or more: min x, min y, max x, max y.
        addresses: Where columns lie, by name.
        moves: How often a record changed its slot.
        whereabouts: Address and bytes per slot of each column of the records.
    """

    def __init__(
        self, dim: int, action_dim: int, page_count: int = 64, *, copy: Copy | None = None, successor_size: int = 0
    ) -> None:
        self.dim = dim
        self.page_count = 0
        self.moves = 0
        self._free_pages: list[int] = []
        self._room = page_count
        self.columns = {name: np.zeros((page_count, PAGE), kind) for name, kind in _TYPES.items()}
        for name in _ACTIONS:
            self.columns[name] = np.zeros((page_count, PAGE, action_dim), np.float32)
        self.columns["latent"] = np.zeros((page_count, PAGE, dim), np.float32)
        # One more than how many are held; 0: ask the store.
        self.columns["successor_count"] = np.zeros((page_count, PAGE), np.uint8)
        # 1: what is held was seen to be whole.
        self.columns["successors_whole"] = np.zeros((page_count, PAGE), np.uint8)
        self.columns["successors"] = np.zeros((page_count, PAGE, HELD * successor_size), np.uint8)
        self.successor_size = successor_size
        self.copy = copy
        if copy is not None:
            copy.grow(page_count)
        self.live_P = np.zeros(page_count, np.uint16)
        self.box_P4 = np.zeros((page_count, 4))
        self.page_list = np.full(page_count, -1, np.int32)
        self.page_rank = np.zeros(page_count, np.int32)
        self.next_P = np.full(page_count, -1, np.int32)
        self.addresses: dict[str, int] = {}
        self._touched: list[np.ndarray] | None = None
        self._locate()

    def _locate(self) -> None:
        arrays = {**self.columns, "live": self.live_P, "box": self.box_P4, "next": self.next_P}
        if self.copy is not None:
            arrays |= self.copy.arrays
        slots = self._room * PAGE
        self._flat = {name: array.reshape(slots, *array.shape[2:]) for name, array in self.columns.items()}
        self.addresses = {name: address(array) for name, array in arrays.items()}
        # A feature is as large as everything else, and read only of the few that are found.
        ahead = {name: array for name, array in self.columns.items() if name != "feature"}
        per_slot = [(self.addresses[name], array[:1, :1].nbytes) for name, array in ahead.items()]
        self.whereabouts = np.array(per_slot, np.int64)

    def live(self, first: int, end: int) -> np.ndarray:
        """Return the slots in use of some pages that follow one another, [N]."""
        return slots_of(np.arange(first, end), self.live_P[first:end])

    def pages(self, name: str, pages: np.ndarray | slice) -> np.ndarray:
        """Return some pages of one column [P, 16], [P, 16, A] or [P, 16, D]; a copy, except where pages are a slice."""
        column = self.columns[name]
        return column[pages] if isinstance(pages, slice) else column.take(pages, axis=0, mode="clip")

    def pages_if_any(self, name: str, pages: np.ndarray | slice) -> np.ndarray | None:
        """Return some pages of one column; None where no record has such."""
        return None if name not in self.columns else self.pages(name, pages)

    def flat_if_any(self, name: str, slots_N: np.ndarray) -> np.ndarray | None:
        """Return one column of some slots; None where no record has such."""
        return None if name not in self.columns else self._flat[name][slots_N]

    def flat(self, name: str) -> np.ndarray:
        """Return one column by slot [16 P], [16 P, A] or [16 P, D]."""
        return self._flat[name]

    def new_page(self, list_no: int, rank: int, after: int = -1) -> int:
        """Return a page for a cell's list.

        Args:
            list_no: The list.
            rank: The page's place among the list's pages.
            after: The page that was the list's last; -1: it had none.
        """
        if self._free_pages:
            page = self._free_pages.pop()
        else:
            page = self.page_count
            if page >= self._room:
                self._grow(self._room + self._room // 2)
            self.page_count += 1
        self.page_list[page] = list_no
        self.page_rank[page] = rank
        self.next_P[page] = -1
        if after >= 0:
            self.next_P[after] = page
        self.live_P[page] = 0
        self.box_P4[page] = _NOWHERE
        return page

    def check_adopted(self, action_dim: int, feature_dim: int) -> None:
        """Refuse actions or features so large that there is no room for those of all records.

        Args:
            action_dim: Of actions to adopt; 0: none are.
            feature_dim: Of features to adopt; 0: none are.

        Raises:
            RecordError: ``too-large``.
        """
        needed = self._room * PAGE * _record_bytes(0, action_dim, feature_dim)
        if needed > _MOST_ADOPTED_BYTES:
            text = f"actions of {action_dim} and features of {feature_dim} values for {self._room * PAGE} records"
            raise RecordError("too-large", f"{text} need {needed >> 30} GB, at most {_MOST_ADOPTED_BYTES >> 30}")

    def adopt_actions(self, action_dim: int) -> None:
        """Make room for actions where none was ever given: those of all records so far stay unknown."""
        for name in _ACTIONS:
            self.columns[name] = np.zeros((self._room, PAGE, action_dim), np.float32)
            self.columns[name][: self.page_count] = np.nan
        self._locate()

    def adopt_features(self, feature_dim: int) -> None:
        """Make room for features where none was ever given: the records so far have none."""
        self.columns["feature"] = np.zeros((self._room, PAGE, feature_dim), np.int8)
        self.columns["has_feature"] = np.zeros((self._room, PAGE), np.uint8)
        self._locate()

    def _adopt_rotations(self) -> None:
        """Make room for whole rotations where none was ever given: the yaw of the records so far says it all."""
        self.columns["rotation"] = np.full((self._room, PAGE, 4), np.nan, np.float32)
        self._locate()

    def hold_look(self, slots_N: np.ndarray, feature_NF: np.ndarray) -> None:
        """Hold the features of records that are there already."""
        self.flat("feature")[slots_N] = feature_NF
        self.flat("has_feature")[slots_N] = 1

    def hold_rotations(self, slots_N: np.ndarray, rotation_N4: np.ndarray) -> None:
        """Hold the whole rotations of records that are there already, NaN where the yaw says it all."""
        if "rotation" not in self.columns:
            if np.isnan(rotation_N4[:, 0]).all():
                return
            self._adopt_rotations()
        self.flat("rotation")[slots_N] = rotation_N4

    def _write_optional(self, slots_N: np.ndarray, rows: Rows) -> None:
        """Write what only some records have, in place of what others left in their slots."""
        if "has_feature" in self.columns:
            self.flat("has_feature")[slots_N] = 0
            if rows.feature_NF is not None and rows.has_feature_N is not None:
                self.flat("feature")[slots_N] = rows.feature_NF
                self.flat("has_feature")[slots_N] = rows.has_feature_N
        if "rotation" in self.columns:
            self.flat("rotation")[slots_N] = np.nan
        if rows.rotation_N4 is not None:
            self.hold_rotations(slots_N, rows.rotation_N4)

    def free_page(self, page: int, before: int = -1) -> None:
        """Take back a list's last page, which holds nothing any more; ``before`` is the last one then, -1: none is."""
        self.page_list[page] = -1
        if before >= 0:
            self.next_P[before] = -1
        self._free_pages.append(page)

    def write(self, slots_N: np.ndarray, rows: Rows) -> None:
        """Write rows to their slots."""
        for name in (*_TYPES, *_ACTIONS, "latent"):
            self.flat(name)[slots_N] = getattr(rows, name + suffix_of(name))
        self.flat("successor_count")[slots_N] = 0
        self.touch(slots_N)
        self._write_optional(slots_N, rows)
        if self.copy is not None:
            self.copy.write(slots_N, self.flat("latent")[slots_N])
        pages_N = slots_N // PAGE
        if len(pages_N) == 1:
            page = int(pages_N[0])
            self._mark(page, int(slots_N[0]) % PAGE)
            return
        np.bitwise_or.at(self.live_P, pages_N, np.left_shift(1, slots_N % PAGE).astype(np.uint16))
        for side, values_N in ((0, rows.x_N), (1, rows.y_N)):
            np.minimum.at(self.box_P4[:, side], pages_N, values_N)
            np.maximum.at(self.box_P4[:, side + 2], pages_N, values_N)

    def _mark(self, page: int, lane: int) -> None:
        """Note that a slot is in use and widen its page's bounds to it."""
        self.live_P[page] |= np.uint16(1 << lane)
        x, y = self.columns["x"][page, lane], self.columns["y"][page, lane]
        min_x, min_y, max_x, max_y = self.box_P4[page].tolist()
        self.box_P4[page] = (min(min_x, x), min(min_y, y), max(max_x, x), max(max_y, y))

    def move(self, source: int, target: int) -> None:
        """Move one record to another slot, in place of the one there, and free its own."""
        for name in self.columns:
            column = self.flat(name)
            column[target] = column[source]
        if self.copy is not None:
            self.copy.move(source, target)
        self.touch(np.array([target]))
        self.moves += 1
        self._mark(target // PAGE, target % PAGE)
        self.clear(source)

    def touch(self, slots_N: np.ndarray) -> None:
        """Note that slots hold other records, or other successors, while latents are made to be put in their place."""
        if self._touched is not None:
            self._touched.append(slots_N)

    def replacement(self) -> Replacement:
        """Return room for other latents of all records; what is written from now on is noted."""
        self._touched = []
        copy, followed_size = None if self.copy is None else self.copy.fresh(), HELD * self.successor_size
        return Replacement(self._room, self.dim, followed_size, copy, self._touched)

    def put_in_place(self, replacement: Replacement) -> None:
        """Take other latents of all records and of what followed them."""
        assert replacement.touched is self._touched
        self.columns |= {"latent": replacement.latent, "successors": replacement.successors}
        self.columns["successor_count"][:] = replacement.count
        self.columns["successors_whole"][:] = replacement.count > 0
        self.copy = replacement.copy
        self._touched = None
        self._locate()

    def give_up_replacement(self) -> None:
        """Note no longer what is written."""
        self._touched = None

    def clear(self, slot: int) -> None:
        """Note that a slot is in use no more."""
        self.live_P[slot // PAGE] &= np.uint16(0xFFFF ^ (1 << slot % PAGE))

    def _grow(self, room: int) -> None:
        for name, column in self.columns.items():
            self.columns[name] = enlarged(column, room)
        if self.copy is not None:
            self.copy.grow(room)
        self.live_P, self.box_P4 = enlarged(self.live_P, room), enlarged(self.box_P4, room)
        self.page_list, self.page_rank = enlarged(self.page_list, room), enlarged(self.page_rank, room)
        self.next_P = enlarged(self.next_P, room)
        self._room = room
        self._locate()

    @property
    def nbytes(self) -> int:
        """Bytes of the pages in use."""
        arrays = [*self.columns.values(), self.live_P, self.box_P4, self.page_list, self.page_rank, self.next_P]
        held = sum(array.nbytes for array in arrays) + (0 if self.copy is None else self.copy.nbytes)
        return self.page_count * held // max(1, self._room)


def room_for(held: int, capacity: int, dim: int = 0, action_dim: int = 0, feature_dim: int = 0) -> int:
    """Return for how many pages to make room at once; more comes as it is needed.

    Args:
        held: Records that are held already.
        capacity: Records that may be.
        dim: Of their latents.
        action_dim: Of their actions.
        feature_dim: Of their features.
    """
    most = min(capacity, _MOST_AT_ONCE, _BYTES_AT_ONCE // _record_bytes(dim, action_dim, feature_dim))
    return max(held, most) * 5 // 4 // PAGE + 64


def _record_bytes(dim: int, action_dim: int, feature_dim: int) -> int:
    """Return about how many bytes a record takes, its successors included."""
    return 128 + 4 * dim * (1 + HELD) + 8 * action_dim + feature_dim


def mask_of(bits_P: np.ndarray) -> np.ndarray:
    """Return bits as booleans [P, 16]."""
    bits_P = np.ascontiguousarray(bits_P, "<u2")
    return np.unpackbits(bits_P.view(np.uint8), bitorder="little").reshape(-1, PAGE).view(bool)


def slots_of(page_P: np.ndarray, bits_P: np.ndarray) -> np.ndarray:
    """Return the slots whose bit is set."""
    at_N = np.flatnonzero(mask_of(bits_P))
    return page_P[at_N // PAGE] * PAGE + at_N % PAGE


def bits_of(mask_P16: np.ndarray) -> np.ndarray:
    """Return booleans as bits [P]."""
    return np.packbits(mask_P16, axis=1, bitorder="little").view("<u2").reshape(-1)


def enlarged(array: np.ndarray, room: int) -> np.ndarray:
    """Return an array with more rows, zeros behind those it had."""
    larger = np.zeros((room, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
