"""What killed processes leave in Fast DDS's shared memory: segments that nobody holds, and ports that are half made.

A segment is half a megabyte each. A port that its maker did not finish is worse: whoever is next to open it, as the
participant of the same number in the same domain, waits for the finished one inside of ``create_node``, without end.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sys
import time
from pathlib import Path

_FOLDER = Path("/dev/shm")
# A segment has a name of its own; who made it holds a lock on the file beside it for as long as it lives.
_LOCK = re.compile(r"(fast(?:dds|rtps)_[0-9a-f]{16})_el")
_PORT = re.compile(r"fast(?:dds|rtps)_port\d+")
# A process that is just starting has its file, and no lock yet.
_YOUNG_S = 30.0
# A port begins with this as soon as it is made (boost.interprocess, managed_open_or_create_impl), which takes far less
# than the seconds below.
_MADE = (2).to_bytes(4, sys.byteorder)
_MAKING_S = 1.0


def clean_shared_memory(folder: Path = _FOLDER) -> int:
    """Remove this user's segments whose process is gone and ports that are half made, and return how many those were.

    Before ``rclpy.init``: what is half made and younger than a second is waited for.
    """
    cleaned = 0
    with contextlib.suppress(OSError):
        for file in sorted(folder.iterdir()):
            lock = _LOCK.fullmatch(file.name)
            if lock is not None and _is_left(file):
                parts = (folder / lock[1], file)
            elif _PORT.fullmatch(file.name) is not None and _is_half_made(file):
                parts = (file, folder / f"sem.{file.name}_mutex")
            else:
                continue
            for part in parts:
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


def _is_half_made(port: Path) -> bool:
    """Return whether a port of this user's was not finished by who began it."""
    try:
        status = port.stat()
        if status.st_uid != os.getuid() or _begins_as_made(port):
            return False
        time.sleep(max(min(status.st_mtime + _MAKING_S - time.time(), _MAKING_S), 0.0))
        return not _begins_as_made(port)
    except OSError:
        return False


def _begins_as_made(port: Path) -> bool:
    with open(port, "rb") as file:
        return file.read(len(_MADE)) == _MADE
