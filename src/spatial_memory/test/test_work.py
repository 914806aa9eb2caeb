"""What would hold up the executor is refused before it begins, or done in slices within a deadline."""

from __future__ import annotations

import time

import numpy as np
import pytest

from spatial_memory import CellGrid, CellMemory, LocalMap, Store
from spatial_memory.answering import work
from spatial_memory.answering.whole import WholeChanges
from spatial_memory.answering.work import answers_in_slices, check_asked, check_records, is_quick
from spatial_memory.index import pacing
from spatial_memory.index.pacing import giving_way
from wm_core.memory.errors import QueryError, RecordError
from wm_core.memory.query import Place, Query
from wm_core.memory.record import MemoryRecord

HERE = Place(0.0, 0.0)


@pytest.fixture
def memory():
    held = CellMemory(Store(), CellGrid(LocalMap(), 15))
    rng = np.random.default_rng(0)
    places = rng.uniform(-5.0, 5.0, (300, 2)).tolist()
    held.insert([MemoryRecord(1 + n, rng.normal(size=4).astype(np.float32), x, y, session="s", encoder_id="e")
                 for n, (x, y) in enumerate(places)])  # fmt: skip
    yield held
    held.close()


@pytest.mark.parametrize(("count", "k"), [(1, 4096), (512, 8), (1024, 4), (0, 8)])
def test_what_is_asked_for_within_the_limits_is_taken(count, k):
    check_asked(count, count * k)


@pytest.mark.parametrize(("count", "k"), [(2, 4096), (40, 4096), (513, 8), (1025, 1)])
def test_what_is_asked_for_beyond_them_is_refused_by_name(count, k):
    with pytest.raises(QueryError, match=r"at most (1024|4096).*: ask in parts"):
        check_asked(count, count * k)


def test_insertions_are_bounded():
    check_records(1000)
    with pytest.raises(RecordError, match="20000 records in one request, at most 1000"):
        check_records(20_000)


def test_only_what_takes_a_moment_stays_on_the_executor():
    near, wide = Query(k=16, place=HERE, radius_m=2.0), Query(k=16, place=HERE, radius_m=200.0)
    assert is_quick([near] * 3, held=10_000_000)
    assert is_quick([wide], held=1000)
    assert not is_quick([wide], held=10_000_000)
    assert not is_quick([Query(k=8, latent_D=np.zeros(4, np.float32))], held=10_000_000)
    assert not is_quick([near] * 17, held=0)
    assert not is_quick([Query(k=4096, place=HERE, radius_m=1.0)], held=0)
    assert not is_quick([Query(k=8, place=HERE, ring_count=256)], held=10_000_000)


def test_slices_answer_as_the_whole_does(memory):
    queries = [Query(k=5, place=Place(x, -x), radius_m=4.0) for x in np.linspace(-5, 5, 50).tolist()]
    for sliced, whole in zip(answers_in_slices(memory.query_batch, queries), memory.query_batch(queries), strict=True):
        assert [record.id for record in sliced.records] == [record.id for record in whole.records]
        np.testing.assert_array_equal(sliced.distances_K, whole.distances_K)


def test_a_wrong_query_is_named_by_its_place(memory):
    with pytest.raises(QueryError, match="query 2: k is 0"):
        answers_in_slices(memory.query_batch, [Query(place=HERE), Query(place=HERE), Query(k=0, place=HERE)])


def test_the_deadline_ends_a_search(memory, monkeypatch):
    now = [0.0]

    def search(queries):
        now[0] += 0.3
        return memory.query_batch(queries)

    monkeypatch.setattr(work, "monotonic", lambda: now[0])
    monkeypatch.setattr(pacing, "sleep", lambda _: None)
    with pytest.raises(QueryError, match="7 of 40 queries were answered within 2 s"):
        answers_in_slices(search, [Query(place=HERE)] * 40)


def test_work_gives_way(monkeypatch):
    slept = []
    monkeypatch.setattr(pacing, "sleep", slept.append)
    for _ in giving_way(range(5)):
        begin = time.perf_counter()
        while time.perf_counter() - begin < 0.002:
            pass
    assert len(slept) == 5
    assert min(slept) >= 0.001
    assert list(giving_way(range(1000))) == list(range(1000))


def test_the_end_of_each_change_and_copy_is_told_however_it_went():
    told = []
    whole = WholeChanges(None, lambda: told.append("changed"), lambda: told.append("ended"))

    def refused():
        raise RecordError("full", "no room")

    assert whole.make(lambda number: number + 1, 2) == 3
    assert whole.copied(lambda: 5) == 5
    for attempt in (whole.make, whole.copied):
        with pytest.raises(RecordError):
            attempt(refused)
    assert told == ["ended", "changed", "ended", "ended", "ended"]
    assert whole.under_way == 0
