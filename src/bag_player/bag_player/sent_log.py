"""What a source of input (bag player, simulated robot) tells of what it sent: JSON lines on a file descriptor.

The demo accounts for every frame with it, so it is written as things happen and survives the source's death.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SentFrame:
    """One camera frame: its stamp [ns] and when it was published on the steady clock [ns]."""

    stamp_ns: int
    steady_ns: int


class SentLog:
    """Counts messages by topic and writes frames as they are sent.

    Args:
        descriptor: Open file descriptor to write to, or None to only count.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._descriptor = descriptor

    def frame(self, topic: str, stamp_ns: int, steady_ns: int) -> None:
        """Counts a camera frame and writes it down."""
        self.counts[topic] += 1
        self._write({"frame": [stamp_ns, steady_ns]})

    def other(self, topic: str) -> None:
        """Counts any other message."""
        self.counts[topic] += 1

    def progress(self, fraction: float) -> None:
        """Writes how much of the input has been sent, 0 to 1."""
        self._write({"progress": round(fraction, 4)})

    def note(self, key: str, value: Any) -> None:
        """Writes something else worth knowing."""
        self._write({key: value})

    def close(self) -> None:
        """Writes the counts; nothing may follow."""
        self._write({"sent": dict(self.counts)})

    def _write(self, item: dict[str, Any]) -> None:
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, (json.dumps(item) + "\n").encode())
        except BrokenPipeError:
            self._descriptor = None


def read_items(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yields what was written; a last line that was cut off is left out."""
    for line in lines:
        if line.endswith("\n"):
            yield json.loads(line)
