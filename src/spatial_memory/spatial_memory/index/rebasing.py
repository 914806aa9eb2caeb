"""All latents of an index in another basis, worked out from the features it holds; successors by who has theirs.

They are made beside those in use, a part at a time, so that queries go on; what was written meanwhile is done again
before both change places.

Shape suffixes: N = records, F = feature size, W = bytes held per record.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import numpy as np

from spatial_memory.index.columns import PAGE, Columns, Replacement
from spatial_memory.index.pacing import giving_way
from wm_core.projection import Projection

_PAGES = 64
# As many take a millisecond: for as long the other threads of the process wait, whenever they gave way themselves.
_PAGES_IN_TURNS = 8
Renew = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From ids [N], packed successors [N, W] and counts [N], as columns hold them, to both in another basis."""


def project_all(
    columns: Columns,
    projection: Projection,
    renew: Renew,
    guard: threading.RLock | None = None,
    *,
    in_turns: bool = True,
) -> Replacement:
    """Return all latents of an index's columns in another basis, to be put in place of its own.

    Args:
        columns: The records have features.
        projection: The basis.
        renew: Does the same for what followed them.
        guard: Held while they are looked at; None: nobody else uses it.
        in_turns: Let the other threads of the process work, too.
    """
    guard = guard or threading.RLock()
    with guard:
        replacement = columns.replacement()
    page, pages = 0, _PAGES_IN_TURNS if in_turns else _PAGES
    for _ in giving_way(itertools.count()) if in_turns else itertools.count():
        with guard:
            last = min(page + pages, columns.page_count)
            slots_N = np.arange(page * PAGE, last * PAGE)
            feature_NF = columns.flat("feature")[slots_N]
            live_N = columns.live(page, last)
            followed = [columns.flat(name)[live_N] for name in ("id", "successors", "successor_count")]
        if page >= last:
            break
        replacement.write(slots_N, projection.project(feature_NF))
        replacement.hold(live_N, *renew(*followed))
        page = last
    return replacement


def put_in_place(columns: Columns, replacement: Replacement, projection: Projection) -> None:
    """Put all latents in another basis in place of an index's own, what was written meanwhile included."""
    slots_N = replacement.missed(columns)
    for at in range(0, len(slots_N), _PAGES * PAGE):
        part_N = slots_N[at : at + _PAGES * PAGE]
        replacement.write(part_N, projection.project(columns.flat("feature")[part_N]))
    columns.put_in_place(replacement)
