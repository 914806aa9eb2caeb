"""What the memory forgets, what it does while it is written to, and the parts below it."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pytest

from spatial_memory import Box, CellGrid, CellMemory, Forget, LocalMap, MemoryRecord, Place, Query, Store
from spatial_memory.embedded import inserting, table
from spatial_memory.index.columns import Columns
from spatial_memory.index.eviction import worth
from spatial_memory.index.idmap import IdMap
from wm_core.memory.errors import RecordError
from wm_core.memory.ranking import smallest

from .conftest import World


def record_of(number: int) -> MemoryRecord:
    rng = np.random.default_rng(number)
    x, y = rng.uniform(-3.0, 3.0, 2)
    return MemoryRecord(
        stamp_ns=number, latent_D=rng.normal(size=8).astype(np.float32), x=float(x), y=float(y), encoder_id="e"
    )


def memory_of(capacity: int = 10_000, **fields: object) -> CellMemory:
    return CellMemory(Store(), CellGrid(LocalMap(), 15), capacity, **fields)


def at(x: float, stamp: int, surprise: float = float("nan")) -> MemoryRecord:
    return MemoryRecord(stamp, np.ones(2, np.float32), x, 0.0, encoder_id="e", surprise=surprise)


def stamps(memory: CellMemory) -> set[int]:
    return {record.stamp_ns for record in memory.everything()}


def test_answers_stay_exact_during_heavy_insertion():
    total, chunk = 4000, 7
    records = [record_of(number) for number in range(1, total + 1)]
    latents = np.stack([record.latent_D for record in records]).astype(np.float64)
    memory = memory_of()
    memory.insert(records[:chunk])
    failures: list[str] = []
    done = threading.Event()

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        seen = 0
        while not (done.is_set() and seen):
            wanted = rng.normal(size=8).astype(np.float32)
            answer = memory.query(Query(k=5, latent_D=wanted))
            held = answer.candidate_count
            expected = np.argsort(((latents[:held] - wanted) ** 2).sum(axis=1), kind="stable")[:5] + 1
            found = [record.id for record in answer.records]
            whole = all(np.array_equal(each.latent_D, records[each.id - 1].latent_D) for each in answer.records)
            if found != expected.tolist() or not whole or held < seen:
                failures.append(f"{held} held: {found}, expected {expected.tolist()}")
            seen = held

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for reader in readers:
        reader.start()
    for start in range(chunk, total, chunk):
        memory.insert(records[start : start + chunk])
    done.set()
    for reader in readers:
        reader.join()
    memory.close()
    assert failures == []


def test_the_crowded_place_gives_first():
    memory = memory_of(capacity=5)
    memory.insert([at(0.0, 1), at(50.0, 2), at(-50.0, 3), at(50.0, 4), at(50.0, 5)])
    memory.insert([at(90.0, 6)])
    assert stamps(memory) == {1, 3, 4, 5, 6}
    memory.insert([at(-90.0, 7), at(-95.0, 8)])
    # 50.0 was the only crowded place; once it holds one record, the place that was visited longest ago goes.
    assert stamps(memory) == {3, 5, 6, 7, 8}
    memory.close()


def test_surprising_and_recent_records_stay():
    memory = memory_of(capacity=4)
    memory.insert([at(0.0, 1, surprise=9.0), at(0.0, 2, surprise=0.1), at(0.0, 3, surprise=0.5), at(0.0, 4)])
    memory.insert([at(0.0, 5, surprise=0.2)])
    assert stamps(memory) == {1, 3, 4, 5}
    memory.close()


def test_worth_is_rank_by_recency_plus_rank_by_surprise():
    value = worth(np.array([10, 20, 30]), np.array([0.9, np.nan, 0.1]), np.array([1, 2, 3]), 1.0)
    assert value.tolist() == [0 + 2, 1 + 0, 2 + 1]
    assert worth(np.array([10, 20, 30]), np.array([0.9, np.nan, 0.1]), np.array([1, 2, 3]), 0.0).tolist() == [0, 1, 2]


def test_capacity_holds_under_pressure_and_no_place_is_emptied():
    memory = memory_of(capacity=300)
    grid, world = CellGrid(LocalMap(), 15), World(0, size_m=2.0)
    ever: Counter[int] = Counter()
    for start in range(0, 2000, 50):
        records = [world.record(stamp_ns=start + number) for number in range(50)]
        ever.update(grid.cell_of(record.x, record.y) for record in records)
        memory.insert(records)
        assert memory.stats().memory_count <= 300
    held = Counter(record.h3_cell for record in memory.everything())
    quota = max(held.values())
    assert held.total() == 300
    assert all(held[cell] >= min(count, quota - 1) for cell, count in ever.items())
    memory.close()


def test_emptied_cells_are_used_again():
    memory = memory_of()
    for turn in range(6):
        ids = memory.insert([at(0.5 * number + 100.0 * turn, number) for number in range(600)])
        assert memory.query(Query(place=Place(100.0 * turn, 0.0), radius_m=0.6)).candidate_count == 2
        assert memory.delete(Forget(ids=tuple(ids))) == 600
    assert memory.stats().cell_count == 0
    assert len(memory._index.directory.pages) < 4 * 600
    memory.close()


def test_a_wide_search_sees_everything():
    memory = memory_of()
    memory.insert([at(float(x), x) for x in range(-3000, 3000, 10)])
    for radius_m in (15.0, 150.0, 1500.0, 20_000.0):
        answer = memory.query(Query(k=1, place=Place(0.0, 0.0), radius_m=radius_m))
        assert answer.candidate_count == min(600, 2 * int(radius_m // 10) + 1)
    box = Box(-1005.0, -1.0, -1.0, 1005.0, 1.0, 1.0)
    assert memory.query(Query(k=1, place=Place(0.0, 0.0), box=box)).candidate_count == 201
    memory.close()


def test_exclude_recent_counts_back_from_the_newest_or_a_stamp():
    memory = memory_of()
    memory.insert([at(0.0, second * 10**9) for second in range(10)])

    def held(**fields: object) -> set[int]:
        answer = memory.query(Query(k=20, place=Place(0.0, 0.0), **fields))
        return {record.stamp_ns // 10**9 for record in answer.records}

    assert held(exclude_recent_s=3.0) == set(range(7))
    assert held(exclude_recent_s=3.0, stamp_ns=5 * 10**9) == {0, 1, 2}
    assert held(exclude_recent_s=3.0, stamp_ns=0) == set()
    assert held(exclude_recent_s=2.0, time_min_ns=2 * 10**9) == set(range(2, 8))
    memory.delete(Forget(ids=(10,)))
    assert held(exclude_recent_s=3.0) == set(range(6))
    memory.close()


def test_unknown_actions_are_near_nothing():
    memory = memory_of()
    known = MemoryRecord(1, np.ones(2, np.float32), 0.0, 0.0, encoder_id="e", action_A=np.array([1.0, 0.0], np.float32))
    memory.insert([at(0.0, 0), known])
    near = Query(place=Place(0.0, 0.0), action_A=np.array([1.0, 0.5]), action_distance=0.5)
    assert [record.stamp_ns for record in memory.query(near).records] == [1]
    memory.close()


@pytest.mark.parametrize("seed", range(5))
def test_smallest_holds_the_smallest(seed):
    rng = np.random.default_rng(seed)
    for count in (1, 10, 100, 1000):
        score_N = rng.integers(0, 50, count).astype(np.float64)
        score_N[rng.random(count) < 0.3] = np.inf
        for k in (1, 5, 40):
            found = smallest(score_N, k)
            expected = np.sort(score_N[np.isfinite(score_N)])[:k]
            assert np.sort(score_N[found])[:k].tolist() == expected.tolist()


def test_id_map_agrees_with_a_dictionary():
    rng = np.random.default_rng(0)
    ids, twin = IdMap(), {}
    for _ in range(200):
        many = rng.choice(10**6, 50, replace=False)
        many = np.array([key for key in many.tolist() if key not in twin], np.int64)
        slots = rng.integers(0, 10**6, len(many))
        ids.set_many(many, slots)
        twin.update(zip(many.tolist(), slots.tolist()))
        for key in rng.choice(list(twin), 20, replace=False).tolist():
            ids.remove(key)
            del twin[key]
    assert all(ids.get(key) == slot for key, slot in twin.items())
    assert 10**6 + 1 not in ids


def test_columns_grow():
    columns = Columns(dim=3, action_dim=2, page_count=2)
    pages = [columns.new_page(7, rank) for rank in range(40)]
    assert pages == list(range(40))
    assert len(columns.flat("x")) >= 40 * 16
    columns.free_page(3)
    assert columns.new_page(8, 0) == 3


def test_a_cell_that_was_emptied_and_filled_again_is_found_once(grid):
    world = World(20)
    memory = CellMemory(Store(), grid)
    for _ in range(3):
        ids = memory.insert([world.record(x=1.0, y=2.0) for _ in range(20)])
        for radius_m in (0.5, 5.0, 30.0, 3_000.0):
            found = memory.query(Query(k=50, place=Place(1.0, 2.0), radius_m=radius_m))
            assert sorted(record.id for record in found.records) == ids
            assert found.candidate_count == 20
        memory.delete(Forget(ids=tuple(ids)))
    memory.close()


def test_sessions_are_bounded_and_empty_ones_make_room(open_memory, monkeypatch):
    for module in (inserting, table):
        monkeypatch.setattr(module, "MOST_SESSIONS", 4)
    memory, world = open_memory(), World(5)
    ids = [memory.insert([world.record(session=f"s{number}")])[0] for number in range(4)]
    with pytest.raises(RecordError, match="4 sessions are held, at most 4") as refused:
        memory.insert([world.record(session="s4")])
    assert refused.value.reason == "too-many-sessions"
    memory.insert([world.record(session="s3")])
    memory.delete(Forget(ids=(ids[0], ids[1])))
    memory.insert([world.record(session="s4"), world.record(session="s5")])
    held = {record.session for record in memory.everything()}
    assert held == {"s2", "s3", "s4", "s5"}
    assert {record.session for record in open_memory().everything()} == held
