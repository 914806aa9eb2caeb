"""Whether the files under a connection are still those that were opened: a removed one can be written for long."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from wm_core.memory.errors import StoreLockedError

_BESIDE = ("-wal", "-shm", ".lock")
_Place = tuple[int, int] | None
_Content = tuple[int, int]


class Identity:
    """Holds a store's file, so that no other process opens it and its number is given to no other file.

    Closing it would end the locks of all connections to the file: they are closed first.

    Args:
        path: The file.

    Raises:
        StoreLockedError: Another process holds it.
        OSError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDONLY)
        try:
            # Beside the lock file, which can be taken away.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise StoreLockedError(f"{path} is held by another process") from error
        self._beside: dict[str, _Place] = {}
        self._content: _Content = self.content()

    def close(self) -> None:
        """Let go."""
        os.close(self._file)

    def content(self) -> _Content:
        """Return size and time of the last change of what is open."""
        status = os.fstat(self._file)
        return status.st_size, status.st_mtime_ns

    def accept(self) -> None:
        """Take what the files are now for what this process made of them."""
        self._content = self.content()
        for suffix in _BESIDE:
            if self._beside.get(suffix) is None:
                self._beside[suffix] = _place(Path(f"{self._path}{suffix}"))

    def difference(self) -> str:
        """Return what happened to the files: ``missing``, ``replaced``, ``log`` or ``changed``; empty: nothing."""
        status = os.fstat(self._file)
        there = _place(self._path)
        if there is None:
            return "missing"
        if there != (status.st_dev, status.st_ino):
            return "replaced"
        if any(place and _place(Path(f"{self._path}{suffix}")) != place for suffix, place in self._beside.items()):
            return "log"
        return "changed" if self.content() != self._content else ""


def _place(path: Path) -> _Place:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
