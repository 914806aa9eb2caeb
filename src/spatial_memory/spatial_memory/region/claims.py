"""What a region's file says of itself, checked before anything is made, unpacked or computed by it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from spatial_memory.region.contents import Manifest
from wm_core.bounds import LONGEST_NAME, MOST_VALUES

MOST_ROWS = 100_000_000
_SIZES = {"dim": (0, MOST_VALUES), "action_dim": (-1, MOST_VALUES), "feature_dim": (0, MOST_VALUES),
          "count": (0, MOST_ROWS)}  # fmt: skip
_NAMES = ("origin", "encoder_id", "frame_id", "feature_id", "grid")
_KINDS = ("<f8", "<f4", "<i8", "<i4", "|i1", "|u1", "|b1")
_HOW = ("plain", "bytes", "steps")
_MOST_COLUMNS, _MOST_AXES = 64, 2
_SHOWN = 60


@dataclass(frozen=True)
class Column:
    """How one column lies in the file.

    Attributes:
        name: Which.
        kind: Type of its values.
        shape: Of the whole column.
        how: ``plain``, ``bytes`` or ``steps``.
        length: Bytes in the file.
        checksum: CRC-32 of those.
    """

    name: str
    kind: np.dtype
    shape: tuple[int, ...]
    how: str
    length: int
    checksum: int

    @property
    def size(self) -> int:
        """Bytes once it is unpacked."""
        return math.prod(self.shape) * self.kind.itemsize


def claimed(said: Any, version: int) -> tuple[Manifest, list[Column]]:
    """Return what a manifest says, and which columns follow it.

    Args:
        said: As JSON gave it.
        version: Of the format that is read.

    Raises:
        ValueError: It is no manifest, or one of something that cannot be.
        KeyError: It lacks an entry.
    """
    if not isinstance(said, dict):
        raise ValueError("its manifest is no object")
    if said["version"] != version:
        raise ValueError(f"it is of version {said['version']!r:.{_SHOWN}}, this reads {version}")
    for name, (least, most) in _SIZES.items():
        _whole(said[name], name, least, most)
    for name in (*_NAMES, "basis"):
        if not isinstance(said[name], str) or (name in _NAMES and len(said[name]) > LONGEST_NAME):
            raise ValueError(f"{name} is {said[name]!r:.{_SHOWN}}")
    sessions, area, columns = (_list(said[name], name) for name in ("sessions", "area", "columns"))
    if not all(isinstance(each, str) for each in sessions) or len(set(sessions)) != len(sessions):
        raise ValueError("sessions are no names, or the same twice")
    if not all(isinstance(each, int | float) for each in area):
        raise ValueError("area is no numbers")
    if len(columns) > _MOST_COLUMNS:
        raise ValueError(f"it has {len(columns)} columns")
    entries = {**said, "sessions": tuple(sessions), "area": tuple(area)}
    manifest = Manifest(**{each.name: entries[each.name] for each in fields(Manifest)})
    return manifest, [_column(each) for each in columns]


def _column(about: Any) -> Column:
    if not isinstance(about, Mapping) or not isinstance(about["name"], str):
        raise ValueError(f"{about!r:.{_SHOWN}} is no column")
    name = str(about["name"])[:_SHOWN]
    shape = tuple(_whole(each, f"a side of {name}", 0, MOST_ROWS) for each in _list(about["shape"], name))
    if about["type"] not in _KINDS or not 0 < len(shape) <= _MOST_AXES:
        raise ValueError(f"{name} is no column")
    kind = np.dtype(about["type"])
    if about["how"] not in _HOW or (about["how"] == "steps" and kind.itemsize != np.dtype(np.int64).itemsize):
        raise ValueError(f"{name} is packed in a way that is not known here")
    length = _whole(about["bytes"], f"the length of {name}", 0, 2**62)
    return Column(name, kind, shape, about["how"], length, _whole(about["crc32"], f"the checksum of {name}", 0, 2**32))


def _whole(value: Any, what: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{what} is {value!r:.{_SHOWN}}, expected a whole number of {least} to {most}")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{what} is {value!r:.{_SHOWN}}, expected a list")
    return value
