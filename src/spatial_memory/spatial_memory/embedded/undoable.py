"""What taking back needs of a memory, and what changing one needs of taking back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from wm_core.memory.protocol import Rigid, Stats
from wm_core.memory.record import MemoryRecord

LONGEST_S = 600.0
"""Longest that a change of a whole memory may take to become durable [s]."""


class Undoable(Protocol):
    """What of a memory undoing needs."""

    def held_ids(self) -> list[int]:
        """Return the ids of all records."""

    def get(self, ids: Sequence[int]) -> list[MemoryRecord]:
        """Return records by id."""

    def insert(self, records: Sequence[MemoryRecord]) -> list[int]:
        """Keep records."""

    def stats(self) -> Stats:
        """Return how the memory is doing."""

    def snapshot(self, path: Path) -> int:
        """Write everything to one file."""

    def restore(self, path: Path, *, is_own: bool = False) -> int:
        """Replace everything by what a snapshot holds."""

    def flush(self, timeout_s: float = 30.0) -> None:
        """Return once everything so far is durable."""


class TakesBack(Protocol):
    """Keeps what a memory held before its last change, as ``Undo`` does."""

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
        """Return what a change returns, after which it can be taken back."""

    def undo(self) -> tuple[str, int]:
        """Take back the last change and return what it was and how many records there are or came back."""

    def close(self) -> None:
        """Let go."""
