"""What killed processes leave in shared memory: segments of Fast DDS that nobody holds, half a megabyte each."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from pathlib import Path

_FOLDER = Path("/dev/shm")
# A segment has a name of its own; who made it holds a lock on the file beside it for as long as it lives.
_LOCK = re.compile(r"(fast(?:dds|rtps)_[0-9a-f]{16})_el")
# A process that is just starting has its file, and no lock yet.
_YOUNG_S = 30.0


def clean_shared_memory(folder: Path = _FOLDER) -> int:
    """Remove this user's segments whose process is gone, and return how many those were."""
    cleaned = 0
    with contextlib.suppress(OSError):
        for lock in sorted(folder.iterdir()):
            named = _LOCK.fullmatch(lock.name)
            if named is not None and _is_left(lock):
                for part in (folder / named[1], lock):
                    part.unlink(missing_ok=True)
                cleaned += 1
    return cleaned


def _is_left(lock: Path) -> bool:
    """Return whether nobody holds a lock file of this user's any more."""
    try:
        status = lock.stat()
        if status.st_uid != os.getuid() or time.time() - status.st_mtime < _YOUNG_S:
            return False
        with open(lock, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except OSError:
        return False
