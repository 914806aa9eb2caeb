"""Which records a delete or a transform means, and where a transform moves them. Shape suffix: N = records."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spatial_memory.embedded.table import Catalogue
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.index.cell_index import CellIndex
from spatial_memory.store.extras import Extra
from wm_core.memory.present import present_ns
from wm_core.memory.protocol import Forget, Rigid
from wm_core.memory.rows import Rows
from wm_core.se3 import turned_about_z


def matching_slots(what: Forget, index: CellIndex, catalogue: Catalogue) -> np.ndarray:
    """Return the slots of the records that match all criteria given; all of them where none is.

    Args:
        what: The criteria.
        index: Where the records lie.
        catalogue: Their sessions.
    """
    if what.ids:
        slots_N = np.array([index.slot_of(record_id) for record_id in dict.fromkeys(what.ids)], np.int64)
        slots_N = slots_N[slots_N >= 0]
    else:
        slots_N = index.slots()
    flat = index.columns.flat
    mask_N = np.ones(len(slots_N), bool)
    if what.box is not None:
        for axis, low, high in zip("xyz", what.box[:3], what.box[3:]):
            values_N = flat(axis)[slots_N]
            mask_N &= (values_N >= low) & (values_N <= high)
    if what.session:
        mask_N &= flat("session")[slots_N] == catalogue.sessions.get(what.session, -1)
    if what.older_than_s > 0:
        present = present_ns(flat("stamp")[index.slots()], what.now_ns)
        mask_N &= flat("stamp")[slots_N] < present - round(what.older_than_s * 1e9)
    return slots_N[mask_N]


def moved_rows(rows: Rows, rigid: Rigid, grid: CellGrid) -> Rows:
    """Return rows, changed in place, where a transform moves them.

    Raises:
        PlaceError: One of them would lie nowhere.
    """
    rows.x_N, rows.y_N, rows.z_N = rigid.apply(rows.x_N, rows.y_N, rows.z_N)
    turned_N = rows.yaw_N.astype(np.float64) + rigid.yaw
    rows.yaw_N = ((turned_N + np.pi) % (2.0 * np.pi) - np.pi).astype(np.float32)
    rows.cell_N = grid.cells_of(rows.x_N, rows.y_N)
    if rows.rotation_N4 is not None:
        tilts_N = np.flatnonzero(~np.isnan(rows.rotation_N4[:, 0]))
        turned = [turned_about_z(rotation, rigid.yaw) for rotation in rows.rotation_N4[tilts_N].tolist()]
        rows.rotation_N4[tilts_N] = np.array(turned, np.float32).reshape(-1, 4)
    return rows


def turned_extras(extras: Mapping[int, Mapping[float, Extra]], rigid: Rigid) -> list[tuple[int, Extra]]:
    """Return the rotations that are more than a yaw as a transform turns them, by record.

    Args:
        extras: What some records have, by id and horizon.
        rigid: The transform.
    """
    own = [(key, items[0.0]) for key, items in extras.items() if 0.0 in items]
    return [
        (key, item._replace(orientation=turned_about_z(item.orientation, rigid.yaw)))
        for key, item in own
        if item.orientation is not None
    ]
