"""From a region to the file of another memory: what is not there yet, under ids of its own, in its own basis.

A record is known again by session and stamp, where several of a session share a stamp by their order. Whatever is
refused is refused before the first change.

Shape suffixes: see ``contents``.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spatial_memory.embedded.staging import check_fits
from spatial_memory.embedded.table import MOST_SESSIONS, Catalogue, grid_meta
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.geometry.maps import LocalMap, Wgs84Map
from spatial_memory.region.contents import Manifest, Region, at_home, origin_of
from spatial_memory.region.file import read_region
from spatial_memory.store.bases import BASIS, WRITTEN_IN, basis_of
from spatial_memory.store.extras import pack_alike
from spatial_memory.store.files import folder_of, remove
from spatial_memory.store.schema import successor_layout
from spatial_memory.store.store import Packed, Store
from wm_core.memory.errors import CorruptStoreError, EncoderMismatchError, FrameMismatchError, StoreError
from wm_core.memory.record import LAST_FOLLOWED_ID
from wm_core.projection import Projection

_CHUNK = 50_000


@dataclass(frozen=True)
class Merged:
    """What an import did.

    Attributes:
        added: Records that came in.
        known: Records of the region that were there already, this memory's own among them.
        is_projected: Whether latents were made anew from features, for this memory's encoder.
    """

    added: int
    known: int
    is_projected: bool


def import_region(path: Path, target: Path) -> Merged:
    """Add what a region holds to a memory's file that no node uses; once more adds nothing.

    Args:
        path: The region.
        target: The memory; one that is not there yet begins with the region.

    Raises:
        StoreError: The region, or the memory, cannot be read or written; then nothing changed, as with all others.
        StoreLockedError: Another process holds the memory.
        CorruptStoreError: The region is something else, damaged or not all there, or the memory is damaged.
        EncoderMismatchError: Its latents cannot be compared with the memory's, nor made from features.
        FrameMismatchError: Its places are in another frame, or on another map.
        PlaceError: Records lie outside the map.
    """
    region, target = read_region(path.expanduser()), target.expanduser()
    try:
        with folder_of(target), _left_as_it_was(target), contextlib.closing(Store(target)) as store:
            return merge(region, store, str(path))
    except (StoreError, OSError) as error:
        if isinstance(error, OSError) or (type(error) is StoreError and str(target) not in str(error)):
            raise StoreError(f"{target}: {error}") from error
        raise


@contextlib.contextmanager
def _left_as_it_was(target: Path) -> Iterator[None]:
    """Take a memory that was not there before away where it does not come to be."""
    is_new = not target.exists()
    try:
        yield
    except BaseException:
        if is_new:
            remove(target)
        raise


def merge(region: Region, store: Store, name: str) -> Merged:
    """Add a region to a store; see ``import_region``."""
    meta = store.meta()
    mine = Catalogue.from_meta(meta, store.sessions())
    total = len(region)
    fitting = _fitting(region, mine, meta, name)
    own_id = meta.get("commit", "").rpartition(" ")[2]
    sessions = [at_home(each, origin_of(own_id)) for each in region.manifest.sessions]
    unknown_N = _unknown(region, sessions, mine, store)
    if not unknown_N.all():
        region = region.take(unknown_N)
    catalogue = _catalogue(region.manifest, mine, fitting)
    numbers = _numbers(sessions, catalogue, region)
    grid = _grid(meta.get("grid") or region.manifest.grid, name)
    # All that can be refused is, before the first change.
    cells_N = grid.cells_of(region.rows.x_N, region.rows.y_N)
    words = {**catalogue.meta(grid), **({WRITTEN_IN: region.manifest.basis} if not mine.dim else {})}
    if not len(region):
        return Merged(0, total, is_projected=False)
    parts = (_in_place(part, fitting, catalogue, numbers) for part in _parts(region, cells_N))
    store.merge(
        (_packed(part, catalogue) for part in parts),
        lambda: {**words, "next_id": catalogue.next_id},
        catalogue.sessions,
    )
    return Merged(len(region), total - len(region), is_projected=fitting is not None)


def _fitting(region: Region, mine: Catalogue, meta: dict[str, str], name: str) -> Projection | None:
    """Return the projection that makes the latents to keep; None: those of the region are.

    Raises:
        EncoderMismatchError, FrameMismatchError: The region does not fit.
        CorruptStoreError: Its basis is none.
    """
    theirs = region.manifest
    given = Catalogue(theirs.encoder_id, theirs.dim, theirs.action_dim, 1, {}, theirs.frame_id, theirs.feature_id,
                      theirs.feature_dim)  # fmt: skip
    fitting = None
    if mine.encoder_id in ("", theirs.encoder_id):
        fitting = None if region.has_latents else _basis(theirs.basis, theirs.encoder_id)
    elif theirs.feature_id and theirs.feature_id == mine.feature_id:
        fitting = _basis(meta.get(BASIS) or meta.get(WRITTEN_IN, ""), mine.encoder_id)
        if fitting is None:
            raise EncoderMismatchError(
                f"region {name} is of encoder {theirs.encoder_id}, and the memory, of {mine.encoder_id}, does not say "
                "how its latents follow from features: let its node run once"
            )
        given = replace(given, encoder_id=mine.encoder_id, dim=mine.dim)
    if (meta.get(BASIS) or fitting is not None) and not region.is_featured:
        raise EncoderMismatchError(
            f"region {name}: not all of its records have a feature, from which the memory's latents follow"
        )
    check_fits(name, given, mine)
    mine_map, their_map = (" ".join(grid.split(" ")[:3]) for grid in (meta.get("grid", ""), theirs.grid))
    if mine_map and their_map != mine_map:
        raise FrameMismatchError(f"region {name} is on map {their_map}, the memory on {mine_map}")
    return fitting


def _basis(word: str, encoder_id: str) -> Projection | None:
    return basis_of({BASIS: word, "encoder_id": encoder_id}) if word else None


def _catalogue(theirs: Manifest, mine: Catalogue, fitting: Projection | None) -> Catalogue:
    """Return what the memory knows about its records once it holds the region's."""
    return replace(
        mine,
        encoder_id=mine.encoder_id or theirs.encoder_id,
        dim=mine.dim or (theirs.dim if fitting is None else fitting.z_dim),
        action_dim=mine.action_dim if mine.action_dim >= 0 else theirs.action_dim,
        frame_id=mine.frame_id or theirs.frame_id,
        feature_id=mine.feature_id or theirs.feature_id,
        feature_dim=mine.feature_dim or theirs.feature_dim,
        sessions=dict(mine.sessions),
    )


def _numbers(sessions: list[str], catalogue: Catalogue, region: Region) -> np.ndarray:
    """Return the memory's number of each of the region's sessions; new ones are entered, those of no record are not."""
    used = set(region.rows.session_N.tolist())
    numbers = np.zeros(len(sessions), np.int32)
    for at in sorted(used):
        numbers[at] = catalogue.session_number(sessions[at], lambda name, number: None)
    if len(catalogue.sessions) > MOST_SESSIONS:
        raise StoreError(f"{len(catalogue.sessions)} sessions would be held, at most {MOST_SESSIONS} can be")
    return numbers


def _grid(word: str, name: str) -> CellGrid:
    try:
        kind, lat, lng, resolution = word.split(" ")
        grid = CellGrid({"wgs84": Wgs84Map}.get(kind, lambda: LocalMap(float(lat), float(lng)))(), int(resolution))
        if grid_meta(grid) != word:
            raise ValueError("it is none that is known here")
    except ValueError as error:
        raise CorruptStoreError(f"{name}: map '{word}': {error}") from error
    return grid


def _unknown(region: Region, sessions: list[str], mine: Catalogue, store: Store) -> np.ndarray:
    """Return which records the memory does not hold yet."""
    known = [mine.sessions.get(each, 0) for each in sessions]
    number_N = np.array(known, np.int64)[region.rows.session_N] if known else np.zeros(0, np.int64)
    unknown_N: np.ndarray = number_N == 0
    if unknown_N.all():
        return unknown_N
    held = [np.empty((0, 2), np.int64)]
    for rows in store.load(mine.dim, max(mine.action_dim, 0)):
        held.append(np.stack([rows.session_N.astype(np.int64), rows.stamp_N], axis=1))
    keys_M2, count_M = np.unique(np.concatenate(held), axis=0, return_counts=True)
    held_count = dict(zip(map(tuple, keys_M2.tolist()), count_M.tolist()))
    for at, key in enumerate(zip(number_N.tolist(), region.rows.stamp_N.tolist())):
        left = held_count.get(key, 0)
        unknown_N[at] = left == 0
        if left:
            held_count[key] = left - 1
    return unknown_N


def _parts(region: Region, cells_N: np.ndarray) -> Iterator[Region]:
    region.rows.cell_N = cells_N
    for at in range(0, len(region), _CHUNK):
        yield region.take(slice(at, at + _CHUNK))


def _in_place(part: Region, fitting: Projection | None, catalogue: Catalogue, numbers: np.ndarray) -> Region:
    """Return a part with the memory's latents, session numbers and ids that it never chose before."""
    if fitting is not None:
        part = part.in_basis(fitting)
    rows = part.rows
    first = catalogue.next_id
    if first + len(rows) > LAST_FOLLOWED_ID:
        raise StoreError(f"no {len(rows)} ids are left to choose")
    catalogue.reserve_ids(first + len(rows) - 1)
    rows.id_N = np.arange(first, first + len(rows), dtype=np.int64)
    rows.session_N = numbers[rows.session_N]
    missing = max(catalogue.action_dim, 0) - rows.action_NA.shape[1]
    if missing:  # the region knew of no action
        unknown_NA = np.full((len(rows), missing), np.nan, np.float32)
        rows.action_NA, rows.previous_action_NA = unknown_NA, unknown_NA
    return part


def _packed(part: Region, catalogue: Catalogue) -> Packed:
    """Return a part as the store writes it."""
    rows, followers = part.rows, part.followers
    ids = rows.id_N.tolist()
    assert followers.latent_SD is not None or not len(followers.dt_S)
    layout = successor_layout(catalogue.dim)
    packed_S = np.zeros(len(followers.dt_S), layout)
    packed_S["horizon"], packed_S["dt"] = followers.horizon_S, followers.dt_S
    if len(packed_S):
        packed_S["latent"] = followers.latent_SD
    body, size = memoryview(packed_S.tobytes()), layout.itemsize
    owners = np.repeat(rows.id_N & 0xFFFFFFFF, followers.count_N).tolist()
    packed_S["checksum"] = [
        zlib.crc32(body[at * size : at * size + size - 4], owner) for at, owner in enumerate(owners)
    ]
    whole = packed_S.tobytes()
    ends = (np.cumsum(followers.count_N, dtype=np.int64) * size).tolist()
    counts = followers.count_N.tolist()
    successors = [(key, whole[end - count * size : end]) for key, end, count in zip(ids, ends, counts) if count]
    return Packed(rows, successors, list(_extras(part)))


def _extras(part: Region) -> Iterator[tuple[int, bytes]]:
    """Yield what only some records have, as the store keeps it."""
    rows, followers = part.rows, part.followers
    if rows.rotation_N4 is None and rows.feature_NF is None:
        return
    count = len(rows)
    unknown_N4 = np.full((count, 4), np.nan, np.float32)
    rotation_N4 = unknown_N4 if rows.rotation_N4 is None else rows.rotation_N4
    has_N = np.zeros(count, bool) if rows.has_feature_N is None else rows.has_feature_N
    bodies: list[list[bytes]] = [[] for _ in range(count)]
    nothing_NF = np.empty((count, 0), np.int8)
    turned_N = ~np.isnan(rotation_N4[:, 0])
    for which_N, feature_NF in ((has_N, rows.feature_NF), (turned_N & ~has_N, nothing_NF)):
        at_M = np.flatnonzero(which_N)
        if len(at_M) and feature_NF is not None:
            ids = rows.id_N[at_M].tolist()
            items = pack_alike(ids, np.zeros(len(at_M)), rotation_N4[at_M], feature_NF[at_M])
            for at, item in zip(at_M.tolist(), items):
                bodies[at].append(item)
    if followers.has_feature_S is not None and followers.feature_SF is not None:
        of_M = np.flatnonzero(followers.has_feature_S)
        at_M = np.repeat(np.arange(count), followers.count_N)[of_M]
        ids = rows.id_N[at_M].tolist()
        items = pack_alike(ids, followers.horizon_S[of_M], None, followers.feature_SF[of_M])
        for at, item in zip(at_M.tolist(), items):
            bodies[at].append(item)
    for key, parts in zip(rows.id_N.tolist(), bodies):
        if parts:
            yield key, b"".join(parts)
