"""Where snapshots that peers ask for lie: under names, in one folder, and never over anything else."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from wm_core.memory.errors import StoreError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
# What a memory, its database, and a snapshot that is being written, have beside the file of another name.
_BESIDE = ("-wal", "-shm", "-journal", ".new", ".ledger", ".lock")


def checked_name(text: str) -> str:
    """Return the name of a snapshot.

    Raises:
        StoreError: It is empty, a path, a name that belongs to another snapshot's file, or otherwise none.
    """
    check_beside(text)
    if not _NAME.fullmatch(text):
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise StoreError(
            f"{shown!r} is no name of a snapshot: up to 100 letters, digits and _ . - are, no path; it lies in "
            "snapshot_dir"
        )
    return text


def check_beside(name: str) -> None:
    """Refuse a name that belongs to another snapshot's, backup's or memory's file.

    Raises:
        StoreError: Names what none ends in.
    """
    if name.lower().endswith(_BESIDE):
        raise StoreError(f"no snapshot's name ends in {', '.join(_BESIDE)}: those are files beside another one")


class SnapshotFolder:
    """The one folder in which peers may have snapshots written and read.

    Args:
        folder: Made when the first snapshot is written, for its owner only.
        most: Most snapshots that may lie there.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder.expanduser()
        self._most = most

    def to_write(self, name: str) -> Path:
        """Return where a snapshot of a name may be written.

        Raises:
            StoreError: It is no name, too many lie there, or the folder cannot be made.
        """
        path = self._folder / checked_name(name)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            held = {each.name for each in self._folder.iterdir() if not each.name.endswith(".new")}
        except OSError as error:
            raise StoreError(f"snapshot_dir cannot be used: {error.strerror}") from error
        if name not in held and len(held) >= self._most:
            raise StoreError(f"snapshot_dir holds {len(held)} files, snapshot_limit is {self._most}: use a name again")
        return path

    def to_read(self, name: str) -> Path:
        """Return where the snapshot of a name lies.

        Raises:
            StoreError: There is none.
        """
        path = self._folder / checked_name(name)
        try:
            is_there = stat.S_ISREG(path.lstat().st_mode)
        except OSError:
            is_there = False
        if not is_there:
            raise StoreError(f"there is no snapshot {name}")
        return path
