"""Folders for what is being made in a profile: held while their process lives, and removed by the next one after that.

A process that was killed removes nothing; a recording or a training set that it leaves is as large as what it was of.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Whose process is only just being started is not held yet.
_YOUNG_S = 60.0


@contextmanager
def scratch_folder(folder: Path, prefix: str) -> Iterator[Path]:
    """Give a new folder in ``folder``, which is made; it is removed afterwards, as is what killed processes left.

    Args:
        folder: Where it is made.
        prefix: What its name begins with, as that of no other kind does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_left(folder, prefix)
    with tempfile.TemporaryDirectory(dir=folder, prefix=prefix) as path, held(Path(path)):
        yield Path(path)


@contextmanager
def held(path: Path) -> Iterator[int]:
    """Hold a folder by a descriptor: whoever inherits that goes on holding it for as long as it lives.

    Raises:
        BlockingIOError: Somebody else does.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def remove_left(folder: Path, prefix: str) -> None:
    """Remove the folders of a kind whose process was ended before it could."""
    for path in folder.glob(f"{prefix}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _YOUNG_S:
                with held(path):
                    shutil.rmtree(path)
