"""What a memory holds, in outline: enough to draw it, without its latents.

Shape suffixes: C = cells, N = memories.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from wm_core.memory.present import newest_ns
from wm_core.memory.record import MemoryRecord


def _none(*shape: int, kind: type = np.float64) -> np.ndarray:
    return np.zeros(shape, kind)


@dataclass(frozen=True)
class Traces:
    """Some memories, by ascending id.

    Attributes:
        id_N: Their ids.
        place_N3: Where: x, y, z.
        stamp_N: When [ns].
        session_N: Numbers of their sessions.
        surprise_N: How wrong the forecast was; NaN: not known.
    """

    id_N: np.ndarray = field(default_factory=lambda: _none(0, kind=np.int64))
    place_N3: np.ndarray = field(default_factory=lambda: _none(0, 3))
    stamp_N: np.ndarray = field(default_factory=lambda: _none(0, kind=np.int64))
    session_N: np.ndarray = field(default_factory=lambda: _none(0, kind=np.int64))
    surprise_N: np.ndarray = field(default_factory=lambda: _none(0))

    def __len__(self) -> int:
        return len(self.id_N)


@dataclass(frozen=True)
class Overview:
    """A memory in outline.

    Attributes:
        frame_id: Of its places; empty where it holds nothing, or nobody said.
        memory_count: How many memories it holds.
        newest_ns: Stamp of the newest [ns]; 0 where it holds nothing.
        cell_C: Cells that hold something, uint64.
        count_C: How many memories each holds.
        newest_C: Stamp of the newest in each [ns].
        all: All memories; none where it holds more than was asked for.
        newest: Those that came last, as many as were asked for.
    """

    frame_id: str = ""
    memory_count: int = 0
    newest_ns: int = 0
    cell_C: np.ndarray = field(default_factory=lambda: _none(0, kind=np.uint64))
    count_C: np.ndarray = field(default_factory=lambda: _none(0, kind=np.int64))
    newest_C: np.ndarray = field(default_factory=lambda: _none(0, kind=np.int64))
    all: Traces = field(default_factory=Traces)
    newest: Traces = field(default_factory=Traces)


def overview_of(records: Sequence[MemoryRecord], frame_id: str, most: int, last: int) -> Overview:
    """Return the outline of records; their cells are set.

    Args:
        records: All of a memory.
        frame_id: Of their places.
        most: ``Overview.all`` holds at most so many, or none.
        last: ``Overview.newest`` holds so many.
    """
    records = sorted(records, key=lambda record: record.id)
    counts = Counter(record.h3_cell for record in records)
    newest = {record.h3_cell: -(2**63) for record in records}
    for record in records:
        newest[record.h3_cell] = max(newest[record.h3_cell], record.stamp_ns)
    cells = sorted(counts)
    sessions = {name: number for number, name in enumerate(dict.fromkeys(record.session for record in records))}
    return Overview(
        frame_id,
        len(records),
        newest_ns(np.array(list(newest.values()), np.int64)),
        np.array(cells, np.uint64),
        np.array([counts[cell] for cell in cells], np.int64),
        np.array([newest[cell] for cell in cells], np.int64),
        _traces(records if len(records) <= most else [], sessions),
        _traces(records[-last:] if last else [], sessions),
    )


def _traces(records: Sequence[MemoryRecord], sessions: dict[str, int]) -> Traces:
    return Traces(
        np.array([record.id for record in records], np.int64),
        np.array([(record.x, record.y, record.z) for record in records]).reshape(-1, 3),
        np.array([record.stamp_ns for record in records], np.int64),
        np.array([sessions[record.session] for record in records], np.int64),
        np.array([record.surprise for record in records], np.float64),
    )
