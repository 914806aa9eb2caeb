"""From queries to complete records, over an index and the store that holds the successors.

Shape suffixes: N = records of all shortlists, K = answers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from spatial_memory.embedded.table import Catalogue, records_of
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.index.cell_index import CellIndex, Search
from spatial_memory.index.looks import is_by_feature, look_shortlist
from spatial_memory.index.successors import recall
from spatial_memory.store.store import Store
from wm_core.memory.filters import Limits
from wm_core.memory.query import Matches, Query, check_queries, no_matches
from wm_core.memory.ranking import Shortlist, rank
from wm_core.memory.record import MemoryRecord, Successor


def limits_of(
    queries: Sequence[Query], catalogue: Catalogue, grid: CellGrid, newest_ns: int | None
) -> list[Limits | None]:
    """Check queries and return their bounds in the memory's numbers; None for those that nothing can match.

    Args:
        queries: As asked.
        catalogue: What the memory knows about its records.
        grid: Cuts the map into cells.
        newest_ns: Stamp of the newest memory [ns]; None where there is none.

    Raises:
        QueryError: The first one that cannot be answered as asked, by its place in the list.
    """
    check_queries(
        queries,
        catalogue.dim,
        catalogue.action_dim,
        catalogue.encoder_id,
        grid.map.place_to_latlng,
        catalogue.frame_id,
        catalogue.feature_id,
        catalogue.feature_dim,
    )
    limits: list[Limits | None] = []
    for query in queries:
        session = catalogue.sessions.get(query.session) if query.session else None
        if newest_ns is None or (query.session and session is None):
            limits.append(None)
        else:
            limits.append(Limits(*query.time_bounds(newest_ns), session))
    return limits


def answer(
    search: Search, catalogue: Catalogue, store: Store, queries: Sequence[Query], limits: Sequence[Limits | None]
) -> list[Matches]:
    """Return the answer to each query, with complete records.

    Args:
        search: Finds them.
        catalogue: What the memory knows about its records.
        store: What followed them.
        queries: Checked before.
        limits: As ``limits_of`` returned them.
    """
    asked = [(at, query, limit) for at, (query, limit) in enumerate(zip(queries, limits)) if limit is not None]
    answers = [no_matches()] * len(queries)
    if asked:
        some = [query for _, query, _ in asked]
        shortlists = _shortlists(search, some, [limit for _, _, limit in asked])
        for (at, _, _), matches in zip(asked, complete(search.index, catalogue, store, some, shortlists)):
            answers[at] = matches
    return answers


def _shortlists(search: Search, queries: Sequence[Query], limits: Sequence[Limits]) -> list[Shortlist]:
    """Return the shortlist of each query: features are compared alike by every backend."""
    if not any(map(is_by_feature, queries)):
        return search.shortlists(queries, limits)
    found = {
        at: look_shortlist(search.index, query, limit)
        for at, (query, limit) in enumerate(zip(queries, limits))
        if is_by_feature(query)
    }
    others = [at for at in range(len(queries)) if at not in found]
    if others:
        ranked = search.shortlists([queries[at] for at in others], [limits[at] for at in others])
        found.update(zip(others, ranked))
    return [found[at] for at in range(len(queries))]


def complete(
    index: CellIndex, catalogue: Catalogue, store: Store, queries: Sequence[Query], shortlists: Sequence[Shortlist]
) -> list[Matches]:
    """Return the answer to each query from its shortlist: rank them and gather all records at once."""
    slots_N = np.concatenate([shortlist.slot_N for shortlist in shortlists])
    rows = index.rows(slots_N)
    ranked = rank(rows, queries, shortlists, index.grid.map)
    kept_N = np.concatenate([ranking.order_K for ranking in ranked])
    ids = rows.id_N[kept_N].tolist()
    sizes = [len(ranking.order_K) for ranking in ranked]
    asked_N = [query.successors for query, size in zip(queries, sizes) for _ in range(size)]
    wanted = dict(itertools.compress(zip(ids, slots_N[kept_N].tolist()), asked_N))
    # Queries around the same place find the same records: each is made once.
    places = dict(zip(ids, kept_N.tolist()))
    made = records_of(rows, list(places.values()), catalogue, _successors(index, store, wanted))
    if wanted and catalogue.feature_dim:
        made = store.completed(made)
    records = dict(zip(places, made))
    # Who asks for no successors gets the records without, and those are made once, too.
    is_mixed = bool(wanted) and not all(query.successors for query in queries)
    plain = {at: _without_successors(record) for at, record in records.items()} if is_mixed else records
    answers: list[Matches] = []
    start = 0
    for query, shortlist, size, each in zip(queries, shortlists, sizes, ranked):
        known = records if query.successors else plain
        found = [known[record_id] for record_id in ids[start : start + size]]
        answers.append(Matches(found, *each.distances, shortlist.candidate_count))
        start += size
    return answers


def _without_successors(record: MemoryRecord) -> MemoryRecord:
    if not record.successors:
        return record
    # As in ``records_of``: the constructor of a frozen dataclass costs more than ranking does.
    plain = MemoryRecord.__new__(MemoryRecord)
    plain.__dict__.update(record.__dict__, successors=())
    return plain


def _successors(index: CellIndex, store: Store, slots: dict[int, int]) -> dict[int, tuple[Successor, ...]]:
    """Return what followed some records, by id; what is not held in RAM is read from the store."""
    if not slots:
        return {}
    held, others = recall(index.columns, np.array(list(slots.values())), list(slots))
    return store.successors(others, index.dim, held)
