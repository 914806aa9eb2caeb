"""The files of a memory, damaged on purpose and put back."""

from __future__ import annotations

import random
from pathlib import Path

PARTS = ("", "-wal", "-shm", ".ledger", ".lock")
_BYTES = 8


def damaged(path: Path, rng: random.Random) -> dict[Path, bytes]:
    """Write random bytes into one of a memory's files and return what all of them held before.

    Args:
        path: Of the memory, which nobody uses now.
        rng: Decides.
    """
    kept = {part: part.read_bytes() for suffix in PARTS if (part := Path(f"{path}{suffix}")).exists()}
    part = rng.choice(list(kept))
    content = bytearray(kept[part])
    for _ in range(min(_BYTES, len(content))):
        content[rng.randrange(len(content))] = rng.randrange(256)
    part.write_bytes(content)
    return kept


def put_back(path: Path, kept: dict[Path, bytes]) -> None:
    """Have a memory's files hold what they held."""
    for suffix in PARTS:
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    for part, content in kept.items():
        part.write_bytes(content)
