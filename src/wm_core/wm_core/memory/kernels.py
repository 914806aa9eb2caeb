"""The compiled part of a search, where the package was built with a C compiler; see ``_kernels.c``."""

from __future__ import annotations

import ctypes
import logging
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import numpy as np

from wm_core.memory.query import Query
from wm_core.se2 import wrap_angle

VERSION = 6
"""Of ``_kernels.c``; setup.py says the same."""
_LOG = logging.getLogger(__name__)
_READ = ("table_cell", "table_list", "table_places", "table_shift", "list_box", "first", "size", "next", "live", "box",
         "x", "y", "yaw", "code", "scale", "dim", "columns", "column_count")  # fmt: skip
_WRITTEN = ("pages", "bits", "border", "slots", "lowers", "heap", "room", "page_end", "found", "slot_end")
_TABLE = ("x", "y", "yaw", "stamp", "session", "id", "latent", "dim", "start", "min_x", "min_y", "cell_m", "columns",
          "rows")  # fmt: skip
_COUNTED = {"wm_pages": 5, "wm_nearest": 4, "wm_search": 6, "wm_looks": 7, "wm_look_nearest": 6}
_SILENT = {"wm_within": 3, "wm_table_nearest": 11}


class View(ctypes.Structure):
    """``view`` of ``_kernels.c``: addresses and counts, all of 64 bits."""

    _fields_ = [(name, ctypes.c_int64) for name in (*_READ, *_WRITTEN)]


class Table(ctypes.Structure):
    """``table`` of ``_kernels.c``: addresses and counts, all of 64 bits but for the grid's measures."""

    _fields_ = [(name, ctypes.c_double if name in ("min_x", "min_y", "cell_m") else ctypes.c_int64) for name in _TABLE]


class Look(ctypes.Structure):
    """``look`` of ``_kernels.c``: addresses, a count, and numbers in double precision."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("feature", "dim", "wanted", "heap")),
        *((name, ctypes.c_double) for name in ("wanted2", "cosine", "slack", "k")),
    ]


def address(array: np.ndarray) -> int:
    """Return where a contiguous array lies."""
    at: int = array.__array_interface__["data"][0]
    return at


def ask_of(query: Query) -> tuple[float, ...]:
    """Return ``ask`` of ``_kernels.c``: a query by latent (L2), by pose in a metric map, or by both."""
    x, y, _, yaw = query.place if query.place is not None else (0.0, 0.0, 0.0, 0.0)
    pose_weight = {"latent": 0.0, "pose": 1.0}.get(query.rank, query.pose_weight)
    latent_weight = 0.0 if query.rank == "pose" else 1.0
    radius2, weight_m = query.radius_m**2, query.yaw_weight_m
    return (x, y, radius2, wrap_angle(yaw), weight_m, pose_weight, latent_weight, query.k)


@cache
def load() -> ctypes.CDLL | None:
    """Return the compiled library, or None where the package was built without a compiler."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_kernels{suffix}")
        if path.exists():
            return _declared(ctypes.CDLL(str(path)), path)
    _LOG.warning("built without a C compiler: searches take two to three times as long")
    return None


def _declared(library: ctypes.CDLL, path: Path) -> ctypes.CDLL | None:
    """Return the library with its functions' types, or None where it was built from other sources."""
    if not hasattr(library, "wm_version") or library.wm_version() != VERSION:
        _LOG.warning("%s was built from other sources, so searches take two to three times as long: build again", path)
        return None
    for name, size in {**_COUNTED, **_SILENT}.items():
        function = getattr(library, name)
        function.argtypes = [ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * (size - 2)]
        function.restype = ctypes.c_int64 if name in _COUNTED else None
    return library
