"""The compiled part of a search, where the package was built with a C compiler; see ``_kernels.c``.

Shape suffixes: P = pages, D = latent size, S = slots.
"""

from __future__ import annotations

import ctypes
import logging
import math
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


class Kernels:
    """Calls into the compiled library; arrays are handed over by address.

    Args:
        library: As ``ctypes`` loaded it.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._pages = library.wm_pages
        self._pages.argtypes = [
            _POINTER, _INT, *[_POINTER] * 2, *[_INT] * 2, *[_POINTER] * 4, *[_REAL] * 3, _POINTER, _INT,
        ]  # fmt: skip
        self._pages.restype = _INT
        self._within = library.wm_within
        self._within.argtypes = [_POINTER, _INT, *[_POINTER] * 4, *[_REAL] * 3, *[_POINTER] * 3]
        self._within.restype = _INT
        self._nearest = library.wm_nearest
        self._nearest.argtypes = [
            *[_POINTER] * 2, _INT, *[_POINTER] * 2, _INT, _POINTER, *[_REAL] * 2, *[_POINTER] * 3, *[_REAL] * 5, _INT,
            *[_POINTER] * 3,
        ]  # fmt: skip
        self._nearest.restype = _INT

    def pages_of(
        self, directory: CellDirectory, columns: Columns, cell_C: np.ndarray, x: float, y: float, radius_m: float
    ) -> np.ndarray:
        """Return the pages of those cells whose contents may lie within a radius, int64 [P]."""
        table = directory.table
        cell_C = np.ascontiguousarray(cell_C, np.uint64)
        room = 2048
        while True:
            page_P = np.empty(room, np.int64)
            count = self._pages(
                address(cell_C), len(cell_C), address(table.cell_T), address(table.list_T), len(table.cell_T),
                table.shift, address(directory.box_L4), address(directory.first_L), address(directory.size_L),
                columns.addresses["next"], x, y, radius_m**2, address(page_P), room,
            )  # fmt: skip
            if count <= room:
                return page_P[:count]
            room = count

    def within(
        self, columns: Columns, page_P: np.ndarray, x: float, y: float, radius_m: float
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Return the pages that hold something within a radius, a bit per slot that is, and how many those are."""
        out_P, bits_P, found = np.empty(len(page_P), np.int64), np.empty(len(page_P), np.uint16), _INT()
        at = columns.addresses
        count = self._within(
            address(page_P), len(page_P), at["box"], at["x"], at["y"], at["live"], x, y, radius_m**2, address(out_P),
            address(bits_P), ctypes.addressof(found),
        )  # fmt: skip
        return out_P[:count], bits_P[:count], found.value

    def nearest(self, columns: Columns, page_P: np.ndarray, bits_P: np.ndarray, count: int, query: Query) -> np.ndarray:
        """Return slots that hold the k nearest by L2 latent distance, pose in a metric map, or both.

        Args:
            columns: With a sketch of the latents.
            page_P: Pages.
            bits_P: Which of their slots to choose from.
            count: How many those are.
            query: What they are ranked by.
        """
        k = min(query.k, count)
        heap, slot_S, lower_S = np.empty(k), np.empty(count, np.int64), np.empty(count)
        at, rank, place, dim = columns.addresses, query.rank, query.place, columns.sketched_dim
        wanted_D = None
        if rank != "latent" and place is not None:
            pose = (place.x, place.y, wrap_angle(place.heading), query.heading_weight_m)
            pose_weight = 1.0 if rank == "pose" else query.pose_weight
        else:
            pose, pose_weight = (0.0, 0.0, 0.0, 0.0), 0.0
        if rank != "pose":
            wanted_D = np.zeros(dim, np.float32)
            wanted_D[: columns.dim] = query.latent_D
        kept = self._nearest(
            address(page_P), address(bits_P), len(page_P), at["code"], at["scale"], dim,
            None if wanted_D is None else address(wanted_D), 0.501 * math.sqrt(dim), 2.0 * (dim + 16) * _EPSILON,
            at["x"], at["y"], at["heading"], *pose, pose_weight, k, address(heap), address(slot_S), address(lower_S),
        )  # fmt: skip
        return slot_S[:kept]


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
