"""A change of basis: everything or nothing, whatever happens meanwhile; what is in another joins by its features."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spatial_memory import (
    CellGrid,
    CellMemory,
    EncoderMismatchError,
    Forget,
    LocalMap,
    MemoryRecord,
    Place,
    Query,
    RecordError,
    Rigid,
    Store,
    StoreError,
    Successor,
)
from spatial_memory.embedded import rebasing
from spatial_memory.index.compiled import EMBEDDED
from spatial_memory.index.portable import PORTABLE
from spatial_memory.store.recovery import recover
from spatial_memory.store.writer import Change
from wm_core.memory.journal import Area, WindowAsk
from wm_core.memory.kernels import load
from wm_core.memory.window import Window
from wm_core.projection import FeatureSpace, Projection

SPACE = FeatureSpace("net", 12, 2, 0.05, 3)
DIM = 4
EVERYTHING = Query(k=4096, place=Place(0.0, 0.0), successors=True)


def projection(seed: int, space: FeatureSpace = SPACE) -> Projection:
    rng = np.random.default_rng(seed)
    return Projection(space, rng.normal(size=space.size), rng.normal(size=(DIM, space.size)))


FIRST, SECOND = projection(1), projection(2)


def feature(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(-128, 128, SPACE.size).astype(np.int8)


def successor(rng: np.random.Generator, basis: Projection, horizon_s: float = 0.05) -> Successor:
    feature_F = feature(rng)
    return Successor(horizon_s, horizon_s, basis.project(feature_F[None])[0], feature_F)


def records(count: int, basis: Projection = FIRST, seed: int = 0, **fields: object) -> list[MemoryRecord]:
    rng = np.random.default_rng(seed)
    made = []
    for at in range(count):
        feature_F = feature(rng)
        made.append(
            MemoryRecord(
                stamp_ns=at * 10**8, latent_D=basis.project(feature_F[None])[0], x=float(rng.uniform(-9, 9)),
                y=float(rng.uniform(-9, 9)), session="s", encoder_id=basis.encoder_id, feature_id="net",
                feature_F=feature_F, successors=(successor(rng, basis), successor(rng, basis, 1.0)), **fields,
            )
        )  # fmt: skip
    return made


def assert_in(memory: CellMemory, basis: Projection, count: int) -> None:
    """Assert that all of a memory is in one basis, as a plain projection of each feature says."""
    found = memory.query_batch([EVERYTHING])[0].records
    assert len(found) == count
    assert memory.stats().encoder_id == basis.encoder_id
    for record in found:
        assert record.encoder_id == basis.encoder_id
        for each in (record, *record.successors):
            np.testing.assert_allclose(each.latent_D, basis.project(each.feature_F[None])[0], rtol=1e-4, atol=1e-4)
    wanted_D = basis.project(found[7].feature_F[None])[0]
    nearest = memory.query_batch([Query(k=1, latent_D=wanted_D, encoder_id=basis.encoder_id)])[0]
    assert (nearest.records[0].id, nearest.distances_K[0]) == (found[7].id, pytest.approx(0.0, abs=1e-3))


@pytest.fixture(params=["compiled", "portable", "faiss"])
def backend(request):
    if request.param == "faiss":
        return pytest.importorskip("spatial_memory.index.flat", reason="faiss-cpu is not installed").FAISS
    if request.param == "compiled" and load() is None:
        pytest.skip("built without a C compiler")
    return EMBEDDED if request.param == "compiled" else PORTABLE


@pytest.mark.slow
def test_everything_changes_and_survives_a_restart_a_move_and_a_snapshot(open_memory, backend, tmp_path):
    memory = open_memory(backend=backend)
    memory.insert(records(200))
    memory.link(3, successor(np.random.default_rng(9), FIRST, 0.5))
    assert_in(memory, FIRST, 200)
    assert memory.reproject(SECOND) == 200
    assert_in(memory, SECOND, 200)
    memory.link(5, successor(np.random.default_rng(8), SECOND, 0.5))
    assert sorted(s.horizon_s for s in memory.get([3])[0].successors) == [0.05, 0.5, 1.0]
    assert memory.transform(Rigid(0.5, 0.0, 0.0, 0.3)) == 200
    assert_in(memory, SECOND, 200)
    memory.snapshot(tmp_path / "snapshot")
    assert_in(memory := open_memory(backend=backend), SECOND, 200)
    memory.insert(records(5, SECOND, seed=1))
    assert memory.restore(tmp_path / "snapshot") == 200
    assert_in(memory, SECOND, 200)
    assert memory.reproject(FIRST) == 200
    assert_in(memory, FIRST, 200)
    assert_in(open_memory(backend=backend), FIRST, 200)


def test_what_followed_is_held_in_the_new_basis_so_that_no_window_waits_for_the_file(open_memory, monkeypatch):
    memory = open_memory()
    made = records(70)
    made[5] = replace(made[5], successors=made[5].successors[1:])
    made[6] = replace(made[6], successors=())
    memory.insert(made)
    memory.reproject(SECOND)
    for _ in ("changed", "opened again"):
        monkeypatch.setattr(Store, "successors", lambda *_, **__: pytest.fail("the file was asked"))
        records_held = memory.window(WindowAsk(Area(0.0, 0.0, 30.0))).records
        monkeypatch.undo()
        order_N, followed = np.argsort(records_held.rows.stamp_N), records_held.successors
        assert followed.count_N[order_N].tolist() == [len(record.successors) for record in made]
        ends_N = np.cumsum(followed.count_N)
        for record, at in zip(made, order_N.tolist()):
            latent_SD = followed.latent_SD[ends_N[at] - followed.count_N[at] : ends_N[at]]
            for each, latent_D in zip(record.successors, latent_SD):
                np.testing.assert_allclose(latent_D, SECOND.project(each.feature_F[None])[0], rtol=1e-4, atol=1e-4)
        assert_in(memory, SECOND, 70)
        memory.close()
        memory = open_memory()


def test_a_damaged_feature_of_a_successor_leaves_the_others_and_refuses_a_change(open_memory):
    memory = open_memory()
    memory.insert(records(30))
    memory.reproject(SECOND)
    memory._store._writer.run_now(
        Change([("UPDATE extra SET body = substr(body, 1, length(body) - 1) WHERE record = 7", [()])]), 10.0
    )
    with pytest.raises(RecordError, match="1 records, 7 among them"):
        memory.reproject(FIRST)
    assert memory.stats().encoder_id == SECOND.encoder_id
    assert len(memory.query_batch([EVERYTHING])[0].records) == 30


def test_what_comes_in_another_basis_of_the_same_features_joins(open_memory, tmp_path):
    other = CellMemory(Store(), CellGrid(LocalMap(), 15))
    other.insert(records(60, SECOND, seed=3))
    other.snapshot(tmp_path / "theirs")
    memory = open_memory()
    memory.reproject(FIRST)
    memory.insert(records(50))
    memory.insert(records(40, SECOND, seed=1))
    memory.link(2, successor(np.random.default_rng(1), SECOND, 0.5))
    assert_in(memory, FIRST, 90)
    assert memory.restore(tmp_path / "theirs") == 60
    assert_in(memory, FIRST, 60)
    assert_in(open_memory(), FIRST, 60)
    other.close()


def test_what_cannot_be_projected_is_refused_by_name_and_nothing_changes(open_memory):
    memory = open_memory()
    memory.insert(records(20))
    with pytest.raises(EncoderMismatchError, match="network other came, the memory holds those of net"):
        memory.reproject(projection(1, replace(SPACE, feature_id="other")))
    with pytest.raises(EncoderMismatchError, match="features of 16 values came"):
        memory.reproject(projection(1, replace(SPACE, size=16)))
    memory.link(4, successor(np.random.default_rng(1), FIRST, 0.5)._replace(feature_F=np.empty(0, np.int8)))
    with pytest.raises(RecordError, match="1 records, 4 among them"):
        memory.reproject(SECOND)
    assert memory.query_batch([EVERYTHING])[0].records[0].encoder_id == FIRST.encoder_id
    memory.clear()
    memory.insert([MemoryRecord(0, np.ones(DIM, np.float32), 0.0, 0.0, encoder_id="tiny")])
    with pytest.raises(EncoderMismatchError, match="the memory holds none"):
        memory.reproject(SECOND)


def test_a_memory_with_a_basis_takes_nothing_that_a_change_would_lose(open_memory):
    memory = open_memory()
    memory.reproject(FIRST)
    memory.insert(records(20))
    bare = records(1, seed=5)[0]
    lost = Successor(1.0, 1.0, bare.latent_D)
    for each in (replace(bare, feature_F=lost.feature_F), replace(bare, successors=(lost,))):
        with pytest.raises(RecordError, match=r"record 0: a (record|successor) has a feature of 0 values"):
            memory.insert([each])
    with pytest.raises(RecordError, match="a successor has a feature of 0 values"):
        memory.link(1, Successor(0.5, 0.5, bare.latent_D))
    assert memory.reproject(SECOND) == 20


def test_a_disk_that_takes_nothing_leaves_the_basis(open_memory, monkeypatch):
    memory = open_memory()
    memory.insert(records(30))

    def refuse(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(memory._store, "put_meta_now", refuse)
    with pytest.raises(StoreError, match="full"):
        memory.reproject(SECOND)
    assert_in(memory, FIRST, 30)
    monkeypatch.undo()
    memory.insert(records(3, seed=4))
    assert memory.reproject(SECOND) == 33
    assert_in(memory, SECOND, 33)


def assert_window_in(window: Window, memory: CellMemory, area: Area, basis: Projection) -> None:
    """Assert that a window, once it has looked for changes, holds just what the memory does, in one basis."""
    while not window.apply(memory.window(window.ask(area)), area):
        pass
    kept = {record.id: record for record in memory.everything()}
    rows = window.rows()
    assert window.encoder_id in ("", basis.encoder_id)
    assert sorted(rows.id_N.tolist()) == sorted(kept)
    place = Query(k=len(kept) + 1, place=Place(0.0, 0.0), rank_by="pose", successors=True)
    assert window.covers(place)
    found = window.neighbours(window.query_batch([place])[0].row_K)
    for at, record_id in enumerate(found.id_K.tolist()):
        record = kept[record_id]
        count = int(np.isfinite(found.horizon_KM[at]).sum())
        assert found.horizon_KM[at, :count].tolist() == [each.horizon_s for each in record.successors]
        pairs = zip((found.latent_KD[at], *found.successor_KMD[at]), (record, *record.successors))
        for latent_D, each in pairs:
            np.testing.assert_allclose(latent_D, basis.project(each.feature_F[None])[0], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_any_history_of_bases_leaves_windows_as_the_memory_is(open_memory, seed):
    rng = np.random.default_rng(seed)
    bases, area = [projection(number) for number in (1, 2, 3)], Area(0.0, 0.0, 40.0)
    memory, windows, basis = open_memory(), [Window(), Window(compiled=False)], bases[0]
    memory.reproject(basis)
    memory.insert(records(int(rng.integers(1, 80)), basis, seed=seed))
    steps = ["insert", "link", "delete", "change", "restart", "clear"]
    for step in rng.choice(steps, 14, p=[0.2, 0.3, 0.1, 0.2, 0.15, 0.05]):
        ids = [record.id for record in memory.everything()]
        if step == "insert" or not ids:
            memory.insert(records(int(rng.integers(1, 40)), bases[rng.integers(3)], seed=int(rng.integers(1000))))
        elif step == "link":
            horizon_s = float(rng.choice([0.5, 1.0, 2.0]))
            memory.link(int(rng.choice(ids)), successor(rng, bases[rng.integers(3)], horizon_s))
        elif step == "delete":
            memory.delete(Forget(ids=tuple(rng.choice(ids, min(3, len(ids)), replace=False).tolist())))
        elif step == "change":
            basis = bases[rng.integers(3)]
            memory.reproject(basis)
        elif step == "restart":
            memory.close()
            memory = open_memory()
            memory.reproject(basis)  # the robot tells it again
        else:
            memory.clear()
        for window in windows if rng.random() < 0.5 else windows[:1]:
            assert_window_in(window, memory, area, basis)


@pytest.mark.slow
def test_queries_and_writes_go_on_meanwhile_in_one_basis(open_memory, backend, monkeypatch):
    memory = open_memory(backend=backend)
    first = records(300)
    first[8] = replace(first[8], successors=first[8].successors[:1])
    memory.insert(first)
    started, go_on = threading.Event(), threading.Event()
    project_all = rebasing.project_all

    def slowly(*arguments: object):
        replacement = project_all(*arguments)
        started.set()
        assert go_on.wait(30.0)
        return replacement

    monkeypatch.setattr(rebasing, "project_all", slowly)
    thread = threading.Thread(target=memory.reproject, args=(SECOND,))
    thread.start()
    assert started.wait(30.0)
    assert_in(memory, FIRST, 300)
    new = memory.insert(records(100, seed=7))
    memory._remove_held([1, 2, 3, 40])
    memory.link(new[0], successor(np.random.default_rng(2), FIRST, 0.5))
    memory.link(9, successor(np.random.default_rng(3), FIRST, 0.5))
    assert_in(memory, FIRST, 396)
    go_on.set()
    thread.join()
    assert_in(memory, SECOND, 396)
    assert [len(record.successors) for record in memory.get([new[0], 9])] == [3, 2]
    assert_in(open_memory(backend=backend), SECOND, 396)


CHILD = """
import sys
from pathlib import Path
from spatial_memory import CellGrid, CellMemory, LocalMap, Store
sys.path.insert(0, {tests!r})
from {package}.test_reprojection import FIRST, SECOND
memory = CellMemory(Store(Path({path!r})), CellGrid(LocalMap(), 15))
print("ready", flush=True)
at = 0
while True:
    memory.reproject((SECOND, FIRST)[at % 2])
    at += 1
    print(at, flush=True)
"""


@pytest.mark.slow
def test_a_killed_change_leaves_one_basis_or_the_other(open_memory, tmp_path):
    memory = open_memory()
    memory.insert(records(500))
    memory.close()
    path, here = tmp_path / "memory.sqlite3", Path(__file__)
    code = CHILD.format(tests=str(here.parents[1]), package=here.parent.name, path=str(path))
    seen = set()
    for changes in (1, 2, 4, 5, 7):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            for _ in range(changes):
                child.stdout.readline()
            child.kill()
        memory = open_memory()
        encoder_id = memory.stats().encoder_id
        seen.add(encoder_id)
        assert_in(memory, {each.encoder_id: each for each in (FIRST, SECOND)}[encoder_id], 500)
        memory.close()
    assert seen <= {FIRST.encoder_id, SECOND.encoder_id}


def test_recovery_drops_what_lost_its_feature(open_memory, tmp_path):
    memory = open_memory()
    memory.insert(records(30))
    memory.reproject(SECOND)
    memory._store._writer.run_now(Change([("UPDATE extra SET body = x'00' WHERE record = 7", [()])]), 10.0)
    memory.close()
    assert recover(tmp_path / "memory.sqlite3") == 29
    assert_in(open_memory(), SECOND, 29)
