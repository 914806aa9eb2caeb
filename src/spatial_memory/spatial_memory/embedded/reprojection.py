"""All latents of an index in another basis, worked out from the features it holds.

They are made beside those in use, a part at a time, so that queries go on; what was written meanwhile is done again
before both change places.

Shape suffixes: N = records, D = latent size, F = feature size.
"""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np

from spatial_memory.embedded.table import Catalogue
from spatial_memory.index.cell_index import CellIndex
from spatial_memory.index.columns import PAGE, Replacement
from spatial_memory.store.bases import projected
from spatial_memory.store.store import Store
from wm_core.memory.errors import EncoderMismatchError, RecordError
from wm_core.memory.record import MemoryRecord, Successor
from wm_core.projection import Projection

_PAGES = 64
_IDS = 500


def check_projection(catalogue: Catalogue, projection: Projection) -> None:
    """Refuse a projection that cannot make a memory's latents from its features.

    Args:
        catalogue: The memory's; it holds something.
        projection: What is to be its basis.

    Raises:
        EncoderMismatchError: It is of another network or other sizes, or the memory holds no features.
    """
    space = projection.space
    if not catalogue.feature_id:
        raise EncoderMismatchError(
            f"a projection of features of network {space.feature_id} came, the memory holds none: "
            f"its latents of encoder {catalogue.encoder_id or '(unnamed)'} stay as they are"
        )
    if catalogue.feature_id != space.feature_id:
        raise EncoderMismatchError(
            f"a projection of features of network {space.feature_id} came, the memory holds those of "
            f"{catalogue.feature_id}: clear it or give it another db_path"
        )
    if catalogue.feature_dim and catalogue.feature_dim != space.size:
        raise EncoderMismatchError(
            f"a projection of features of {space.size} values came, the memory's have {catalogue.feature_dim}"
        )
    if catalogue.dim != projection.z_dim:
        raise EncoderMismatchError(
            f"a projection onto latents of {projection.z_dim} values came, the memory's have {catalogue.dim}"
        )


def check_complete(index: CellIndex, store: Store, catalogue: Catalogue, guard: threading.RLock | None = None) -> None:
    """Refuse a memory of which a record or a committed successor has no feature: it would be lost.

    Args:
        index: Its records.
        store: What followed them; all of it committed.
        catalogue: Their sizes.
        guard: Held while the index is looked at.

    Raises:
        RecordError: ``missing-feature``; names how many records, and one of them.
    """
    with guard or threading.RLock():
        slots_N = index.slots()
        has_N = index.columns.flat_if_any("has_feature", slots_N)
        ids = index.columns.flat("id")[slots_N].tolist()
    lacking = ids if has_N is None else [key for key, has in zip(ids, has_N.tolist()) if not has]
    for at in range(0, 0 if lacking else len(ids), _IDS):
        lacking += store.featureless(sorted(ids[at : at + _IDS]), catalogue.dim, catalogue.feature_dim)
    if lacking:
        raise RecordError(
            "missing-feature",
            f"{len(lacking)} records, {lacking[0]} among them, or what followed them, have no feature to project "
            "again: delete them or clear the memory",
        )


def project_all(index: CellIndex, projection: Projection, guard: threading.RLock | None = None) -> Replacement:
    """Return all latents of an index in another basis, to be put in place of its own.

    Args:
        index: Its records have features.
        projection: The basis.
        guard: Held while the index is looked at; None: nobody else uses it.
    """
    guard = guard or threading.RLock()
    with guard:
        replacement = index.columns.replacement()
    page = 0
    while True:
        with guard:
            last = min(page + _PAGES, index.columns.page_count)
            slots_N = np.arange(page * PAGE, last * PAGE)
            feature_NF = index.columns.flat("feature")[slots_N]
        if page >= last:
            return replacement
        replacement.write(slots_N, projection.project(feature_NF))
        page = last


def put_in_place(index: CellIndex, replacement: Replacement, projection: Projection) -> None:
    """Put all latents in another basis in place of an index's own, what was written meanwhile included."""
    slots_N = replacement.missed(index.columns)
    for at in range(0, len(slots_N), _PAGES * PAGE):
        part_N = slots_N[at : at + _PAGES * PAGE]
        replacement.write(part_N, projection.project(index.columns.flat("feature")[part_N]))
    index.columns.put_in_place(replacement)


def in_basis(record: MemoryRecord, projection: Projection) -> MemoryRecord:
    """Return a record whose latents, its successors' included, follow from their features.

    Raises:
        RecordError: ``missing-feature``: one has none.
    """
    size = projection.space.size
    check_features((record, *record.successors), size)
    latent_D = projection.project(record.feature_F[None])[0]
    successors = tuple(projected(record.successors, projection))
    return replace(record, latent_D=latent_D, encoder_id=projection.encoder_id, successors=successors)


def check_features(holders: tuple[MemoryRecord | Successor, ...], size: int) -> None:
    """Refuse what has no feature of a size, in a memory whose basis may change.

    Raises:
        RecordError: ``missing-feature``.
    """
    for holder in holders:
        if holder.feature_F.size != size:
            what = "record" if isinstance(holder, MemoryRecord) else "successor"
            raise RecordError(
                "missing-feature", f"a {what} has a feature of {holder.feature_F.size} values, the basis needs {size}"
            )
