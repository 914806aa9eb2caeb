"""What an index holds, in outline; costs what its cells cost, not what its records do.

Shape suffixes: N = records, L = lists (one per cell).
"""

from __future__ import annotations

import numpy as np

from spatial_memory.embedded.table import Catalogue
from spatial_memory.index.cell_index import CellIndex
from wm_core.memory.overview import Overview, Traces
from wm_core.memory.present import newest_ns


def overview_now(index: CellIndex, catalogue: Catalogue, most: int, last: int) -> Overview:
    """Return the outline of an index that holds something.

    Args:
        index: Its owner locks.
        catalogue: What it holds records of.
        most: ``Overview.all`` holds at most so many, or none.
        last: ``Overview.newest`` holds so many.
    """
    directory = index.directory
    lists_L = directory.occupied()
    return Overview(
        catalogue.frame_id,
        len(index),
        newest_ns(directory.newest_L[lists_L]),
        directory.cell_L[lists_L],
        directory.size_L[lists_L],
        directory.newest_L[lists_L],
        _traces(index, index.slots()) if len(index) <= most else Traces(),
        _traces(index, _newest_slots(index, catalogue.next_id, last)),
    )


def _newest_slots(index: CellIndex, next_id: int, last: int) -> np.ndarray:
    """Return the slots of the records with the greatest ids."""
    wanted = min(last, len(index))
    slots_N = index.slots_of_ids(np.arange(max(0, next_id - last), next_id))
    slots_N = slots_N[slots_N >= 0]
    if len(slots_N) >= wanted:
        return slots_N
    # What was forgotten, or brought by a snapshot, leaves gaps.
    slots_N = index.slots()
    id_N = index.columns.flat("id")[slots_N]
    return slots_N[np.argpartition(id_N, len(id_N) - wanted)[len(id_N) - wanted :]]


def _traces(index: CellIndex, slots_N: np.ndarray) -> Traces:
    flat = index.columns.flat
    slots_N = slots_N[np.argsort(flat("id")[slots_N])]
    return Traces(
        flat("id")[slots_N],
        np.stack([flat(name)[slots_N] for name in "xyz"], axis=1).astype(np.float64),
        flat("stamp")[slots_N],
        flat("session")[slots_N].astype(np.int64),
        flat("surprise")[slots_N].astype(np.float64),
    )
