"""Where records lie, apart from what they hold: what undoing a transform needs of them. Shape suffix: N = records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from spatial_memory.embedded.selection import moved_rows, turned_extras
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.store.extras import Extra
from spatial_memory.store.store import Store
from wm_core.memory.errors import StoreError
from wm_core.memory.protocol import Rigid
from wm_core.memory.rows import Rows

_COLUMNS = ("id_N", "x_N", "y_N", "z_N", "yaw_N")


@dataclass(frozen=True)
class Places:
    """Where some records lie.

    Attributes:
        frame_id: Frame of it.
        id_N: Which records, ascending.
        x_N: Of the position [m].
        y_N: Of the position [m].
        z_N: Of the position [m].
        yaw_N: Yaw [rad].
        rotation_N4: Whole rotations, NaN where the yaw says it all; None: it does of all.
    """

    frame_id: str
    id_N: np.ndarray
    x_N: np.ndarray
    y_N: np.ndarray
    z_N: np.ndarray
    yaw_N: np.ndarray
    rotation_N4: np.ndarray | None = None

    @classmethod
    def none(cls) -> Places:
        """Return the places of no records."""
        return cls("", np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0), np.empty(0, np.float32))

    @classmethod
    def of(cls, rows: Rows, frame_id: str) -> Places:
        """Return where rows lie, in their order."""
        id_N, x_N, y_N, z_N, yaw_N = (getattr(rows, name) for name in _COLUMNS)
        return cls(frame_id, id_N, x_N, y_N, z_N, yaw_N, rows.rotation_N4)

    @classmethod
    def joined(cls, parts: Sequence[Places], frame_id: str) -> Places:
        """Return all parts in one, by id."""
        if not parts:
            return cls.none()
        order_N = np.argsort(np.concatenate([part.id_N for part in parts]))
        columns = [np.concatenate([getattr(part, name) for part in parts])[order_N] for name in _COLUMNS]
        id_N, x_N, y_N, z_N, yaw_N = columns
        rotations = [part.rotation_N4 for part in parts if part.rotation_N4 is not None]
        rotation_N4 = np.concatenate(rotations)[order_N] if len(rotations) == len(parts) else None
        return cls(frame_id, id_N, x_N, y_N, z_N, yaw_N, rotation_N4)

    def save(self, path: Path) -> None:
        """Write them to a file.

        Raises:
            OSError: The disk does not take it.
        """
        columns: dict[str, Any] = {name: getattr(self, name) for name in _COLUMNS}
        if self.rotation_N4 is not None:
            columns["rotation_N4"] = self.rotation_N4
        with open(path, "wb") as file:
            np.savez(file, frame_id=np.array(self.frame_id), **columns)

    @classmethod
    def load(cls, path: Path) -> Places:
        """Return what ``save`` wrote.

        Raises:
            StoreError: It cannot be read, or is something else.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                id_N, x_N, y_N, z_N, yaw_N = (file[name] for name in _COLUMNS)
                return cls(str(file["frame_id"]), id_N, x_N, y_N, z_N, yaw_N, file.get("rotation_N4"))
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise StoreError(f"what undo needs cannot be read: {error}") from error

    def put_into(self, rows: Rows, grid: CellGrid) -> Rows:
        """Return those of some rows whose places are known, there."""
        at_N = np.minimum(np.searchsorted(self.id_N, rows.id_N), max(len(self.id_N) - 1, 0))
        known_N = self.id_N[at_N] == rows.id_N if len(self.id_N) else np.zeros(len(rows), bool)
        rows, at_N = rows.take(known_N), at_N[known_N]
        rows.x_N, rows.y_N, rows.z_N, rows.yaw_N = self.x_N[at_N], self.y_N[at_N], self.z_N[at_N], self.yaw_N[at_N]
        rows.cell_N = grid.cells_of(rows.x_N, rows.y_N)
        if rows.rotation_N4 is not None and self.rotation_N4 is not None:
            rows.rotation_N4 = self.rotation_N4[at_N]
        return rows

    def put_back(
        self, parts: Iterable[Rows], back: Rigid | None, store: Store, grid: CellGrid
    ) -> tuple[list[Rows], list[tuple[int, Extra]]]:
        """Return rows where they lay, and the rotations that are more than a yaw, by record.

        Args:
            parts: All rows held, some at a time.
            back: Where it moves those whose places are not known; None: they stay.
            store: Of their rotations.
            grid: Cuts the map.

        Raises:
            PlaceError: One of them would lie nowhere.
        """
        moved: list[Rows] = []
        turned: list[tuple[int, Extra]] = []
        for part in parts:
            known = self.put_into(part, grid)
            turned += _with_rotations(store.extras(known.id_N.tolist()), known)
            moved.append(known)
            if back is not None and len(known) < len(part):
                others = part.take(~np.isin(part.id_N, known.id_N))
                turned += turned_extras(store.extras(others.id_N.tolist()), back)
                moved.append(moved_rows(others, back, grid))
        return [part for part in moved if len(part)], turned


def _with_rotations(extras: Mapping[int, Mapping[float, Extra]], rows: Rows) -> list[tuple[int, Extra]]:
    """Return what of some records' own has a rotation that is more than a yaw, with that of their rows."""
    if rows.rotation_N4 is None:
        return []
    rotations = dict(zip(rows.id_N.tolist(), rows.rotation_N4.tolist()))
    own = [(key, items[0.0]) for key, items in extras.items() if 0.0 in items]
    return [
        (key, item._replace(orientation=tuple(rotations[key]))) for key, item in own if item.orientation is not None
    ]
