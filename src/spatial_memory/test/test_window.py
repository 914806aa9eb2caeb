"""A window answers as the memory does wherever it covers a query, whatever was done to the memory before."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spatial_memory import CellGrid, CellMemory, Forget, LocalMap, Query, QueryError, Rigid, Store, Successor, Wgs84Map
from spatial_memory.index.compiled import EMBEDDED
from wm_core.memory.journal import Area, WindowAsk
from wm_core.memory.query import Place
from wm_core.memory.reference import BruteMemory
from wm_core.memory.window import Window

from .conftest import World
from .test_agreement import STEPS, Pair

RANDOM = settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck), print_blob=True)


def refresh(window: Window, memory: CellMemory, area: Area) -> None:
    """Let a window become as the memory is; an update that does not fit is asked for anew once."""
    for _ in range(2):
        update = memory.window(window.ask(area))
        if window.apply(update, area):
            return
    raise AssertionError("a window that was told everything does not take it")


def assert_window_agrees(window: Window, twin: BruteMemory, queries: list[Query]) -> int:
    """Assert that covered queries are answered as the twin does, ids, order and all; return how many were covered."""
    covered = [query for query in queries if window.covers(query)]
    for query, found in zip(covered, window.query_batch(covered)):
        scored = twin.scored(query)
        expected = [each.record for each in scored[: query.k]]
        assert found.candidate_count == len(scored)
        got = window.neighbours(found.row_K)
        np.testing.assert_allclose(found.distances_K, [each.distance for each in scored[: query.k]], 1e-6, 1e-9)
        # Equal distances may come in either order where they differ in the last bit; the records are whole anyway.
        by_id = {each.record.id: each.record for each in scored}
        records = [by_id[record_id] for record_id in got.id_K.tolist()]
        assert len(records) == len(expected)
        for at, record in enumerate(records):
            assert got.stamp_K[at] == record.stamp_ns
            np.testing.assert_allclose(got.pose_K4[at], [record.x, record.y, record.z, record.yaw], atol=1e-6)
            np.testing.assert_array_equal(got.latent_KD[at], record.latent_D)
            known = record.action_A if record.action_A.size else np.full(got.action_KA.shape[1], np.nan)
            np.testing.assert_array_equal(got.action_KA[at], known)
            count = len(record.successors)
            np.testing.assert_array_equal(got.dt_KM[at, :count], [item.dt_s for item in record.successors])
            assert np.isnan(got.dt_KM[at, count:]).all()
            for place, item in enumerate(record.successors):
                assert got.horizon_KM[at, place] == item.horizon_s
                np.testing.assert_array_equal(got.successor_KMD[at, place], item.latent_D)
    return len(covered)


def area_of(rng: np.random.Generator) -> Area:
    x, y = rng.uniform(-6, 6, 2)
    radius_m = float(rng.choice([1.0, 4.0, 8.0, 40.0]))
    return Area(float(x), float(y), radius_m, float(rng.choice([0.0, 0.0, 5.0])), int(rng.choice([0, 0, 30])))


@pytest.mark.slow
@RANDOM
@given(
    seed=st.integers(0, 2**32 - 2),
    steps=st.lists(st.sampled_from(["clear", *STEPS]), min_size=4, max_size=12),
    capacity=st.sampled_from([40, 150, 10_000]),
)
def test_any_history_leaves_windows_as_the_memory_is(seed, steps, capacity):
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(seed, Path(folder), capacity, 14, EMBEDDED)
        rng = np.random.default_rng(seed)
        windows = [(Window(), area_of(rng)) for _ in range(3)] + [(Window(compiled=False), Area(0.0, 0.0, 40.0))]
        covered = 0
        try:
            for step in ["insert", *steps, "insert"]:
                if step == "clear":
                    pair.memory.clear()
                    pair.twin.clear()
                    pair.world.has_features = False
                else:
                    getattr(pair, step)()
                # Some windows see every change, some only a few of them together.
                for at, (window, area) in enumerate(windows):
                    if at % 2 or rng.random() < 0.5:
                        refresh(window, pair.memory, area)
                        queries = [pair.world.query() for _ in range(6)]
                        covered += assert_window_agrees(window, pair.twin, queries)
        finally:
            pair.memory.close()
        assert covered, "nothing was compared"


def filled(count: int = 300, seed: int = 1) -> tuple[CellMemory, World]:
    world = World(seed)
    memory = CellMemory(Store(), CellGrid(LocalMap(), 15))
    memory.insert(world.records(count))
    return memory, world


AREA = Area(0.0, 0.0, 3.0)


def test_the_first_time_everything_then_only_what_changed():
    memory, world = filled()
    window = Window()
    first = memory.window(window.ask(AREA))
    assert first.is_whole
    assert first.reason == "first"
    inside = [each for each in memory.everything() if each.x**2 + each.y**2 <= 9.0]
    assert sorted(first.records.rows.id_N.tolist()) == [each.id for each in inside]
    assert window.apply(first, AREA)
    gone, linked = inside[0].id, inside[1].id
    memory.delete(Forget(ids=(gone,)))
    memory.link(linked, Successor(1.0, 1.01, world.latent()))
    new = memory.insert([world.record(x=0.5, y=0.5), world.record(x=5.0, y=5.0)])
    changes = memory.window(window.ask(AREA))
    assert not changes.is_whole
    assert sorted(changes.records.rows.id_N.tolist()) == sorted([linked, new[0]])
    assert sorted(changes.removed_N.tolist()) == sorted([gone, new[1]])
    assert window.apply(changes, AREA)
    nothing = memory.window(window.ask(AREA))
    assert not nothing.is_whole
    assert not len(nothing.records)
    assert not len(nothing.removed_N)
    memory.close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda memory, _: memory.clear(), "cleared"),
        (lambda memory, _: memory.transform(Rigid(1.0, 0.0, 0.0, 0.5)), "transformed"),
        (lambda memory, path: memory.restore(path), "restored"),
    ],
)
def test_what_changes_everything_is_told_anew_with_its_name(change, reason, tmp_path):
    memory, _ = filled()
    memory.snapshot(tmp_path / "snapshot")
    window = Window()
    refresh(window, memory, AREA)
    change(memory, tmp_path / "snapshot")
    update = memory.window(window.ask(AREA))
    assert (update.is_whole, update.reason) == (True, reason)
    memory.close()


def test_what_only_came_has_moved_nothing():
    memory, world = filled()
    window = Window()
    moves = []
    for change in (
        lambda: None,
        lambda: memory.insert([world.record(x=0.5, y=0.5), world.record(x=5.0, y=5.0)]),
        lambda: memory.link(int(window.rows().id_N[0]), Successor(1.0, 1.01, world.latent())),
        lambda: memory.delete(Forget(ids=(int(window.rows().id_N[0]),))),
        lambda: memory.transform(Rigid(0.1, 0.0, 0.0, 0.0)),
    ):
        change()
        refresh(window, memory, AREA)
        moves.append(window.move_count)
    assert moves == [1, 1, 1, 2, 3]
    inside = [each for each in memory.everything() if each.x**2 + each.y**2 <= 9.0]
    rows = window.rows()
    assert sorted(zip(rows.id_N.tolist(), rows.x_N.tolist())) == sorted((each.id, each.x) for each in inside)
    memory.close()


def test_another_area_or_another_run_of_the_memory_is_told_anew():
    memory, _ = filled()
    window = Window()
    refresh(window, memory, AREA)
    assert memory.window(window.ask(Area(1.0, 0.0, 3.0))).reason == "first"
    memory.close()
    other, _ = filled()
    assert other.window(window.ask(AREA)).reason == "restarted"
    other.close()


def test_who_is_too_far_behind_is_told_everything():
    memory, world = filled()
    window = Window()
    refresh(window, memory, AREA)
    memory._journal._most = 50
    for _ in range(3):
        memory.insert(world.records(30))
    update = memory.window(window.ask(AREA))
    assert (update.is_whole, update.reason) == (True, "too far behind")
    memory.close()


def test_at_most_so_many_make_the_area_smaller():
    memory, _ = filled()
    update = memory.window(WindowAsk(Area(0.0, 0.0, 3.0, max_count=20)))
    assert 0 < len(update.records) <= 20
    assert update.area.radius_m < 3.0
    inside = [each for each in memory.everything() if each.x**2 + each.y**2 <= update.area.radius_m**2]
    assert len(inside) == len(update.records)
    window = Window()
    window.apply(update, Area(0.0, 0.0, 3.0, max_count=20))
    assert not window.covers(Query(place=Place(0.0, 0.0), radius_m=2.9))
    memory.close()


def test_what_is_too_old_is_left_to_the_memory():
    memory, _ = filled()
    area = Area(0.0, 0.0, 30.0, max_age_s=5.0)
    window = Window()
    refresh(window, memory, area)
    newest_ns = max(each.stamp_ns for each in memory.everything())
    assert 0 < len(window) < 300
    assert not window.covers(Query(place=Place(0.0, 0.0), radius_m=1.0))
    assert window.covers(Query(place=Place(0.0, 0.0), radius_m=1.0, time_min_ns=newest_ns - 4_000_000_000))
    memory.close()


def test_a_window_knows_what_it_cannot_answer():
    memory, _ = filled()
    window = Window()
    assert not window.covers(Query(place=Place(0.0, 0.0), radius_m=1.0))
    refresh(window, memory, AREA)
    assert window.covers(Query(place=Place(0.0, 0.0), radius_m=1.0))
    assert not window.covers(Query(place=Place(2.5, 0.0), radius_m=1.0))
    assert not window.covers(Query(place=Place(0.0, 0.0)))
    assert not window.covers(Query(place=Place(0.0, 0.0), radius_m=1.0, ring_count=1))
    # The memory may be in another basis or frame by now.
    assert not window.covers(Query(place=Place(0.0, 0.0), radius_m=1.0, encoder_id="other"))
    with pytest.raises(QueryError, match="encoder"):
        window.query_batch([Query(place=Place(0.0, 0.0), radius_m=1.0, encoder_id="other")])
    memory.close()


@pytest.mark.parametrize("is_inside", [True, False])
@pytest.mark.parametrize(
    ("learnt", "asked"),
    [
        ({"frame_id": "map"}, {"frame_id": "odom"}),
        ({"action_A": np.ones(2, np.float32)}, {"action_A": np.ones(3, np.float32), "action_distance": 1.0}),
        ({}, {"encoder_id": "other"}),
        ({}, {"latent_D": np.ones(4, np.float32)}),
    ],
)
def test_what_the_memory_learns_later_of_all_its_records_is_refused_by_the_window_too(learnt, asked, is_inside):
    memory, world = filled(0)
    open_fields = {"frame_id": "", "action_A": np.empty(0, np.float32), "previous_action_A": np.empty(0, np.float32)}
    if learnt:
        memory.insert([world.record(x=0.5, y=0.0, **open_fields)])
    window = Window()
    refresh(window, memory, AREA)
    memory.insert([world.record(x=1.0 if is_inside else 5.0, y=0.0, **{**open_fields, **learnt})])
    refresh(window, memory, AREA)
    query = Query(place=Place(0.0, 0.0), radius_m=2.0, **asked)
    with pytest.raises(QueryError):
        memory.query(query)
    if window.covers(query):
        with pytest.raises(QueryError):
            window.query_batch([query])
    memory.close()


def test_an_area_that_leaves_the_map_or_is_none_is_refused():
    memory, _ = filled(3)
    for area in (Area(9_999_990.0, 0.0, 30.0), Area(0.0, 0.0, 0.0), Area(float("nan"), 0.0, 1.0)):
        with pytest.raises(QueryError):
            memory.window(WindowAsk(area))
    memory.close()
    globe = CellMemory(Store(), CellGrid(Wgs84Map(), 13))
    with pytest.raises(QueryError, match="metric"):
        globe.window(WindowAsk(AREA))
    globe.close()


def test_damaged_successors_are_left_out_as_in_an_answer():
    memory, world = filled(0)
    followed = (Successor(0.05, 0.06, world.latent()),)
    ids = memory.insert([world.record(x=0.0, y=0.0, successors=followed) for _ in range(3)])
    memory.flush()
    slot = memory._index.slot_of(ids[1])
    memory._index.columns.flat("successors")[slot, 20] ^= 1
    memory._index.columns.flat("successors_whole")[slot] = 0  # as if read from a disk
    memory._index.columns.flat("successor_count")[memory._index.slot_of(ids[2])] = 0  # not held in RAM
    update = memory.window(WindowAsk(AREA))
    counts = dict(zip(update.records.rows.id_N.tolist(), update.records.successors.count_N.tolist()))
    assert counts == dict.fromkeys(ids, 1)  # what RAM lost is read from the disk again
    memory.close()
