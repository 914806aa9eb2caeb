"""The file of a region: written whole or not at all, read whole or refused by name.

It begins with eight letters, the length of the manifest, the manifest (JSON) with its checksum, and then the columns
that the manifest lists, each with its size and checksum, and ends with the last of them. What repeats or grows evenly
is compressed; latents and features are not, they are noise to a compressor.

Shape suffixes: see ``contents``.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from spatial_memory.region.claims import Column, claimed
from spatial_memory.region.contents import Followers, Manifest, Region
from spatial_memory.store import files
from wm_core.bounds import LARGEST_POSITION_M
from wm_core.memory.errors import CorruptStoreError, StoreError
from wm_core.memory.record import check_stamps
from wm_core.memory.rows import Rows

_MAGIC = b"WMREGION"
_VERSION = 1
_HEAD = struct.Struct("<8sII")
_MOST_MANIFEST = 64 << 20
# Times the file's size that its columns may take together, and what a small one may besides [bytes].
_MOST_UNPACKED, _ROOM = 64, 1 << 20
_UNIT_TOLERANCE = 0.01
_PLAIN = ("latent", "feature", "follow_latent", "follow_feature")
_COLUMNS = (
    "id", "stamp", "x", "y", "z", "yaw", "session", "surprise", "action", "previous_action", "latent",
    "feature", "has_feature", "rotation",
)  # fmt: skip
_OPTIONAL = ("feature", "has_feature", "rotation")
_FOLLOW = {
    "count_N": "u1",
    "horizon_S": "f8",
    "dt_S": "f8",
    "latent_SD": "f4",
    "feature_SF": "i1",
    "has_feature_S": "?",
}
_TYPES = {
    "id": "i8",
    "stamp": "i8",
    "x": "f8",
    "y": "f8",
    "z": "f8",
    "session": "i4",
    "feature": "i1",
    "has_feature": "?",
}


def write_region(region: Region, path: Path) -> int:
    """Write a region to a file, over another region at most, and return its size [bytes].

    Raises:
        StoreError: It cannot be written, and why.
    """
    blocks = [(name, *_packed(name, column)) for name, column in _columns_of(region).items()]
    listed = [{**about, "name": name, "bytes": len(body), "crc32": zlib.crc32(body)} for name, about, body in blocks]
    words = json.dumps({**asdict(region.manifest), "version": _VERSION, "columns": listed}).encode()
    temporary = path.with_name(path.name + ".new")
    try:
        if path.exists() and not _is_region(path):
            raise StoreError(f"{path} is no region: nothing is written over it")
        with files.folder_of(path):
            try:
                with temporary.open("wb") as file:
                    file.write(_HEAD.pack(_MAGIC, len(words), zlib.crc32(words)) + words)
                    file.writelines(body for _, _, body in blocks)
                    file.flush()
                    os.fsync(file.fileno())
                files.publish(temporary, path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
        return path.stat().st_size
    except OSError as error:
        raise StoreError(f"region {path} cannot be written: {error}") from error


def read_region(path: Path) -> Region:
    """Return what a region's file holds, all of it checked.

    Raises:
        StoreError: There is none, or it cannot be read.
        CorruptStoreError: It is something else, damaged, or not all there.
    """
    files.check_regular(path)
    try:
        body = memoryview(path.read_bytes())
    except OSError as error:
        raise StoreError(f"region {path} cannot be read: {error}") from error
    try:
        manifest, listed, at = _manifest(body)
        _check_room(listed, len(body))
        columns = {}
        for each in listed:
            columns[each.name], at = _unpacked(each, body, at)
        if at != len(body):
            raise ValueError(f"{len(body) - at} bytes follow its end")
        region = _region(manifest, columns)
        _check(region)
    except (ValueError, KeyError, TypeError, RecursionError, zlib.error, struct.error) as error:
        text = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise CorruptStoreError(f"region {path} is refused: {text}", text) from error
    return region


def _is_region(path: Path) -> bool:
    files.check_regular(path)
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _columns_of(region: Region) -> dict[str, np.ndarray]:
    """Return what goes into the file, by name; what no record has is left out."""
    found = {name: region.rows.column(name) for name in _COLUMNS}
    if not region.rows.latent_ND.shape[1]:
        del found["latent"]
    found |= {f"follow_{name.rpartition('_')[0]}": getattr(region.followers, name) for name in _FOLLOW}
    return {name: column for name, column in found.items() if column is not None}


def _packed(name: str, column: np.ndarray) -> tuple[dict[str, Any], bytes]:
    """Return how a column is written, and that."""
    kind = column.dtype.newbyteorder("<").str
    about = {"type": kind, "shape": list(column.shape), "how": "plain"}
    if name in _PLAIN:
        return about, np.ascontiguousarray(column, kind).tobytes()
    if column.dtype == np.int64:
        about["how"] = "steps"
        # Wraps around, and back when read.
        column = np.diff(column.view(np.uint64), prepend=np.uint64(0))
    else:
        about["how"] = "bytes"
    planes = np.ascontiguousarray(column).view(np.uint8).reshape(-1, column.itemsize).T
    return about, zlib.compress(np.ascontiguousarray(planes).tobytes(), 6)


def _manifest(body: memoryview) -> tuple[Manifest, list[Column], int]:
    """Return manifest, list of columns, and where the first begins."""
    if bytes(body[: len(_MAGIC)]) != _MAGIC:
        raise ValueError("it is no region of a memory")
    if len(body) < _HEAD.size:
        raise ValueError("it is cut off in its head")
    _, size, checksum = _HEAD.unpack_from(body)
    words = bytes(body[_HEAD.size : _HEAD.size + size])
    if size > _MOST_MANIFEST or len(words) != size:
        raise ValueError("it is cut off in its manifest")
    if zlib.crc32(words) != checksum:
        raise ValueError("its manifest is damaged")
    manifest, columns = claimed(json.loads(words), _VERSION)
    return manifest, columns, _HEAD.size + size


def _check_room(columns: Sequence[Column], size: int) -> None:
    """Refuse a file that would take many times its own size: what compresses well lies beside what does not."""
    unpacked = sum(column.size for column in columns)
    if unpacked > _MOST_UNPACKED * size + _ROOM:
        raise ValueError(f"{size} bytes would become {unpacked}")


def _unpacked(column: Column, body: memoryview, at: int) -> tuple[np.ndarray, int]:
    """Return a column, and where the next begins."""
    name, end = column.name, at + column.length
    part = body[at:end]
    if len(part) != column.length:
        raise ValueError(f"it is cut off in {name}")
    if zlib.crc32(part) != column.checksum:
        raise ValueError(f"{name} is damaged")
    if column.how == "plain":
        return np.frombuffer(part, column.kind).reshape(column.shape), end
    raw = zlib.decompressobj().decompress(part, column.size) if column.size else b""
    if len(raw) != column.size:
        raise ValueError(f"{name} is not as long as it says")
    planes = np.frombuffer(raw, np.uint8).reshape(column.kind.itemsize, -1)
    values = np.ascontiguousarray(planes.T).view(column.kind).reshape(column.shape)
    if column.how == "steps":
        values = np.cumsum(values.view(np.uint64), dtype=np.uint64).view(np.int64)
    return values, end


def _region(manifest: Manifest, columns: dict[str, np.ndarray]) -> Region:
    """Return columns by their places; unknown ones, and those of other types or shapes, are refused."""
    columns.setdefault("latent", np.empty((manifest.count, 0), np.float32))
    followers: dict[str, Any] = {}
    for field, kind in _FOLLOW.items():
        name = f"follow_{field.rpartition('_')[0]}"
        needed = field in ("count_N", "horizon_S", "dt_S")
        followers[field] = columns.pop(name) if needed else columns.pop(name, None)
        _check_kind(name, followers[field], kind)
    own = {name: columns.pop(name, None) if name in _OPTIONAL else columns.pop(name) for name in _COLUMNS}
    if columns:
        raise ValueError(f"it holds {', '.join(sorted(columns))}, which is not known here")
    for name, column in own.items():
        _check_kind(name, column, _TYPES.get(name, "f4"))
        _check_shape(name, column, manifest)
    before, after = list(own.values())[:10], list(own.values())[10:]
    made: list[Any] = [*before, np.zeros(manifest.count, np.uint64), *after]
    return Region(manifest, Rows(*made), Followers(**followers))


def _check_kind(name: str, column: np.ndarray | None, kind: str) -> None:
    if column is not None and column.dtype != np.dtype(kind):
        raise ValueError(f"{name} is {column.dtype}, expected {np.dtype(kind)}")


def _check_shape(name: str, column: np.ndarray | None, manifest: Manifest) -> None:
    action_dim = max(manifest.action_dim, 0)
    widths = {"action": action_dim, "previous_action": action_dim, "feature": manifest.feature_dim, "rotation": 4}
    if column is None or name == "latent":
        return
    wanted = (manifest.count, widths[name]) if name in widths else (manifest.count,)
    if column.shape != wanted:
        raise ValueError(f"{name} has shape {column.shape}, expected {wanted}")


def _check(region: Region) -> None:
    """Refuse what no memory can hold, or what does not fit together."""
    rows, followers, manifest = region.rows, region.followers, region.manifest
    total = int(followers.count_N.sum())
    shapes = [followers.count_N.shape, followers.horizon_S.shape, followers.dt_S.shape]
    if shapes != [(manifest.count,), (total,), (total,)]:
        raise ValueError("what followed does not fit the records")
    for what, latent, count in (("latent", rows.latent_ND, manifest.count), ("successor", followers.latent_SD, total)):
        _check_latents(what, latent, count, manifest)
    if not region.has_latents and not (region.is_featured and manifest.basis):
        raise ValueError("it holds neither latents nor all that they follow from")
    if region.has_latents and total and followers.latent_SD is None:
        raise ValueError("it holds latents, and none of what followed")
    _check_features(rows.has_feature_N, rows.feature_NF, manifest.count, manifest)
    _check_features(followers.has_feature_S, followers.feature_SF, total, manifest)
    if len(region):
        _check_values(rows, followers, len(manifest.sessions))


def _check_latents(what: str, latent: np.ndarray | None, count: int, manifest: Manifest) -> None:
    if latent is None or latent.shape == (count, 0):
        return
    if latent.shape != (count, manifest.dim) or not np.isfinite(latent).all():
        raise ValueError(f"a {what} has another size than {manifest.dim}, or is not finite")


def _check_features(has: np.ndarray | None, feature: np.ndarray | None, count: int, manifest: Manifest) -> None:
    if has is None and feature is None:
        return
    if has is None or feature is None or has.shape != (count,) or feature.shape != (count, manifest.feature_dim):
        raise ValueError(f"features are not {manifest.feature_dim} values of {count}, or it does not say of which")


def _check_values(rows: Rows, followers: Followers, session_count: int) -> None:
    check_stamps(rows.stamp_N)
    for name, most in (
        ("x", LARGEST_POSITION_M),
        ("y", LARGEST_POSITION_M),
        ("z", LARGEST_POSITION_M),
        ("yaw", math.tau),
    ):
        if not (np.abs(rows.column(name)) <= most).all():
            raise ValueError(f"{name} is not finite, or beyond {most:g}")
    if rows.rotation_N4 is not None:
        length_N = np.linalg.norm(rows.rotation_N4[~np.isnan(rows.rotation_N4).all(axis=1)].astype(np.float64), axis=1)
        if not (np.abs(length_N - 1.0) <= _UNIT_TOLERANCE).all():
            raise ValueError("a rotation is not of unit length")
    if np.isinf(rows.action_NA).any() or np.isinf(rows.previous_action_NA).any() or np.isinf(rows.surprise_N).any():
        raise ValueError("an action or a surprise is infinite")
    if rows.id_N.min() < 1 or rows.session_N.min() < 0 or rows.session_N.max() >= session_count:
        raise ValueError("an id or a session is impossible")
    times_S = np.concatenate([followers.horizon_S, followers.dt_S])
    if not (np.isfinite(times_S) & (times_S > 0.0)).all():
        raise ValueError("what followed a record did not come after it")
