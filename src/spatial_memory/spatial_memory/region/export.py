"""From the file of a memory to a region: read while a node uses it, checked row by row.

Shape suffixes: see ``contents``.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spatial_memory.region.contents import Followers, Manifest, Region, abroad, origin_of
from spatial_memory.region.file import write_region
from spatial_memory.store import files
from spatial_memory.store.bases import BASIS, WRITTEN_IN, basis_of
from spatial_memory.store.checkpoint import check_start, mark_in
from spatial_memory.store.extras import GET_EXTRAS, Alike, unpack_alike
from spatial_memory.store.recent import Read
from spatial_memory.store.schema import (
    GET_META,
    GET_RECORDS,
    GET_SESSIONS,
    GET_SUCCESSORS,
    check_successors,
    from_tuples,
    opened,
    sizes_in,
    successor_layout,
)
from spatial_memory.store.verify import CHUNK, tallied
from wm_core.databases import open_database
from wm_core.memory.errors import CorruptStoreError, StoreError
from wm_core.memory.rows import Rows

_EXTRAS_CHUNK = 20_000


def export_region(path: Path, target: Path, area: Sequence[float] = (), session: str = "") -> tuple[Region, int]:
    """Write the part of a memory that lies in an area to a file; the memory may be in use.

    Args:
        path: The memory's file, a backup or a snapshot.
        target: The region; only another region is written over.
        area: Least x, least y, most x, most y, as the memory's places are; empty: everything.
        session: Only records of this one; empty: of all.

    Returns:
        The region, and its size on disk [bytes].

    Raises:
        StoreError: The memory cannot be read, the area makes no sense, or the region cannot be written.
        CorruptStoreError: The memory is damaged.
    """
    path = path.expanduser().resolve()
    region = read_memory(path, area, session)
    return region, write_region(region, target.expanduser())


def read_memory(path: Path, area: Sequence[float] = (), session: str = "") -> Region:
    """Return the part of a memory's file that lies in an area; see ``export_region``."""
    if area and not (len(area) == 4 and area[0] <= area[2] and area[1] <= area[3]):
        raise StoreError(f"area {list(area)}: expected least x, least y, most x, most y")
    if not path.is_file():
        raise StoreError(f"there is no file {path}")
    check_start(path)
    try:
        with contextlib.closing(open_database(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            files.check(connection, str(path))
            connection.execute("BEGIN")
            return _Reading(connection, str(path)).region(tuple(map(float, area)), session)
    except sqlite3.OperationalError as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    except sqlite3.DatabaseError as error:
        raise CorruptStoreError(files.damage_text(str(path), error), str(error)) from error


class _Reading:
    """Reads one memory's file in one transaction."""

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        self._name = name
        self._read: Read = lambda sql, values=(): connection.execute(sql, values).fetchall()
        self._meta = dict(opened(self._read(GET_META), f"{name}: the word"))
        self._sessions = {name: number for number, name in opened(self._read(GET_SESSIONS), f"{name}: session")}
        self._origin = origin_of(mark_in(connection).store_id)
        self._dim, self._action_dim, self._feature_dim = sizes_in(self._meta)

    def region(self, area: tuple[float, ...], session: str) -> Region:
        if session and session not in self._sessions:
            raise StoreError(f"{self._name} has no session {session}")
        if not self._origin or not self._dim:
            raise StoreError(f"{self._name} holds nothing to export")
        rows = self._rows(area, self._sessions.get(session, 0))
        followers = self._followers(rows)
        self._add_extras(rows, followers)
        numbers = np.unique(rows.session_N)
        names = {number: name for name, number in self._sessions.items()}
        if not set(numbers.tolist()) <= names.keys():
            raise CorruptStoreError(f"{self._name} holds records of a session that it does not name")
        rows.session_N = np.searchsorted(numbers, rows.session_N).astype(np.int32)
        listed = tuple(abroad(names[number], self._origin) for number in numbers.tolist())
        word = self._meta.get(BASIS) or self._meta.get(WRITTEN_IN, "")
        meta = self._meta
        manifest = Manifest(
            self._origin, meta.get("encoder_id", ""), self._dim, self._action_dim, meta.get("frame_id", ""),
            meta.get("feature_id", ""), self._feature_dim, meta.get("grid", ""), area, listed, len(rows), word,
        )  # fmt: skip
        return self._in_its_basis(Region(manifest, rows, followers))

    def _in_its_basis(self, region: Region) -> Region:
        """Return a region without latents where they follow from its features."""
        if basis_of({**self._meta, BASIS: region.manifest.basis}) is None:
            return region
        if not region.is_featured and self._meta.get(BASIS):
            raise CorruptStoreError(f"{self._name}: a record has no feature, from which its latent would follow")
        return region.without_latents() if region.is_featured else region

    def _rows(self, area: tuple[float, ...], session: int) -> Rows:
        parts = []
        for tuples in tallied(self._read, self._name, "record", GET_RECORDS, "id"):
            part = from_tuples(tuples, self._dim, max(self._action_dim, 0))
            kept_N = np.ones(len(part), bool) if not session else part.session_N == session
            if area:
                kept_N &= (part.x_N >= area[0]) & (part.x_N <= area[2]) & (part.y_N >= area[1]) & (part.y_N <= area[3])
            parts.append(part.take(kept_N))
        if not parts or not sum(map(len, parts)):
            raise StoreError(f"{self._name} holds no record there")
        rows = Rows.concatenate(parts)
        return rows.take(np.lexsort((rows.id_N, rows.stamp_N, rows.session_N)))

    def _followers(self, rows: Rows) -> Followers:
        """Return what followed records, in their order, the nearest in time first."""
        layout = successor_layout(self._dim)
        order_N = np.argsort(rows.id_N)
        sorted_N = rows.id_N[order_N]
        parts, owners = [np.empty(0, layout)], [np.empty(0, np.int64)]
        for tuples in tallied(self._read, self._name, "successor", GET_SUCCESSORS, "record", CHUNK):
            check_successors(tuples, self._dim)
            id_M = np.array([key for key, _ in tuples], np.int64)
            at_M = np.minimum(np.searchsorted(sorted_N, id_M), len(sorted_N) - 1)
            ours_M = np.flatnonzero(sorted_N[at_M] == id_M)
            bodies = [tuples[at][1] for at in ours_M.tolist()]
            parts.append(np.frombuffer(b"".join(bodies), layout))
            counts_M = [len(body) // layout.itemsize for body in bodies]
            owners.append(np.repeat(order_N[at_M[ours_M]], counts_M))
        packed_S, owner_S = np.concatenate(parts), np.concatenate(owners)
        packed_S, owner_S = _latest(packed_S, owner_S)
        count_N = np.bincount(owner_S, minlength=len(rows))
        if count_N.max(initial=0) > 255:
            raise CorruptStoreError(f"{self._name}: more than 255 successors of one record")
        columns = (np.ascontiguousarray(packed_S[name]) for name in ("horizon", "dt", "latent"))
        return Followers(count_N.astype(np.uint8), *columns)

    def _add_extras(self, rows: Rows, followers: Followers) -> None:
        """Fill in rotations and features."""
        if not self._read("SELECT 1 FROM sqlite_master WHERE name = 'extra'"):
            return
        filled = _Filled(rows, followers, self._feature_dim)
        for tuples in tallied(self._read, self._name, "extra", GET_EXTRAS, "record", _EXTRAS_CHUNK):
            id_M = np.array([key for key, _ in tuples], np.int64)
            for alike in unpack_alike(tuples):
                filled.add(id_M[alike.at_N], alike)
        filled.into(rows, followers)


class _Filled:
    """What only some records have, side by side.

    Args:
        rows: The records.
        followers: What followed them.
        size: F of features that are taken.
    """

    def __init__(self, rows: Rows, followers: Followers, size: int) -> None:
        count, follower_count = len(rows), len(followers.dt_S)
        self._order_N = np.argsort(rows.id_N)
        self._id_N = rows.id_N[self._order_N]
        self._horizon_S = followers.horizon_S
        self._first_N = np.concatenate([[0], np.cumsum(followers.count_N, dtype=np.int64)])
        self._rotation_N4 = np.full((count, 4), np.nan, np.float32)
        self._feature_NF = np.zeros((count, size), np.int8)
        self._feature_SF = np.zeros((follower_count, size), np.int8)
        self._has_N, self._has_S = np.zeros(count, bool), np.zeros(follower_count, bool)
        self._size = size

    def add(self, id_M: np.ndarray, alike: Alike) -> None:
        """Take the items of some records that lie alike; a later one of a horizon replaces an earlier one."""
        at_M = np.minimum(np.searchsorted(self._id_N, id_M), len(self._id_N) - 1)
        ours_M = self._id_N[at_M] == id_M
        at_M = self._order_N[at_M]
        for horizon_s, rotation_M4, feature_MF in alike.items:
            fits = feature_MF.shape[1] == self._size > 0
            if rotation_M4 is not None:
                self._rotation_N4[at_M[ours_M]] = rotation_M4[ours_M]
                self._has_N[at_M[ours_M]] = fits
                if fits:
                    self._feature_NF[at_M[ours_M]] = feature_MF[ours_M]
            elif fits:
                self._add_followers(at_M[ours_M], horizon_s, feature_MF[ours_M])

    def _add_followers(self, at_M: np.ndarray, horizon_s: float, feature_MF: np.ndarray) -> None:
        """Take the features of what followed some records at a horizon, where that is known."""
        for offset in range(int((self._first_N[at_M + 1] - self._first_N[at_M]).max(initial=0))):
            of_M = self._first_N[at_M] + offset
            hit_M = of_M < self._first_N[at_M + 1]
            hit_M[hit_M] = self._horizon_S[of_M[hit_M]] == horizon_s
            self._feature_SF[of_M[hit_M]], self._has_S[of_M[hit_M]] = feature_MF[hit_M], True

    def into(self, rows: Rows, followers: Followers) -> None:
        """Put what there is where it belongs."""
        if not np.isnan(self._rotation_N4).all():
            rows.rotation_N4 = self._rotation_N4
        if self._has_N.any() or self._has_S.any():
            rows.feature_NF, rows.has_feature_N = self._feature_NF, self._has_N
            object.__setattr__(followers, "feature_SF", self._feature_SF)
            object.__setattr__(followers, "has_feature_S", self._has_S)


def _latest(packed_S: np.ndarray, owner_S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return successors by owner and horizon, the last written of those that stand for the same horizon."""
    order_S = np.lexsort((np.arange(len(owner_S)), packed_S["horizon"], owner_S))
    packed_S, owner_S = packed_S[order_S], owner_S[order_S]
    same_S = (owner_S[1:] == owner_S[:-1]) & (packed_S["horizon"][1:] == packed_S["horizon"][:-1])
    is_last_S = np.concatenate([~same_S, np.ones(min(1, len(owner_S)), bool)])
    return packed_S[is_last_S], owner_S[is_last_S]
