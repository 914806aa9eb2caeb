"""The compiled part of a search, where the package was built with a C compiler; see ``_kernels.c``.

What belongs to several queries stands side by side: that of query g ends in front of ``.._end_G[g]``.

Shape suffixes: G = queries, C = cells, P = pages, S = slots, E = latent size D made even.
"""

from __future__ import annotations

import ctypes
import logging
import math
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spatial_memory.query import Query
from spatial_memory.records import wrap_angle

if TYPE_CHECKING:
    from spatial_memory.columns import Columns
    from spatial_memory.directory import CellDirectory

_LOG = logging.getLogger(__name__)
_POINTER, _INT, _REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
_EPSILON = float(np.finfo(np.float32).eps)


class Asked:
    """Queries as the kernels take them.

    Args:
        queries: By latent (L2), by pose, or both, in a metric map.
        columns: Where the records lie, with a sketch of their latents.
    """

    def __init__(self, queries: Sequence[Query], columns: Columns) -> None:
        self.count = len(queries)
        self.columns = columns
        self.fields_G7 = np.array([_fields(query) for query in queries])
        self.k_G = np.array([query.k for query in queries], np.int64)
        self.wanted_GE = np.zeros((len(queries), columns.sketched_dim), np.float32)
        for wanted_E, query in zip(self.wanted_GE, queries):
            if query.rank != "pose":
                wanted_E[: columns.dim] = query.latent_D


def _fields(query: Query) -> tuple[float, ...]:
    x, y, _, heading = query.place if query.place is not None else (0.0, 0.0, 0.0, 0.0)
    pose_weight = {"latent": 0.0, "pose": 1.0}.get(query.rank, query.pose_weight)
    latent_weight = 0.0 if query.rank == "pose" else 1.0
    radius2 = query.radius_m**2
    return (x, y, radius2, wrap_angle(heading), query.heading_weight_m, pose_weight, latent_weight)


class Kernels:
    """Calls into the compiled library; arrays are handed over by address.

    Args:
        library: As ``ctypes`` loaded it.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._pages = library.wm_pages
        self._pages.argtypes = [_INT, *[_POINTER] * 5, *[_INT] * 2, *[_POINTER] * 6, _INT]
        self._pages.restype = _INT
        self._within = library.wm_within
        self._within.argtypes = [_INT, *[_POINTER] * 10]
        self._within.restype = None
        self._nearest = library.wm_nearest
        self._nearest.argtypes = [
            _INT,
            *[_POINTER] * 6,
            _INT,
            _POINTER,
            *[_REAL] * 2,
            *[_POINTER] * 4,
            _INT,
            *[_POINTER] * 5,
        ]
        self._nearest.restype = _INT

    def pages_of(
        self, asked: Asked, directory: CellDirectory, cells: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the pages of those of each query's cells whose contents may lie within its radius, and their ends."""
        cell_C = np.ascontiguousarray(cells[0] if len(cells) == 1 else np.concatenate(cells), np.uint64)
        cell_end_G = np.cumsum([len(each) for each in cells])
        page_end_G = np.empty(len(cells), np.int64)
        table, room = directory.table, 2048 * len(cells)
        while True:
            page_P = np.empty(room, np.int64)
            count = self._pages(
                asked.count, address(asked.fields_G7), address(cell_C), address(cell_end_G), address(table.cell_T),
                address(table.list_T), len(table.cell_T), table.shift, address(directory.box_L4),
                address(directory.first_L), address(directory.size_L), asked.columns.addresses["next"],
                address(page_P), address(page_end_G), room,
            )  # fmt: skip
            if count <= room:
                return page_P[:count], page_end_G
            room = count

    def within(self, asked: Asked, page_P: np.ndarray, page_end_G: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a bit per slot within the radius, for each page of each query, and how many slots those are [G]."""
        bits_P, border_P = np.empty(len(page_P), np.uint16), np.empty(len(page_P), np.int32)
        found_G = np.empty(asked.count, np.int64)
        at = asked.columns.addresses
        self._within(
            asked.count, address(asked.fields_G7), address(page_P), address(page_end_G), at["box"], at["x"], at["y"],
            at["live"], address(border_P), address(bits_P), address(found_G),
        )  # fmt: skip
        return bits_P, found_G

    def nearest(
        self, asked: Asked, page_P: np.ndarray, page_end_G: np.ndarray, bits_P: np.ndarray, found_G: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return slots that hold the k nearest of those whose bit is set, for each query, and their ends."""
        np.minimum(asked.k_G, np.maximum(found_G, 1), out=asked.k_G)
        room, dim = int(found_G.sum()), asked.columns.sketched_dim
        heap, lower_S = np.empty(int(asked.k_G.max())), np.empty(room)
        slot_S, slot_end_G = np.empty(room, np.int64), np.empty(asked.count, np.int64)
        at = asked.columns.addresses
        kept = self._nearest(
            asked.count, address(asked.fields_G7), address(page_P), address(page_end_G), address(bits_P), at["code"],
            at["scale"], dim, address(asked.wanted_GE), 0.501 * math.sqrt(dim), 2.0 * (dim + 16) * _EPSILON, at["x"],
            at["y"], at["heading"], address(asked.columns.whereabouts), len(asked.columns.whereabouts),
            address(asked.k_G), address(heap), address(slot_S), address(lower_S), address(slot_end_G),
        )  # fmt: skip
        return slot_S[:kept], slot_end_G


def address(array: np.ndarray) -> int:
    """Return where a contiguous array lies."""
    return array.__array_interface__["data"][0]


def load() -> Kernels | None:
    """Return the compiled kernels, or None where the package was built without a compiler."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_kernels{suffix}")
        if path.exists():
            return Kernels(ctypes.CDLL(str(path)))
    _LOG.warning("built without a C compiler: searches take about twice as long")
    return None
