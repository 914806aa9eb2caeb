"""Taking back the last clear, delete, transform or restore, also after a restart, without losing what came since."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from spatial_memory.embedded.memory import CellMemory
from spatial_memory.embedded.places import Places
from spatial_memory.embedded.undoable import LONGEST_S, Undoable
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.index.pacing import giving_way
from spatial_memory.store.files import IN_MEMORY, remove
from spatial_memory.store.store import Store
from wm_core.databases import open_database
from wm_core.memory.errors import BackendAwayError, CorruptStoreError, StoreError
from wm_core.memory.protocol import Forget, Rigid
from wm_core.memory.record import MemoryRecord

_CHUNK = 1000
_ANY = 10**9
_PLACES, _AFTER, _CHANGE = "places.npz", "after.npy", "change.json"
_LOG = logging.getLogger(__name__)
_KINDS = ("clear", "delete", "transform", "restore")
_DAMAGED = "what was kept of the last change is damaged: it is not taken back"
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
        if (self._next / _CHANGE).exists():  # ended between the change and its note; undoing neither does harm
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
                np.save(self._next / _AFTER, np.array(_ids_in(replaced_by), np.int64))
            self._note(kind, move)
        except OSError as error:
            raise StoreError(f"what undo needs cannot be kept, so nothing changed: {error.strerror}") from error
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
        note: dict[str, Any] = {"kind": kind, "move": None if move is None else vars(move), "sums": _sums(self._next)}
        note["checksum"] = _checksum(note)
        with open(self._next / _CHANGE, "w", encoding="utf-8") as file:
            json.dump(note, file)
            file.flush()
            os.fsync(file.fileno())
        _synced(self._next)

    def _promote(self) -> None:
        """Let what is kept of the change that was just made be what is taken back; the disk may take that later."""
        try:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._next.rename(self._folder)
        except OSError as error:
            _LOG.warning("%s cannot become %s yet: %s", self._next, self._folder.name, error)

    def undo(self) -> tuple[str, int]:
        """Take back the last change and return what it was and how many records there are or came back.

        Raises:
            StoreError: There is nothing to take back, what was kept is damaged, or the disk does not take it; then
                nothing changed.
            RecordError: What is held now does not go with what was, as latents of another encoder.
        """
        if (self._next / _CHANGE).exists():
            self._promote()
            if (self._next / _CHANGE).exists():
                raise StoreError("the last change cannot be taken back at present: the disk does not take it")
        kind, move = self._noted()
        try:
            count = self._taken_back(kind, move)
        except OSError as error:
            raise StoreError(f"the last {kind} is not taken back, and nothing changed: {error.strerror}") from error
        except CorruptStoreError as error:
            raise StoreError(f"{_DAMAGED} ({error.reason})") from error
        except StoreError as error:
            error.args = (str(error).replace(f"{self._folder}/", ""),)  # where files lie is nothing for peers
            raise
        shutil.rmtree(self._folder, ignore_errors=True)
        return kind, count

    def _noted(self) -> tuple[str, Rigid | None]:
        """Return what the last change was, and where it moved the records to.

        Raises:
            StoreError: There was none, or its note cannot be read.
        """
        try:
            note = json.loads((self._folder / _CHANGE).read_text(encoding="utf-8"))
            kind, move = note["kind"], note["move"] and Rigid(**note["move"])
            # Of a former version's there are none.
            is_whole = note.pop("checksum", None) in (None, _checksum(note))
            is_whole = is_whole and note.get("sums") in (None, _sums(self._folder))
        except FileNotFoundError as error:
            raise StoreError("there is nothing to undo") from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(_DAMAGED) from error
        if not is_whole or kind not in _KINDS or (kind == "transform") != (move is not None):
            raise StoreError(_DAMAGED)
        return kind, move

    def _taken_back(self, kind: str, move: Rigid | None) -> int:
        """Return how many records there are or came back once a change is taken back for good."""
        if (self._folder / _PLACES).exists() and move is not None:
            count = self._move_back(move)
        elif kind == "delete" or (kind == "clear" and not self._has_room()):
            return self._put_back()
        elif kind == "clear":
            count = len(_ids_in(self._folder / "before"))
            self._go_back(None)
        else:
            count = self._go_back(move)
        self._memory.flush(LONGEST_S)
        return count

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
        """Put back what is not held any more, for good or not at all; what is held stays as it is."""
        held, memory = set(self._memory.held_ids()), cast(Any, self._memory)
        with _opened(self._folder / "before", self._grid) as before:
            gone = [key for key in before.held_ids() if key not in held]
            for at in range(0, len(gone), _CHUNK):
                memory.insert(before.get(gone[at : at + _CHUNK]))
                _carry(before, memory, gone[at : at + _CHUNK])
        try:
            memory.flush(LONGEST_S)
        except BackendAwayError:
            raise  # they are durable here and will reach the server
        except StoreError:
            memory.delete(Forget(ids=tuple(gone)))
            raise
        return len(gone)

    def _go_back(self, move: Rigid | None) -> int:
        """Replace everything by what was, and what came since, in one step."""
        known = set(_ids_in(self._folder / "before"))
        after = self._folder / _AFTER
        if after.exists():
            known |= set(np.load(after).tolist())
        newer = self._memory.get([key for key in self._memory.held_ids() if key not in known])
        if not newer:
            return self._memory.restore(self._folder / "before", is_own=True)
        if move is not None and move.frame_id:
            newer = _moved_back(newer, move, self._frame_before(), self._grid)
        merged, whole = self._folder / "merged", self._folder / "whole"
        for former in (merged, whole):
            remove(former)  # of an earlier try, with the ledger that tells of it
        shutil.copy(self._folder / "before", merged)
        with _opened(merged, self._grid) as memory:
            for at in range(0, len(newer), _CHUNK):
                memory.insert(newer[at : at + _CHUNK])
                _carry(self._memory, memory, [record.id for record in newer[at : at + _CHUNK]])
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


def _sums(folder: Path) -> dict[str, int]:
    """Return checksums of what is kept and has none of its own."""
    return {name: zlib.crc32((folder / name).read_bytes()) for name in (_AFTER, _PLACES) if (folder / name).exists()}


def _checksum(note: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(note, sort_keys=True).encode())


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
