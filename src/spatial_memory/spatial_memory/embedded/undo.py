"""Taking back the last clear, delete, transform or restore, also after a restart, without losing what came since."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spatial_memory.embedded.memory import CellMemory
from spatial_memory.embedded.places import Places
from spatial_memory.embedded.undoable import LONGEST_S, Undoable
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.index.pacing import giving_way
from spatial_memory.store.files import IN_MEMORY
from spatial_memory.store.store import Store
from wm_core.databases import open_database
from wm_core.memory.errors import StoreError
from wm_core.memory.protocol import Rigid
from wm_core.memory.record import MemoryRecord

_CHUNK = 1000
_ANY = 10**9
_PLACES = "places.npz"
_FEW, _SHARE = 2000, 0.03
"""Up to so many records, or such a share of all, are kept one by one: beyond, a copy of the whole file is faster."""


class Undo:
    """Keeps what a memory held before its last change that forgets or moves, beside its file.

    Kept is no more than undoing needs: the records that go, where there are few, and of what moves the places alone, in
    a memory that can put records back to places (``places_of``, ``put_places``); else a copy of everything.

    Args:
        memory: The memory.
        path: Its file, or ``:memory:``; then what is kept goes with the process.
        grid: Cuts its map.
    """

    def __init__(self, memory: Undoable, path: str, grid: CellGrid) -> None:
        self._memory = memory
        self._grid = grid
        self._temporary = tempfile.TemporaryDirectory(prefix="undo_") if path == IN_MEMORY else None
        beside = Path(self._temporary.name) / "memory" if self._temporary else Path(path).expanduser().resolve()
        self._folder = beside.with_name(beside.name + ".undo")
        self._next = beside.with_name(beside.name + ".undo-next")
        if (self._next / "change.json").exists():  # ended between the change and its note; undoing neither does harm
            self._promote()

    def close(self) -> None:
        """Let go."""
        if self._temporary is not None:
            self._temporary.cleanup()

    def kept(
        self,
        kind: str,
        change: Callable[[], Any],
        *,
        replaced_by: Path | None = None,
        move: Rigid | None = None,
        session: str = "",
        ids: Sequence[int] | None = None,
    ) -> Any:
        """Return what a change returns, after which it can be taken back; one that met nothing is no change.

        Args:
            kind: What to call it.
            change: The change; returns how many records it met.
            replaced_by: The snapshot that is to be restored.
            move: Where it moves the records to.
            session: Of which records ``move`` is; empty: of all.
            ids: The only records that it concerns; None: any.

        Raises:
            StoreError: There is no room to keep what undoing needs; then nothing changed.
        """
        try:
            shutil.rmtree(self._next, ignore_errors=True)
            self._next.mkdir(parents=True)
            if move is not None and hasattr(self._memory, "places_of"):
                self._memory.places_of(session).save(self._next / _PLACES)
            else:
                self._keep(ids)
            if replaced_by is not None:
                np.save(self._next / "after.npy", np.array(_ids_in(replaced_by), np.int64))
            self._note(kind, move)
        except OSError as error:
            raise StoreError(f"what undo needs cannot be kept, so nothing changed: {error}") from error
        except StoreError as error:
            text = str(error).replace(f"{self._next}/", "")  # where files lie is nothing for peers
            raise StoreError(f"what undo needs cannot be kept, so nothing changed: {text}") from error
        try:
            result = change()
        except StoreError:
            # A server may have it all the same, or will once it is there; a file takes all or nothing.
            if kind == "restore" or hasattr(self._memory, "delete_now"):
                shutil.rmtree(self._next, ignore_errors=True)
            else:
                self._promote()
            raise
        except BaseException:
            shutil.rmtree(self._next, ignore_errors=True)
            raise
        if kind in ("delete", "transform") and not result and not (move and move.frame_id):
            shutil.rmtree(self._next, ignore_errors=True)
        else:
            self._promote()
        return result

    def _keep(self, ids: Sequence[int] | None) -> None:
        """Write the records that a change concerns, or all where those are many, beside the memory."""
        before = self._next / "before"
        if ids is None or len(ids) > max(_FEW, _SHARE * self._memory.stats().memory_count):
            self._memory.snapshot(before)
            return
        with _opened(before, self._grid) as kept:
            for at in giving_way(range(0, len(ids), _CHUNK)):
                kept.insert(self._memory.get(ids[at : at + _CHUNK]))
                _carry(self._memory, kept, ids[at : at + _CHUNK])
            kept.flush()

    def _note(self, kind: str, move: Rigid | None) -> None:
        """Write what is about to change; from then on it can be taken back."""
        for part in self._next.iterdir():
            _synced(part)
        note = {"kind": kind, "move": None if move is None else vars(move)}
        with open(self._next / "change.json", "w", encoding="utf-8") as file:
            json.dump(note, file)
            file.flush()
            os.fsync(file.fileno())
        _synced(self._next)

    def _promote(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._next.rename(self._folder)

    def undo(self) -> tuple[str, int]:
        """Take back the last change and return what it was and how many records there are or came back.

        Raises:
            StoreError: There is nothing to take back, or it cannot be written; then nothing changed.
            RecordError: What is held now does not go with what was, as latents of another encoder.
        """
        try:
            note = json.loads((self._folder / "change.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError("there is nothing to undo") from error
        kind, move = note["kind"], note["move"] and Rigid(**note["move"])
        if (self._folder / _PLACES).exists():
            count = self._move_back(move)
        elif kind == "delete" or (kind == "clear" and not self._has_room()):
            count = self._put_back()
        elif kind == "clear":
            count = len(_ids_in(self._folder / "before"))
            self._go_back(None)
        else:
            count = self._go_back(move)
        self._memory.flush(LONGEST_S)
        shutil.rmtree(self._folder, ignore_errors=True)
        return kind, count

    def _has_room(self) -> bool:
        """Return whether what was and what came since fit into the memory together."""
        stats = self._memory.stats()
        return stats.memory_count + len(_ids_in(self._folder / "before")) <= stats.capacity

    def _move_back(self, move: Rigid) -> int:
        """Put what moved where it lay; what came since moves with its frame."""
        places = Places.load(self._folder / _PLACES)
        # Ended between the move and its note, or between taking it back and forgetting it: it is in its frame already.
        has_moved = bool(move.frame_id) and self._memory.stats().frame_id != places.frame_id
        memory: Any = self._memory
        return int(memory.put_places(places, _opposite(move, places.frame_id) if has_moved else None))

    def _put_back(self) -> int:
        """Put back what is not held any more; what is held stays as it is."""
        held = set(self._memory.held_ids())
        with _opened(self._folder / "before", self._grid) as before:
            gone = [key for key in before.held_ids() if key not in held]
            for at in range(0, len(gone), _CHUNK):
                self._memory.insert(before.get(gone[at : at + _CHUNK]))
                _carry(before, self._memory, gone[at : at + _CHUNK])
        return len(gone)

    def _go_back(self, move: Rigid | None) -> int:
        """Replace everything by what was, and what came since, in one step."""
        known = set(_ids_in(self._folder / "before"))
        after = self._folder / "after.npy"
        if after.exists():
            known |= set(np.load(after).tolist())
        newer = self._memory.get([key for key in self._memory.held_ids() if key not in known])
        if not newer:
            return self._memory.restore(self._folder / "before", is_own=True)
        if move is not None and move.frame_id:
            newer = _moved_back(newer, move, self._frame_before(), self._grid)
        merged = self._folder / "merged"
        shutil.copy(self._folder / "before", merged)
        with _opened(merged, self._grid) as memory:
            for at in range(0, len(newer), _CHUNK):
                memory.insert(newer[at : at + _CHUNK])
                _carry(self._memory, memory, [record.id for record in newer[at : at + _CHUNK]])
            whole = self._folder / "whole"
            memory.snapshot(whole)
        return self._memory.restore(whole, is_own=True)

    def _frame_before(self) -> str:
        with _opened(self._folder / "before", self._grid) as before:
            return before.stats().frame_id


def _carry(source: Any, target: Any, ids: Sequence[int]) -> None:
    """Keep the pictures of some records elsewhere, too, where both keep any."""
    if hasattr(source, "thumbnails") and hasattr(target, "thumbnails"):
        target.thumbnails.keep(source.thumbnails.get(ids))


def _opened(path: Path, grid: CellGrid) -> contextlib.closing[CellMemory]:
    return contextlib.closing(CellMemory(Store(path), grid, capacity=_ANY))


def _ids_in(path: Path) -> list[int]:
    """Return the ids of all records of a snapshot; none where it cannot be read, which restoring it will say."""
    try:
        with contextlib.closing(open_database(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return [row[0] for row in connection.execute("SELECT id FROM record")]
    except sqlite3.Error:
        return []


def _moved_back(records: Sequence[MemoryRecord], move: Rigid, frame_id: str, grid: CellGrid) -> list[MemoryRecord]:
    """Return records where the opposite of a transform moves them."""
    with contextlib.closing(CellMemory(Store(), grid, capacity=_ANY)) as memory:
        memory.insert(records)
        memory.transform(_opposite(move, frame_id))
        return memory.everything()


def _opposite(move: Rigid, frame_id: str) -> Rigid:
    """Return what takes a transform back, into the frame that was."""
    back = Rigid(0.0, 0.0, 0.0, -move.yaw)
    x, y, z, _ = back.apply_one(-move.x, -move.y, -move.z, 0.0)
    return Rigid(x, y, z, -move.yaw, frame_id)


def _synced(path: Path) -> None:
    """Have a file, or the names in a folder, on disk before anything that rests on it."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
