"""What a change of basis needs: that every record has its feature, and records of another basis in the memory's."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from spatial_memory.embedded.table import Catalogue
from spatial_memory.index.cell_index import CellIndex
from spatial_memory.index.pacing import giving_way
from spatial_memory.store.bases import projected
from wm_core.memory.errors import RecordError
from wm_core.memory.record import MemoryRecord, Successor
from wm_core.projection import Projection

_IDS = 100


class Followed(Protocol):
    """What has to be known of what followed records."""

    def featureless(self, ids: Sequence[int], dim: int, feature_dim: int) -> list[int]:
        """Return those of some records of which a committed successor has no feature of a size."""


def check_complete(
    index: CellIndex,
    store: Followed,
    catalogue: Catalogue,
    known: Sequence[int] = (),
    guard: threading.RLock | None = None,
) -> None:
    """Refuse a memory of which a record or a committed successor has no feature: it would be lost.

    Args:
        index: Its records.
        store: What followed them; all of it committed.
        catalogue: Their sizes.
        known: Ids of records of which all that followed has its feature.
        guard: Held while the index is looked at.

    Raises:
        RecordError: ``missing-feature``; names how many records, and one of them.
    """
    with guard or threading.RLock():
        slots_N = index.slots()
        has_N = index.columns.flat_if_any("has_feature", slots_N)
        id_N = index.columns.flat("id")[slots_N]
    lacking = (id_N if has_N is None else id_N[has_N == 0]).tolist()
    id_N = np.setdiff1d(id_N, np.array(known, np.int64))
    for at in giving_way(range(0, 0 if lacking else len(id_N), _IDS)):
        lacking += store.featureless(id_N[at : at + _IDS].tolist(), catalogue.dim, catalogue.feature_dim)
    if lacking:
        raise RecordError(
            "missing-feature",
            f"{len(lacking)} records, {lacking[0]} among them, or what followed them, have no feature to project "
            "again: delete them or clear the memory",
        )


def all_in_basis(
    records: Sequence[MemoryRecord], basis: Projection | None, coming: Projection | None, feature_id: str
) -> Sequence[MemoryRecord]:
    """Return records in a memory's basis: those in another basis of its features are projected again.

    Args:
        records: What is to be kept.
        basis: The memory's; None: not known.
        coming: What it changes to at present; None: it does not.
        feature_id: The memory's; empty: it holds nothing yet.

    Raises:
        RecordError: One of them has no feature, so that a change of basis would lose it.
    """
    wanted = coming or basis
    if wanted is None or feature_id not in ("", wanted.space.feature_id):
        return records
    made = []
    for at, record in enumerate(records):
        # What names no network is taken for the memory's; another's is refused elsewhere, or first in an empty one.
        if record.feature_id == wanted.space.feature_id or (feature_id and not record.feature_id):
            try:
                check_features((record, *record.successors), wanted.space.size)
            except RecordError as error:
                error.args = (f"record {at}: {error}",)
                raise
            if basis is not None and record.encoder_id != basis.encoder_id:
                record = in_basis(record, basis)
        made.append(record)
    return made


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
