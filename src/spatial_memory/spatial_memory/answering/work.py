"""Work that would hold up the executor: bounded before it begins, done in slices elsewhere, with a deadline.

The executor also carries the robot's latents, and one lock of the interpreter is shared by all threads; so what takes
longer than a moment leaves the thread of the executor, and gives way every millisecond.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from spatial_memory.index.pacing import giving_way
from wm_core.memory.errors import QueryError, RecordError
from wm_core.memory.query import Matches, Query

MOST_QUERIES = 1024
"""Queries of one request."""
MOST_ANSWERS = 4096
"""Records that the queries of one request may ask for together."""
MOST_QUERY_VALUES = 2**20
"""Numbers of latents, features and actions in one request."""
MOST_RECORDS = 1000
"""Records of one insertion."""
MOST_RECORD_VALUES = 2**23
"""Numbers of latents, features and actions of one insertion."""
MOST_ARRAY_QUERIES = 4096
"""Lookups of one request whose answer is packed."""
MOST_ARRAY_ANSWERS = 65_536
"""Answers of one such request, a record that several find counted each time."""
MOST_TOLD = 50_000
"""Records that a window is told at once; where more lie in its area, the area becomes smaller."""
MOST_OF = {"insert": {"records": MOST_RECORDS}, "query_batch": {"queries": MOST_QUERIES}}
"""{service: {field of its request: how many it may have}}, refused before they are converted."""
DEADLINE_S = 2.0
"""Longest that the queries of one request are searched for [s]."""

_QUICK_QUERIES, _QUICK_ANSWERS, _QUICK_RINGS = 16, 128, 32
_NARROW_M, _QUICK_CANDIDATES = 25.0, 100_000
_PART = 32


def check_asked(count: int, asked: int, values: int = 0) -> None:
    """Refuses a request by what its lengths say, before anything of it is converted.

    Args:
        count: Queries.
        asked: Records that they ask for together.
        values: Numbers of latents, features and actions in it.

    Raises:
        QueryError: Names what was asked, and the limit.
    """
    if count > MOST_QUERIES:
        raise QueryError(f"{count} queries in one request, at most {MOST_QUERIES}: ask in parts")
    if asked > MOST_ANSWERS:
        raise QueryError(
            f"{count} queries ask for up to {asked} records, at most {MOST_ANSWERS} in one request: ask in parts"
        )
    if values > MOST_QUERY_VALUES:
        raise QueryError(f"{values} numbers in one request, at most {MOST_QUERY_VALUES}: ask in parts")


def check_arrays(count: int, k: int) -> None:
    """Refuses a request for packed answers that asks for too much at once.

    Raises:
        QueryError: Names what was asked, and the limit.
    """
    if count > MOST_ARRAY_QUERIES or count * k > MOST_ARRAY_ANSWERS:
        raise QueryError(
            f"{count} lookups of {k} records each, at most {MOST_ARRAY_QUERIES} and {MOST_ARRAY_ANSWERS} records in "
            "one request: ask in parts"
        )


def check_records(count: int, values: int = 0) -> None:
    """Refuses an insertion of too many records, or of too much in them.

    Args:
        count: Records.
        values: Numbers of latents, features and actions in all of them, what followed included.

    Raises:
        RecordError: ``too-many``.
    """
    if values > MOST_RECORD_VALUES:
        text = f"{values} numbers in one request, at most {MOST_RECORD_VALUES}: send them in parts"
        raise RecordError("too-many", text)
    if count > MOST_RECORDS:
        raise RecordError("too-many", f"{count} records in one request, at most {MOST_RECORDS}: send them in parts")


def is_quick(queries: Sequence[Query], held: int) -> bool:
    """Returns whether queries are answered within a moment, on the executor's own thread.

    Args:
        queries: As asked.
        held: Memories that there are.
    """
    if len(queries) > _QUICK_QUERIES or sum(query.k for query in queries) > _QUICK_ANSWERS:
        return False
    wide = sum(not 0 < query.radius_m <= _NARROW_M and not 0 < query.ring_count <= _QUICK_RINGS for query in queries)
    return wide * held <= _QUICK_CANDIDATES


def answers_in_slices(search: Callable[[Sequence[Query]], list[Matches]], queries: Sequence[Query]) -> list[Matches]:
    """Returns the answers, searched a query at a time, so that others get their turn in between.

    Raises:
        QueryError: A query is wrong (by its place), or the deadline came first.
    """
    end_s = monotonic() + DEADLINE_S
    answers: list[Matches] = []
    for at in giving_way(range(len(queries))):
        if monotonic() > end_s:
            raise QueryError(
                f"{at} of {len(queries)} queries were answered within {DEADLINE_S:g} s: ask for less at once"
            )
        answers += _answer(search, queries, at)
    return answers


def _answer(search: Callable[[Sequence[Query]], list[Matches]], queries: Sequence[Query], at: int) -> list[Matches]:
    """Returns the answer to one of several queries.

    Raises:
        QueryError: It is wrong; by its place among all.
    """
    try:
        return search([queries[at]])
    except QueryError as error:
        raise QueryError(f"query {at}: {error}" if len(queries) > 1 else str(error)) from error


def answers_in_parts(search: Callable[[Sequence[Query]], list[Matches]], queries: Sequence[Query]) -> list[Matches]:
    """Returns the answers, searched some queries at a time: those that lie together cost less together.

    Raises:
        QueryError: A query is wrong (by its place), or the deadline came first.
    """
    end_s = monotonic() + DEADLINE_S
    answers: list[Matches] = []
    for start in giving_way(range(0, len(queries), _PART)):
        if monotonic() > end_s:
            raise QueryError(
                f"{start} of {len(queries)} queries were answered within {DEADLINE_S:g} s: ask for less at once"
            )
        part = range(start, min(start + _PART, len(queries)))
        try:
            answers += search([queries[at] for at in part])
        except QueryError:
            answers += [each for at in part for each in _answer(search, queries, at)]
    return answers
