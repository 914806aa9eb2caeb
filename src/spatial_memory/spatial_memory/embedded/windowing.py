"""What a window over an index is to hold, whole or what changed, as packed arrays.

Shape suffixes: N = records, D = latent size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spatial_memory.embedded.followed import are_whole
from spatial_memory.embedded.table import Catalogue
from spatial_memory.index.cell_index import CellIndex
from spatial_memory.index.columns import HELD, Columns
from spatial_memory.store.schema import successor_layout
from spatial_memory.store.store import Store
from wm_core.memory.errors import PlaceError, QueryError
from wm_core.memory.filters import Limits
from wm_core.memory.frames import Map
from wm_core.memory.journal import Area, Journal, WindowAsk, WindowUpdate
from wm_core.memory.packed import Packed, Successors
from wm_core.memory.query import Place, Query
from wm_core.memory.record import Successor
from wm_core.se3 import quaternions_of

_CHUNK = 500
# What lies on the rim of a smaller area is left out of it.
_WITHIN = 1.0 - 1e-9


@dataclass(frozen=True)
class Held:
    """A memory as it is at one moment.

    Attributes:
        index: Its records; None: it never held any.
        catalogue: What it knows about them.
        store: What followed them.
        newest_ns: Stamp of the newest one [ns].
    """

    index: CellIndex | None
    catalogue: Catalogue
    store: Store
    newest_ns: int

    def packed(self, slots_N: np.ndarray) -> Packed:
        """Return the records of some slots, complete."""
        catalogue = self.catalogue
        if self.index is None:
            return Packed.nothing(catalogue.encoder_id, catalogue.frame_id, catalogue.dim, max(catalogue.action_dim, 0))
        rows = self.index.rows(slots_N)
        numbers_S, session_N = np.unique(rows.session_N, return_inverse=True)
        names = catalogue.session_names()
        quaternion_N4 = quaternions_of(rows.yaw_N)
        if rows.rotation_N4 is not None:
            quaternion_N4 = np.where(np.isnan(rows.rotation_N4), quaternion_N4, rows.rotation_N4)
        session_N = session_N.reshape(-1).astype(np.int32)
        rows = replace(rows, session_N=session_N, feature_NF=None, has_feature_N=None, rotation_N4=None)
        return Packed(
            catalogue.encoder_id, catalogue.frame_id, tuple(names[number] for number in numbers_S.tolist()),
            rows, quaternion_N4, self._successors(slots_N, rows.id_N.tolist()),
        )  # fmt: skip

    def _successors(self, slots_N: np.ndarray, ids: list[int]) -> Successors:
        """Return what followed records: as arrays where it is held in RAM and in order, else from the store."""
        assert self.index is not None
        columns, dim = self.index.columns, self.index.dim
        held, others_N = _held_arrays(columns, slots_N)
        if not len(others_N):
            return held
        asked = [ids[at] for at in others_N.tolist()]
        found: dict[int, tuple[Successor, ...]] = {}
        for at in range(0, len(asked), _CHUNK):
            found |= self.store.successors(asked[at : at + _CHUNK], dim)
        count_N = held.count_N.copy()
        count_N[others_N] = [len(found.get(record_id, ())) for record_id in asked]
        read = [item for record_id in asked for item in found.get(record_id, ())]
        is_read_S = np.repeat(np.isin(np.arange(len(ids)), others_N), count_N)
        merged = Successors(count_N, np.empty(len(is_read_S)), np.empty(len(is_read_S)),
                            np.empty((len(is_read_S), dim), np.float32))  # fmt: skip
        merged.horizon_S[~is_read_S], merged.horizon_S[is_read_S] = held.horizon_S, [item.horizon_s for item in read]
        merged.dt_S[~is_read_S], merged.dt_S[is_read_S] = held.dt_S, [item.dt_s for item in read]
        merged.latent_SD[~is_read_S] = held.latent_SD
        if read:
            merged.latent_SD[is_read_S] = [item.latent_D for item in read]
        return merged


def window_update(held: Held, journal: Journal, map_frame: Map, ask: WindowAsk) -> WindowUpdate:
    """Return what a window is to do to be as a memory is.

    Args:
        held: The memory.
        journal: What changed in it.
        map_frame: What its x and y mean.
        ask: What the window wants to know.

    Raises:
        QueryError: The area makes no sense, lies in another frame, or leaves the map; or the map is not metric.
    """
    ask.area.check(held.catalogue.frame_id)
    if map_frame.name != "local":
        raise QueryError(f"a window needs a metric map, not {map_frame.name}")
    ids = journal.since(ask.epoch, ask.revision) if ask.epoch else None
    if ids is None:
        _check_on_map(ask.area, map_frame)
        return _whole(held, journal, ask)
    return _changes(held, journal, ask, ids)


def _whole(held: Held, journal: Journal, ask: WindowAsk) -> WindowUpdate:
    area, index = ask.area, held.index
    slots_N, oldest_ns = np.empty(0, np.int64), None
    count = 0 if index is None else len(index)
    is_everything = True
    if index is not None and count:
        disc = Query(k=1, place=Place(area.x, area.y), radius_m=area.radius_m, rank_by="pose")
        slots_N = index.passing_slots(disc, Limits())
        is_everything = len(slots_N) == count
        if area.max_age_s > 0:
            bound_ns = held.newest_ns - round(area.max_age_s * 1e9)
            is_young_N = index.columns.flat("stamp")[slots_N] >= bound_ns
            if not is_young_N.all():
                oldest_ns, slots_N = bound_ns, slots_N[is_young_N]
        if 0 < area.max_count < len(slots_N):
            slots_N, area, is_everything = *_nearest(index, slots_N, area), False
    return WindowUpdate(
        journal.epoch, journal.revision, True, journal.why(ask), area, held.newest_ns, oldest_ns, is_everything,
        held.packed(slots_N), np.empty(0, np.int64),
    )  # fmt: skip


def _nearest(index: CellIndex, slots_N: np.ndarray, area: Area) -> tuple[np.ndarray, Area]:
    """Return which slots lie in the largest disc around the centre that holds no more than ``max_count``, and it."""
    flat = index.columns.flat
    distance2_N = area.distance2(flat("x")[slots_N], flat("y")[slots_N])
    radius_m = float(np.sqrt(np.partition(distance2_N, area.max_count)[area.max_count])) * _WITHIN
    return slots_N[distance2_N <= radius_m * radius_m], replace(area, radius_m=radius_m)


def _changes(held: Held, journal: Journal, ask: WindowAsk, ids: list[int]) -> WindowUpdate:
    index, slots_N = held.index, np.empty(0, np.int64)
    removed_N = np.array(ids, np.int64)
    is_everything = True
    if index is not None:
        slots_N = np.array([index.slot_of(record_id) for record_id in ids], np.int64)
        slots_N = slots_N[slots_N >= 0]
        flat = index.columns.flat
        is_inside_N = ask.area.distance2(flat("x")[slots_N], flat("y")[slots_N]) <= ask.area.radius_m**2
        is_everything = bool(is_inside_N.all())
        slots_N = slots_N[is_inside_N]
        removed_N = removed_N[~np.isin(removed_N, flat("id")[slots_N])]
    return WindowUpdate(
        journal.epoch, journal.revision, False, "", ask.area, held.newest_ns, None, is_everything,
        held.packed(slots_N), removed_N,
    )  # fmt: skip


def _check_on_map(area: Area, map_frame: Map) -> None:
    """Refuse an area of which a part lies where no place can: there the memory refuses what a window would answer."""
    try:
        for side_x in (-1.0, 1.0):
            for side_y in (-1.0, 1.0):
                map_frame.place_to_latlng(area.x + side_x * area.radius_m, area.y + side_y * area.radius_m)
    except PlaceError as error:
        raise QueryError(f"the area leaves the map: {error}") from error


def _held_arrays(columns: Columns, slots_N: np.ndarray) -> tuple[Successors, np.ndarray]:
    """Return what followed some records as arrays, and where in ``slots_N`` those stand that the store has to be asked.

    Those are the ones that are not held in RAM, stand in another order than their horizons, or are damaged; here they
    count as without successors.
    """
    layout = successor_layout(columns.dim)
    body_NB = columns.flat("successors")[slots_N]
    packed_NM = body_NB.reshape(-1).view(layout).reshape(len(slots_N), HELD)
    count_N = columns.flat("successor_count")[slots_N].astype(np.int64) - 1
    is_due_NM = np.arange(HELD) < count_N[:, None]
    rising_N = ~((np.diff(packed_NM["horizon"], axis=1) <= 0) & is_due_NM[:, 1:]).any(axis=1)
    good_N = (count_N >= 0) & rising_N
    unseen_N = np.flatnonzero(good_N & (columns.flat("successors_whole")[slots_N] == 0))
    good_N[unseen_N] = are_whole(
        body_NB[unseen_N], columns.flat("id")[slots_N[unseen_N]], count_N[unseen_N], layout.itemsize
    )
    columns.flat("successors_whole")[slots_N[unseen_N[good_N[unseen_N]]]] = 1
    count_N = np.where(good_N, count_N, 0)
    packed_S = packed_NM[is_due_NM & good_N[:, None]]
    followed = Successors(count_N, packed_S["horizon"], packed_S["dt"], packed_S["latent"])
    return followed, np.flatnonzero(~good_N)
