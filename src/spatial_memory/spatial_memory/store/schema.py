"""What is asked of the tables of a durable memory, and rows to and from them.

Shape suffixes: N = records, D = latent size, A = action size.
"""

from __future__ import annotations

import functools
import itertools
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from wm_core.bounds import MOST_VALUES
from wm_core.memory.errors import CorruptStoreError
from wm_core.memory.record import NO_FEATURE, Successor
from wm_core.memory.rows import Rows

Row = tuple[Any, ...]
"""A row of a table, as SQLite gives and takes it."""
TABLES = ("meta", "session", "record", "successor", "extra", "thumbnail")
# Updates, not replacements: the tally counts insertions.
PUT_RECORD = "INSERT INTO record VALUES (?,?) ON CONFLICT (id) DO UPDATE SET body = excluded.body"
# What followed a record comes at different times, so each is appended to those before.
PUT_SUCCESSOR = """INSERT INTO successor VALUES (?,?)
                   ON CONFLICT (record) DO UPDATE SET body = CAST(body || excluded.body AS BLOB)"""
PUT_META = "INSERT OR REPLACE INTO meta VALUES (?,?,?)"
PUT_SESSION = "INSERT OR REPLACE INTO session VALUES (?,?,?)"
DROP_RECORD = "DELETE FROM record WHERE id = ?"
DROP_SUCCESSORS = "DELETE FROM successor WHERE record = ?"
GET_RECORDS = "SELECT id, body FROM record"
GET_SUCCESSORS = "SELECT record, body FROM successor"
_TIMES = struct.Struct("<dd")
WHOLE = 0x2144DF1C
"""The CRC-32 of anything that is followed by its own."""
GET_TALLY = "SELECT rows, keys FROM tally WHERE name = ?"
TALLY_DIFFERENCES = "SELECT name, rows, keys FROM tally EXCEPT SELECT name, rows, keys FROM snapshot.tally"
GET_META = "SELECT key, value, checksum FROM meta"
TOLD_ANEW = frozenset({"next_id", "commit", "grid"})
"""Words of a store's description that can be told again; each of the others is kept twice."""
COPY_OF = "copy of "
GET_SESSIONS = "SELECT number, name, checksum FROM session"


class Sizes(NamedTuple):
    """What a store's description says of the size of its records.

    Attributes:
        dim: Latent size D; 0 while that is open.
        action_dim: Action size A; -1 while that is open.
        feature_dim: Feature size F; 0 while that is open.
    """

    dim: int = 0
    action_dim: int = -1
    feature_dim: int = 0


def sizes_in(meta: Mapping[str, str]) -> Sizes:
    """Return the sizes that a store's description names.

    Raises:
        CorruptStoreError: They are no numbers, or none that can be.
    """
    open_yet = Sizes()
    try:
        sizes = Sizes(*(int(meta.get(name, usual)) for name, usual in open_yet._asdict().items()))
    except (ValueError, TypeError) as error:
        raise CorruptStoreError(f"the store's description is damaged: {error}") from error
    if not all(least <= size <= MOST_VALUES for least, size in zip(open_yet, sizes)):
        text = ", ".join(f"{name} {size}" for name, size in sizes._asdict().items())
        raise CorruptStoreError(f"the store's description is damaged: {text}")
    return sizes


def checksummed(*values: object) -> Row:
    """Return a small row with the checksum of what it says."""
    return (*values, zlib.crc32(repr(values).encode()))


def pack_successor(record_id: int, successor: Successor) -> bytes:
    """Return a successor as bytes: horizon, time difference, latent, and the CRC-32 of all this and the record's id."""
    latent = np.ascontiguousarray(successor.latent_D, "<f4").tobytes()
    body = _TIMES.pack(successor.horizon_s, successor.dt_s) + latent
    return body + zlib.crc32(body, record_id & 0xFFFFFFFF).to_bytes(4, "little")


def unpack_successors(rows: Sequence[tuple[int, bytes]], dim: int) -> tuple[dict[int, list[Successor]], list[int]]:
    """Return what followed some records, in the order it was kept, and of which records not all of it is whole.

    Args:
        rows: What ``GET_SUCCESSORS`` gave: ids, and what ``pack_successor`` returned, one after the other.
        dim: Latent size D.
    """
    layout = successor_layout(dim)
    size = layout.itemsize
    damaged = [record_id for record_id, body in rows if not isinstance(body, bytes) or len(body) % size]
    if damaged:
        rows = [row for row in rows if row[0] not in damaged]
    body = b"".join([body for _, body in rows])
    packed_N = np.frombuffer(body, layout)
    # All tuples in one go: an answer to many queries holds thousands.
    values = zip(
        packed_N["horizon"].tolist(), packed_N["dt"].tolist(), packed_N["latent"], itertools.repeat(NO_FEATURE)
    )
    every = list(map(Successor._make, values))
    whole = memoryview(body)
    found: dict[int, list[Successor]] = {}
    first = 0
    for record_id, part in rows:
        end, seed = first + len(part) // size, record_id & 0xFFFFFFFF
        is_whole = [zlib.crc32(whole[at * size : at * size + size], seed) == WHOLE for at in range(first, end)]
        found[record_id] = every[first:end] if all(is_whole) else list(itertools.compress(every[first:end], is_whole))
        if len(found[record_id]) != end - first:
            damaged.append(record_id)
        first = end
    return found, damaged


def check_successors(rows: Sequence[tuple[int, bytes]], dim: int) -> None:
    """Refuse successors of which not all are as they were written, or could have been.

    Raises:
        CorruptStoreError: Names the first record.
    """
    damaged = [key for key, body in rows if not _all_whole(key, body, successor_size(dim))][:1]
    if not damaged:
        packed_N = np.frombuffer(b"".join([body for _, body in rows]), successor_layout(dim))
        times_N2 = np.stack([packed_N["horizon"], packed_N["dt"]], axis=1)
        good_N = (np.isfinite(times_N2) & (times_N2 > 0)).all(axis=1) & np.isfinite(packed_N["latent"]).all(axis=1)
        if good_N.all():
            return
        counts_N = [len(body) // successor_size(dim) for _, body in rows]
        damaged = np.repeat([key for key, _ in rows], counts_N)[~good_N].tolist()
    raise CorruptStoreError(f"a successor of record {damaged[0]} is damaged")


def _all_whole(record_id: int, body: bytes, size: int) -> bool:
    """Return whether what followed a record is as it was written."""
    if not isinstance(body, bytes) or not body or len(body) % size:
        return False
    seed, whole = record_id & 0xFFFFFFFF, memoryview(body)
    return all(zlib.crc32(whole[at : at + size], seed) == WHOLE for at in range(0, len(body), size))


def horizons_of(body: bytes, dim: int) -> list[float]:
    """Return the horizons of packed successors [s]."""
    return [_TIMES.unpack_from(body, at)[0] for at in range(0, len(body), successor_size(dim))]


def successor_size(dim: int) -> int:
    """Return how many bytes a packed successor takes."""
    return _TIMES.size + 4 * dim + 4


@functools.cache
def successor_layout(dim: int) -> np.dtype:
    """Return how a packed successor is laid out."""
    return np.dtype([("horizon", "<f8"), ("dt", "<f8"), ("latent", "<f4", (dim,)), ("checksum", "<u4")])


def opened(rows: list[Row], what: str) -> list[tuple[Any, Any]]:
    """Return small rows, a key and a value, without their checksums.

    Raises:
        CorruptStoreError: One of them does not say what was written.
    """
    for row in rows:
        if checksummed(*row[:-1]) != row:
            raise CorruptStoreError(f"{what} {row[0]!r} is damaged: its checksum does not match")
    return [(key, value) for key, value, _ in rows]


@functools.cache
def _layout(dim: int, action_dim: int) -> np.dtype:
    """Return how the body of a record lies: little-endian, packed, its checksum aside."""
    return np.dtype(
        [
            ("id", "<i8"), ("stamp", "<i8"), ("x", "<f8"), ("y", "<f8"), ("z", "<f8"), ("cell", "<u8"),
            ("session", "<i4"), ("yaw", "<f4"), ("surprise", "<f4"),
            ("latent", "<f4", (dim,)), ("action", "<f4", (action_dim,)), ("previous_action", "<f4", (action_dim,)),
        ]
    )  # fmt: skip


def to_tuples(rows: Rows) -> list[tuple[int, bytes]]:
    """Return one tuple per row for ``PUT_RECORD``; the last four bytes of each body are its CRC-32."""
    layout = _layout(rows.latent_ND.shape[1], rows.action_NA.shape[1])
    packed_N = np.empty(len(rows), layout)
    for name in layout.names or ():
        suffix = "_ND" if name == "latent" else "_NA" if name.endswith("action") else "_N"
        packed_N[name] = getattr(rows, name + suffix)
    whole, width = packed_N.tobytes(), layout.itemsize
    bodies = [whole[at : at + width] for at in range(0, len(whole), width)]
    return [(key, body + zlib.crc32(body).to_bytes(4, "little")) for key, body in zip(rows.id_N.tolist(), bodies)]


def from_tuples(tuples: Sequence[tuple[int, bytes]], dim: int, action_dim: int) -> Rows:
    """Return the rows that ``GET_RECORDS`` gave.

    Raises:
        CorruptStoreError: A row that is not what was written.
    """
    layout = _checksummed_layout(dim, action_dim)
    keys, bodies = zip(*tuples)
    if not _are_whole(bodies, layout.itemsize):
        bodies = tuple(_checked(key, body, layout.itemsize, action_dim) for key, body in tuples)
    packed_N = np.frombuffer(b"".join(bodies), layout)
    if not np.array_equal(packed_N["id"], np.array(keys)):
        raise CorruptStoreError(f"records {tuples[0][0]}..{tuples[-1][0]} do not stand under their ids")
    _check_values(packed_N)
    return Rows(
        *(np.ascontiguousarray(packed_N[name]) for name in ("id", "stamp", "x", "y", "z", "yaw", "session")),
        *(np.ascontiguousarray(packed_N[name]) for name in ("surprise", "action", "previous_action", "cell", "latent")),
    )


def _check_values(packed_N: np.ndarray) -> None:
    """Refuse what no record can hold, whatever its checksum says."""
    good_N = packed_N["id"] > 0
    for name in ("x", "y", "z", "yaw", "latent"):
        finite_N = np.isfinite(packed_N[name])
        good_N &= finite_N if finite_N.ndim == 1 else finite_N.all(axis=1)
    for name in ("action", "previous_action"):
        good_N &= ~np.isinf(packed_N[name]).any(axis=1)
    good_N &= ~np.isinf(packed_N["surprise"])
    if not good_N.all():
        raise CorruptStoreError(f"record {packed_N['id'][~good_N][0]} holds values that no record can have")


def _checksummed_layout(dim: int, action_dim: int) -> np.dtype:
    return np.dtype([*_layout(dim, action_dim).descr, ("checksum", "<u4")])


def _are_whole(bodies: Sequence[bytes], size: int) -> bool:
    """Return whether all bodies are as they were written, at a glance."""
    if set(map(type, bodies)) != {bytes} or set(map(len, bodies)) != {size}:
        return False
    return set(map(zlib.crc32, bodies)) == {WHOLE}


def _checked(key: int, body: bytes, size: int, action_dim: int) -> bytes:
    """Return a body that is whole; one from before any action was known gets unknown ones."""
    if not isinstance(body, bytes) or zlib.crc32(body) != WHOLE:
        raise CorruptStoreError(f"record {key} is damaged: its checksum does not match")
    missing = size - len(body)
    if missing == 0:
        return body
    if missing != 8 * action_dim:
        raise CorruptStoreError(f"record {key} has {len(body)} bytes, expected {size}")
    return body[:-4] + np.full(2 * action_dim, np.nan, "<f4").tobytes() + body[-4:]
