"""Successors in RAM beside their records, as the store packs them, so that an answer needs no database.

As many as fit: two per record, for the first pages up to a limit. The store knows all of them.

Shape suffixes: N = records, W = bytes held per record.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from spatial_memory.index.columns import HELD, PAGE, Columns
from spatial_memory.index.idmap import IdMap

MOST_BYTES = 512 << 20
"""Most RAM that successors take."""


def _fits(columns: Columns, slot: int, body: bytes) -> bool:
    page_bytes = PAGE * HELD * columns.successor_size
    if not isinstance(body, bytes):
        return False  # damaged; the store says so when it is asked
    whole = len(body) % columns.successor_size == 0 and len(body) <= HELD * columns.successor_size
    return whole and slot // PAGE * page_bytes < MOST_BYTES


def _size(body: object) -> int:
    return len(body) if isinstance(body, bytes) else -1


def hold(columns: Columns, slot: int, body: bytes, *, is_whole: bool = False) -> None:
    """Hold all that followed the record in a slot, where it fits; its checksums are looked at unless it is whole."""
    fits = _fits(columns, slot, body)
    columns.touch(np.array([slot]))
    columns.flat("successors_whole")[slot] = is_whole and fits
    if fits:
        columns.flat("successors")[slot, : len(body)] = np.frombuffer(body, np.uint8)
    columns.flat("successor_count")[slot] = 1 + len(body) // columns.successor_size if fits else 0


def hold_more(columns: Columns, slot: int, body: bytes) -> None:
    """Hold what also followed the record in a slot, where it fits."""
    count = int(columns.flat("successor_count")[slot])
    if count:
        held = (count - 1) * columns.successor_size
        is_whole = bool(columns.flat("successors_whole")[slot])
        hold(columns, slot, columns.flat("successors")[slot, :held].tobytes() + body, is_whole=is_whole)


def hold_all(columns: Columns, ids: IdMap, chunks: Iterable[Sequence[tuple[int, bytes]]]) -> None:
    """Hold the successors of all records, as the store gives them: ids and bodies."""
    width = HELD * columns.successor_size
    columns.columns["successors_whole"][:] = 0
    columns.columns["successor_count"][: min(columns.page_count, MOST_BYTES // (PAGE * width))] = 1
    # Whole rows at once: many times faster than byte by byte.
    whole_N = columns.flat("successors").view(f"V{width}")[:, 0]
    for rows in chunks:
        keys, bodies = zip(*rows)
        slots_N = ids.get_many(np.array(keys, np.int64))
        sizes = map(len, bodies) if set(map(type, bodies)) == {bytes} else [_size(body) for body in bodies]
        is_full_N = np.fromiter(sizes, np.int64, len(bodies)) == width
        is_full_N &= (slots_N >= 0) & (slots_N // PAGE * PAGE * width < MOST_BYTES)
        full = bodies if is_full_N.all() else list(itertools.compress(bodies, is_full_N))
        whole_N[slots_N[is_full_N]] = np.frombuffer(b"".join(full), whole_N.dtype)
        columns.flat("successor_count")[slots_N[is_full_N]] = 1 + HELD
        for at in np.flatnonzero(~is_full_N & (slots_N >= 0)).tolist():
            hold(columns, int(slots_N[at]), bodies[at])


def held_times(columns: Columns, slots_N: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Return the real time differences of the successors in RAM [s], and the ids of the records of which none is."""
    count_N = columns.flat("successor_count")[slots_N]
    times = []
    for place in range(HELD):
        at = place * columns.successor_size + 8  # behind the horizon
        some_N = slots_N[count_N > place + 1]
        times.append(np.ascontiguousarray(columns.flat("successors")[some_N, at : at + 8]).view("<f8").reshape(-1))
    return np.concatenate(times), columns.flat("id")[slots_N[count_N == 0]].tolist()


def recall(columns: Columns, slots_N: np.ndarray, ids: Sequence[int]) -> tuple[list[tuple[int, bytes]], list[int]]:
    """Return ids and packed successors of the records that they are held of, and the ids of the others."""
    size = columns.successor_size
    body = columns.flat("successors").take(slots_N, axis=0).tobytes()
    held, others = [], []
    start = 0
    for record_id, count in zip(ids, columns.flat("successor_count")[slots_N].tolist()):
        if count:
            held.append((record_id, body[start : start + (count - 1) * size]))
        else:
            others.append(record_id)
        start += HELD * size
    return held, others
