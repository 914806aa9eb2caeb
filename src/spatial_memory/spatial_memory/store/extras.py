"""What only some records have: a rotation that is more than a yaw, features, features of successors.

Each is an item of a record's row in a table of its own, so that a robot that only turns about z, with an encoder that
makes no features, pays nothing for them. A later item replaces an earlier one of the same horizon.

Shape suffix: F = feature size.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from wm_core.memory.errors import CorruptStoreError
from wm_core.memory.record import NO_FEATURE, MemoryRecord, Quaternion, Successor, kept_orientation

PUT_EXTRA = """INSERT INTO extra VALUES (?,?)
               ON CONFLICT (record) DO UPDATE SET body = CAST(body || excluded.body AS BLOB)"""
DROP_EXTRAS = "DELETE FROM extra WHERE record = ?"
GET_EXTRAS = "SELECT record, body FROM extra"
# Horizon of the successor it belongs to, 0: the record itself; bytes of its body.
_HEAD = struct.Struct("<dI")
_ROTATION = struct.Struct("<4f")
_CHECKSUM_SIZE = 4
# The CRC of something followed by its own CRC is always this.
_WHOLE = 0x2144DF1C


class Extra(NamedTuple):
    """One item: of the record itself, or of its successor at a horizon.

    Attributes:
        horizon_s: Of the successor [s]; 0: of the record itself.
        orientation: Of the record; None: the yaw says it all.
        feature_F: int8; empty: not known.
    """

    horizon_s: float
    orientation: Quaternion | None
    feature_F: np.ndarray


def extras_of(record: MemoryRecord) -> Iterator[Extra]:
    """Yield what a checked record has beyond what all have."""
    orientation = kept_orientation(record)
    if orientation is not None or record.feature_F.size:
        yield Extra(0.0, orientation, record.feature_F)
    for successor in record.successors:
        yield from extras_of_successor(successor)


def extras_of_successor(successor: Successor) -> Iterator[Extra]:
    """Yield what a checked successor has beyond what all have."""
    if successor.feature_F.size:
        yield Extra(successor.horizon_s, None, successor.feature_F)


def pack_extra(record_id: int, extra: Extra) -> bytes:
    """Return an item as bytes; the last four are the CRC-32 of the others and the record's id."""
    rotation = _ROTATION.pack(*(extra.orientation or (math.nan,) * 4)) if extra.horizon_s == 0.0 else b""
    payload = rotation + np.ascontiguousarray(extra.feature_F, np.int8).tobytes()
    body = _HEAD.pack(extra.horizon_s, len(payload)) + payload
    return body + zlib.crc32(body, record_id & 0xFFFFFFFF).to_bytes(_CHECKSUM_SIZE, "little")


def pack_alike(
    ids: Sequence[int], horizon_N: np.ndarray, rotation_N4: np.ndarray | None, feature_NF: np.ndarray
) -> list[bytes]:
    """Return one item each of many records, as ``pack_extra`` does one.

    Args:
        ids: The record of each.
        horizon_N: Of the successor each belongs to [s]; of records themselves 0.
        rotation_N4: Of records themselves, NaN where the yaw says it all; None: of successors.
        feature_NF: int8; of size 0 where they are not known.
    """
    own = [] if rotation_N4 is None else [("rotation", "<f4", (4,))]
    fields = [("horizon", "<f8"), ("size", "<u4"), *own, ("feature", "i1", (feature_NF.shape[1],)), ("checksum", "<u4")]
    packed_N = np.empty(len(horizon_N), np.dtype(fields))
    packed_N["horizon"], packed_N["feature"] = horizon_N, feature_NF
    if rotation_N4 is not None:
        packed_N["rotation"] = rotation_N4
    width = packed_N.dtype.itemsize
    packed_N["size"] = width - _HEAD.size - _CHECKSUM_SIZE
    body, end = memoryview(packed_N.tobytes()), width - _CHECKSUM_SIZE
    starts = range(0, len(body), width)
    packed_N["checksum"] = [zlib.crc32(body[at : at + end], key & 0xFFFFFFFF) for at, key in zip(starts, ids)]
    whole = packed_N.tobytes()
    return [whole[at : at + width] for at in starts]


class Alike(NamedTuple):
    """Items of records whose bodies lie alike.

    Attributes:
        at_N: Which of the rows those are.
        items: Horizon [s]; rotations [N, 4], NaN where the yaw says it all, of the record itself alone; features.
    """

    at_N: np.ndarray
    items: list[tuple[float, np.ndarray | None, np.ndarray]]


def unpack_alike(rows: Sequence[tuple[int, bytes]]) -> Iterator[Alike]:
    """Yield all items of some records, those whose bodies lie alike at a time.

    Raises:
        CorruptStoreError: Names the first record of which one is damaged.
    """
    groups: dict[tuple[tuple[float, int, int], ...], list[int]] = defaultdict(list)
    for at, (key, body) in enumerate(rows):
        spans = tuple(_spans(body)) if isinstance(body, bytes) else ()
        if not spans:
            raise CorruptStoreError(f"the rotation or features of record {key} are damaged")
        groups[spans].append(at)
    for spans, at_N in groups.items():
        body_NB = np.frombuffer(b"".join([rows[at][1] for at in at_N]), np.uint8).reshape(len(at_N), -1)
        seeds = [rows[at][0] & 0xFFFFFFFF for at in at_N]
        yield Alike(np.array(at_N), [_item_of_all(body_NB, span, seeds) for span in spans])


def _item_of_all(
    body_NB: np.ndarray, span: tuple[float, int, int], seeds: Sequence[int]
) -> tuple[float, np.ndarray | None, np.ndarray]:
    """Return one item of records whose bodies lie alike."""
    horizon_s, start, end = span
    part_NB = np.ascontiguousarray(body_NB[:, start:end])
    whole, width = memoryview(part_NB.tobytes()), end - start
    for n, seed in enumerate(seeds):
        if zlib.crc32(whole[n * width : (n + 1) * width], seed) != _WHOLE:
            raise CorruptStoreError(f"the rotation or features of record {seed} are damaged")
    payload_NB = part_NB[:, _HEAD.size : -_CHECKSUM_SIZE]
    if horizon_s != 0.0:
        return horizon_s, None, payload_NB.view(np.int8)
    rotation_N4 = np.ascontiguousarray(payload_NB[:, : _ROTATION.size]).view("<f4")
    return horizon_s, rotation_N4, payload_NB[:, _ROTATION.size :].view(np.int8)


def unpack_extras(record_id: int, body: bytes) -> tuple[dict[float, Extra], bool]:
    """Return a record's items by horizon, and whether all of them are whole; what follows a damaged one is left out."""
    found: dict[float, Extra] = {}
    at = 0
    while at < len(body):
        if len(body) - at < _HEAD.size:
            return found, False
        horizon_s, size = _HEAD.unpack_from(body, at)
        end = at + _HEAD.size + size
        stored = body[end : end + _CHECKSUM_SIZE]
        if zlib.crc32(body[at:end], record_id & 0xFFFFFFFF).to_bytes(_CHECKSUM_SIZE, "little") != stored:
            return found, False
        found[horizon_s] = _item(horizon_s, body[at + _HEAD.size : end])
        at = end + _CHECKSUM_SIZE
    return found, True


def _item(horizon_s: float, payload: bytes) -> Extra:
    if horizon_s != 0.0:
        return Extra(horizon_s, None, np.frombuffer(payload, np.int8))
    x, y, z, w = _ROTATION.unpack_from(payload)
    orientation = None if math.isnan(x) else (x, y, z, w)
    return Extra(0.0, orientation, np.frombuffer(payload, np.int8, offset=_ROTATION.size))


def unpack_own(rows: Sequence[tuple[int, bytes]]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the rotations of some records, NaN where the yaw says it all [N, 4], and their features.

    All items of each record are checked, those of its successors too.

    Raises:
        CorruptStoreError: Names the first record of which one is damaged.
    """
    rotation_N4, features = np.full((len(rows), 4), np.nan, np.float32), [NO_FEATURE] * len(rows)
    by_size: dict[int, list[int]] = defaultdict(list)
    for at, (_, body) in enumerate(rows):
        by_size[len(body) if isinstance(body, bytes) else -1].append(at)
    for at_N in by_size.values():
        if not _unpack_alike(rows, at_N, rotation_N4, features):
            for at in at_N:
                own = _whole(*rows[at]).get(0.0)
                if own is not None:
                    features[at] = own.feature_F
                    rotation_N4[at] = own.orientation or (math.nan,) * 4
    return rotation_N4, features


def _whole(record_id: int, body: bytes) -> dict[float, Extra]:
    """Return a record's items by horizon, all of them."""
    items, is_whole = unpack_extras(record_id, body) if isinstance(body, bytes) else ({}, False)
    if not is_whole or not items:  # a row is written with its first item
        raise CorruptStoreError(f"the rotation or features of record {record_id} are damaged")
    return items


def _unpack_alike(
    rows: Sequence[tuple[int, bytes]], at_N: Sequence[int], rotation_N4: np.ndarray, features: list[np.ndarray]
) -> bool:
    """Write what some records of equally long bodies have, if their items lie alike and are whole; at a glance."""
    first = rows[at_N[0]][1]
    spans = _spans(first) if isinstance(first, bytes) else []
    if not spans or [horizon_s for horizon_s, _, _ in spans].count(0.0) > 1:
        return False
    whole = memoryview(b"".join([rows[at][1] for at in at_N]))
    body_NB = np.frombuffer(whole, np.uint8).reshape(len(at_N), -1)
    width = body_NB.shape[1]
    for horizon_s, start, end in spans:
        head_NB = body_NB[:, start : start + _HEAD.size]
        seeds = [rows[at][0] & 0xFFFFFFFF for at in at_N]
        sums = {zlib.crc32(whole[n * width + start : n * width + end], seed) for n, seed in enumerate(seeds)}
        if (head_NB != head_NB[0]).any() or sums != {_WHOLE}:
            return False
        if horizon_s == 0.0:
            payload_NB = body_NB[:, start + _HEAD.size : end - _CHECKSUM_SIZE]
            rotation_N4[at_N] = np.ascontiguousarray(payload_NB[:, : _ROTATION.size]).view("<f4")
            for at, row in zip(at_N, payload_NB[:, _ROTATION.size :].view(np.int8)):
                features[at] = row
    return True


def _spans(body: bytes) -> list[tuple[float, int, int]]:
    """Return horizon, begin and end of each item of a body; none where they do not add up."""
    spans, at = [], 0
    while at + _HEAD.size <= len(body):
        horizon_s, size = _HEAD.unpack_from(body, at)
        end = at + _HEAD.size + size + _CHECKSUM_SIZE
        spans.append((horizon_s, at, end))
        at = end
    return spans if at == len(body) else []


def with_successor_features(
    records: Sequence[MemoryRecord], extras: dict[int, dict[float, Extra]]
) -> list[MemoryRecord]:
    """Return records, as the index holds them, with the features of their successors, by id and horizon."""
    return [_with(record, extras[record.id]) if record.id in extras else record for record in records]


def _with(record: MemoryRecord, items: dict[float, Extra]) -> MemoryRecord:
    successors = tuple(
        each._replace(feature_F=items[each.horizon_s].feature_F) if each.horizon_s in items else each
        for each in record.successors
    )
    return replace(record, successors=successors)
