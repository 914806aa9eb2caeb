"""Undo: any history of changes, restarts and kills included, ends as a plain reference says, and costs what it must."""

from __future__ import annotations

import math
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatial_memory import CellGrid, CellMemory, LocalMap, MemoryRecord, Place, Query, Rigid, Store, StoreError
from spatial_memory.embedded.changes import Allowed, Changes
from spatial_memory.embedded.undo import Undo
from spatial_memory.store import store, writer
from spatial_memory.store.names import SnapshotFolder
from wm_core.memory.protocol import Forget

GRID = CellGrid(LocalMap(), 14)
MOVE = Rigid(3.0, -1.0, 0.5, 0.7)


def record(number: int, **fields: object) -> MemoryRecord:
    latent_D = np.full(4, number, np.float32)
    of = MemoryRecord(
        stamp_ns=number + 1, latent_D=latent_D, x=0.5 * number, y=1.0, session=f"s{number % 2}", encoder_id="e"
    )
    return replace(of, frame_id="map", **fields)


@dataclass
class Opened:
    """A memory's file, opened as the node does it."""

    folder: Path
    memory: CellMemory = field(init=False)
    changes: Changes = field(init=False)

    def __post_init__(self) -> None:
        path = self.folder / "memory.sqlite3"
        self.memory = CellMemory(Store(path), GRID)
        snapshots = SnapshotFolder(self.folder / "snapshots", 20)
        self.changes = Changes(self.memory, Undo(self.memory, str(path), GRID), snapshots, Allowed(True, True))

    def again(self) -> None:
        self.close()
        self.__post_init__()

    def close(self) -> None:
        self.changes.close()
        self.memory.close()

    def held(self) -> dict[int, tuple[float, ...]]:
        return {
            each.id: (each.stamp_ns, *np.round((each.x, each.y, each.z, each.yaw), 4).tolist())
            for each in self.memory.everything()
        }


def moved(place: tuple[float, ...], move: Rigid) -> tuple[float, ...]:
    stamp_ns, x, y, z, yaw = place
    cos, sin = math.cos(move.yaw), math.sin(move.yaw)
    x, y = cos * x - sin * y + move.x, sin * x + cos * y + move.y
    turned = (yaw + move.yaw + math.pi) % (2.0 * math.pi) - math.pi
    return (stamp_ns, *np.round((x, y, z + move.z, turned), 4).tolist())


def assert_alike(mine: dict[int, tuple[float, ...]], other: dict[int, tuple[float, ...]], said: object = "") -> None:
    assert sorted(mine) == sorted(other), said
    for key, place in mine.items():
        assert place == pytest.approx(other[key], abs=2e-3), (key, said)


class Plain:
    """What is held, as a dictionary; does to it what the memory is told to, and takes back the last of it."""

    def __init__(self) -> None:
        self.held: dict[int, tuple[float, ...]] = {}
        self.before: dict[int, tuple[float, ...]] | None = None
        self.kept: dict[int, tuple[float, ...]] = {}
        self.number, self.was_restored = 0, False

    def _changes_to(self, held: dict[int, tuple[float, ...]], *, is_restored: bool = False) -> None:
        self.before, self.held, self.was_restored = self.held, held, is_restored

    def insert(self, changes: Changes) -> None:
        records = [record(self.number + at) for at in range(4)]
        ids = changes.insert(records)
        self.number += 4
        self.held |= {key: (each.stamp_ns, each.x, each.y, 0.0, 0.0) for key, each in zip(ids, records)}

    def delete(self, changes: Changes) -> None:
        gone = sorted(self.held)[::2]
        if gone:
            assert changes.delete(Forget(ids=tuple(gone))) == len(gone)
            self._changes_to({key: place for key, place in self.held.items() if key not in gone})

    def clear(self, changes: Changes) -> None:
        changes.clear()
        self._changes_to({})

    def transform(self, changes: Changes, session: str = "") -> None:
        which = [key for key in self.held if not session or (self.held[key][0] - 1) % 2 == 1]
        assert changes.transform(MOVE, session) == len(which)
        if which:
            self._changes_to(self.held | {key: moved(self.held[key], MOVE) for key in which})

    def transform_one(self, changes: Changes) -> None:
        self.transform(changes, "s1")

    def snapshot(self, changes: Changes) -> None:
        changes.snapshot("kept")
        self.kept = dict(self.held)

    def restore(self, changes: Changes) -> None:
        if self.kept:
            changes.restore("kept")
            self._changes_to(dict(self.kept), is_restored=True)

    def undo(self, changes: Changes) -> None:
        if self.before is None:
            with pytest.raises(StoreError, match="nothing to undo"):
                changes.undo()
            return
        changes.undo()
        known = self.before.keys() | (self.kept.keys() if self.was_restored else set())
        newer = {key: place for key, place in self.held.items() if key not in known}
        self.held, self.before = self.before | newer, None


STEPS = st.lists(
    st.sampled_from(
        ["insert", "delete", "clear", "transform", "transform_one", "snapshot", "restore", "undo", "again"]
    ),
    min_size=4,
    max_size=12,
)


@pytest.mark.slow
@settings(max_examples=int(os.environ.get("WM_FUZZ_EXAMPLES", "8")), deadline=None)
@given(STEPS)
def test_any_history_ends_as_a_plain_dictionary_says(steps):
    plain = Plain()
    with TemporaryDirectory() as folder, closing(Opened(Path(folder))) as opened:
        for step in ["insert", *steps, "again"]:
            if step == "again":
                opened.again()
            else:
                getattr(plain, step)(opened.changes)
            assert_alike(opened.held(), plain.held, steps)


def test_a_few_deletions_are_kept_without_a_copy_of_the_rest(tmp_path):
    with closing(Opened(tmp_path)) as opened:
        opened.changes.insert([record(number) for number in range(4000)])
        opened.changes.delete(Forget(ids=(5, 6, 7)))
        folder = tmp_path / "memory.sqlite3.undo"
        with closing(CellMemory(Store(folder / "before"), GRID)) as kept:
            assert kept.held_ids() == [5, 6, 7]
        assert opened.changes.undo() == "took back the last delete: 3 memories"
        assert len(opened.memory) == 4000


def test_of_a_move_places_are_kept_and_nothing_else(tmp_path):
    with closing(Opened(tmp_path)) as opened:
        tilted = (0.1, 0.0, 0.0, math.sqrt(0.99))
        opened.changes.insert([record(0), record(1, orientation=tilted), record(2)])
        before = opened.memory.everything()
        opened.changes.transform(replace(MOVE, frame_id="odom"), "")
        (newer,) = opened.changes.insert([replace(record(9), frame_id="odom", x=3.0, y=-1.0, z=0.5, yaw=0.7)])
        assert {each.name for each in (tmp_path / "memory.sqlite3.undo").iterdir()} == {"change.json", "places.npz"}
        opened.again()
        opened.changes.undo()
        opened.again()
        after = {each.id: each for each in opened.memory.everything()}
        for each in before:
            mine = after[each.id]
            assert (mine.x, mine.y, mine.z, mine.yaw) == (each.x, each.y, each.z, each.yaw)
            assert mine.frame_id == "map"
            assert (mine.orientation is None) == (each.orientation is None)
            if each.orientation is not None:
                assert mine.orientation == pytest.approx(each.orientation, abs=1e-7)
        came = after[newer]
        assert (came.x, came.y, came.z, came.yaw) == pytest.approx((0.0, 0.0, 0.0, 0.0), abs=1e-6)


@pytest.mark.parametrize("kind", ["delete", "transform"])
def test_what_was_only_about_to_change_is_not_taken_back(tmp_path, kind):
    """A process that is killed between the note and the change leaves a note of what never was."""
    with closing(Opened(tmp_path)) as opened:
        opened.changes.insert([record(number) for number in range(10)])
        held = opened.held()
        if kind == "delete":
            opened.changes.delete(Forget(ids=(1, 2)))
        else:
            opened.changes.transform(replace(MOVE, frame_id="odom"), "")
        folder = tmp_path / "memory.sqlite3.undo"
        shutil.copytree(folder, tmp_path / "noted")
        opened.changes.undo()
        shutil.move(tmp_path / "noted", tmp_path / "memory.sqlite3.undo-next")
        opened.again()
        opened.changes.undo()
        assert opened.held() == held


@pytest.mark.parametrize("kind", ["transform", "delete", "clear"])
def test_what_the_disk_does_not_take_changes_nothing_and_leaves_the_last_change_to_take_back(
    tmp_path, monkeypatch, kind
):
    change = {"transform": lambda: opened.changes.transform(MOVE, ""), "clear": lambda: opened.changes.clear(),
              "delete": lambda: opened.changes.delete(Forget(ids=(3, 4)))}[kind]  # fmt: skip
    with closing(Opened(tmp_path)) as opened:
        opened.changes.insert([record(number) for number in range(10)])
        whole = opened.held()
        opened.changes.delete(Forget(ids=(1,)))
        held = opened.held()
        writer = opened.memory._store._writer
        commit = writer._commit

        def refused(_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(writer, "_commit", refused)
        with pytest.raises(StoreError, match="full"):
            change()
        assert opened.held() == held
        monkeypatch.setattr(writer, "_commit", commit)
        opened.changes.insert([record(77)])
        assert opened.held().items() > held.items()
        opened.changes.undo()
        assert opened.held().items() > whole.items()
        opened.again()
        assert opened.held().items() > whole.items()


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_undo import MOVE, Opened, record
from dataclasses import replace
from wm_core.memory.protocol import Forget
opened = Opened(Path(sys.argv[1]))
print("ready", flush=True)
kind = sys.argv[3]
while True:
    if kind == "delete":
        opened.changes.delete(Forget(ids=(1, 2, 3)))
    elif kind == "transform":
        opened.changes.transform(replace(MOVE, frame_id="odom"), "")
    else:
        opened.changes.clear()
    opened.changes.undo()
    print("done", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["delete", "transform", "clear"])
def test_killed_at_any_moment_it_is_before_or_after_and_undo_is_right(tmp_path, kind):
    rng = np.random.default_rng(7)
    with closing(Opened(tmp_path)) as opened:
        opened.changes.insert([record(number) for number in range(300)])
        whole = opened.held()
    after = {"clear": {}, "delete": {key: place for key, place in whole.items() if key > 3},
             "transform": {key: moved(place, MOVE) for key, place in whole.items()}}[kind]  # fmt: skip
    for _ in range(2):
        command = [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent), kind]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            for _ in range(int(rng.integers(0, 3))):
                child.stdout.readline()
            try:
                child.wait(float(rng.uniform(0.0, 0.2)))
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
        with closing(Opened(tmp_path)) as opened:
            held = opened.held()
            is_before = held == whole
            if not is_before:
                assert_alike(held, after)
                opened.changes.undo()
            assert_alike(opened.held(), whole)


def test_queries_go_on_while_all_is_moved_and_what_comes_meanwhile_is_moved_too(tmp_path, monkeypatch):
    """The memory is searched, and even changed, by another thread in the middle of a transform."""
    with closing(Opened(tmp_path)) as opened:
        memory = opened.memory
        opened.changes.insert([record(number) for number in range(50)])
        plain = opened.held()
        searched, came = memory._searched, []

        def meanwhile(parts):
            with ThreadPoolExecutor(1) as pool:
                found = pool.submit(memory.query, Query(k=1, place=Place(0.0, 1.0), radius_m=0.1)).result(30)
                assert [each.x for each in found.records] == [0.0], "as it was before"
                if not came:
                    came.extend(pool.submit(memory.insert, [record(60)]).result(30))
            return searched(parts)

        # The second time nobody may change it, so that nobody is asked.
        monkeypatch.setattr(memory, "_searched", lambda parts: searched(parts) if came else meanwhile(parts))
        assert memory.transform(MOVE) == 51
        plain[came[0]] = (61, 30.0, 1.0, 0.0, 0.0)
        assert_alike(opened.held(), {key: moved(place, MOVE) for key, place in plain.items()})
        opened.again()
        assert_alike(opened.held(), {key: moved(place, MOVE) for key, place in plain.items()})


def test_queries_go_on_while_a_restore_is_written_and_what_comes_waits(tmp_path, monkeypatch):
    opened = Opened(tmp_path)
    opened.changes.insert([record(number) for number in range(8)])
    opened.changes.snapshot("s")
    opened.changes.delete(Forget(ids=(1, 2, 3)))
    everywhere = Query(k=20, place=Place(0.0, 0.0), rank_by="pose")
    transact, seen, coming = writer._transact, [], []

    def slowly(connection, changes):
        if changes[0].attach is not None:
            seen.append({each.id for each in pool.submit(opened.memory.query, everywhere).result(60).records})
            coming.append(pool.submit(opened.memory.insert, [record(100)]))
        transact(connection, changes)

    monkeypatch.setattr(writer, "_transact", slowly)
    with ThreadPoolExecutor(2) as pool:
        assert opened.changes.restore("s") == 8
        (new,) = coming[0].result(60)
    assert seen == [{4, 5, 6, 7, 8}]
    assert {each.id for each in opened.memory.query(everywhere).records} == {*range(1, 9), new}
    opened.again()
    assert sorted(opened.held()) == [*range(1, 9), new]
    opened.close()


def test_a_restore_that_the_disk_does_not_take_changes_nothing(tmp_path, monkeypatch):
    opened = Opened(tmp_path)
    opened.changes.insert([record(number) for number in range(8)])
    opened.changes.snapshot("s")
    opened.changes.delete(Forget(ids=(1, 2, 3)))
    monkeypatch.setattr(store, "TALLY_DIFFERENCES", "SELECT 'record'")
    with pytest.raises(StoreError, match="record"):
        opened.changes.restore("s")
    assert sorted(opened.held()) == [4, 5, 6, 7, 8]
    opened.again()
    assert sorted(opened.held()) == [4, 5, 6, 7, 8]
    opened.close()


CHANGES = {
    "delete": lambda opened: opened.changes.delete(Forget(ids=(1, 2))),
    "transform": lambda opened: opened.changes.transform(MOVE, ""),
    "frame": lambda opened: opened.changes.transform(replace(MOVE, frame_id="odom"), ""),
    "clear": lambda opened: opened.changes.clear(),
    "restore": lambda opened: opened.changes.restore("s"),
}


def changed(folder: Path, kind: str, *, is_newer: bool) -> tuple[Opened, dict[int, tuple[float, ...]]]:
    """Return a memory after a change of a kind, and what it held before; more came in since where that is asked."""
    opened = Opened(folder)
    opened.changes.insert([record(number) for number in range(6)])
    opened.changes.snapshot("s")
    opened.changes.insert([record(number) for number in range(6, 9)])
    whole = opened.held()
    CHANGES[kind](opened)
    if is_newer:
        frame_id = opened.memory.stats().frame_id or "map"
        opened.changes.insert([replace(record(number), frame_id=frame_id) for number in range(20, 23)])
    return opened, whole


@pytest.mark.slow
@pytest.mark.parametrize("most", [0, 8192, 60_000])
@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("is_newer", [True, False], ids=["more since", "nothing since"])
def test_what_the_disk_does_not_take_back_changes_nothing_and_is_taken_back_later(tmp_path, kind, is_newer, most):
    opened, whole = changed(tmp_path, kind, is_newer=is_newer)
    held, before = opened.held(), resource.getrlimit(resource.RLIMIT_FSIZE)
    with closing(opened):
        said = ""
        for _ in range(2):
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
            try:
                opened.changes.undo()
                break
            except StoreError as error:
                said = str(error)
                assert str(tmp_path) not in said
                assert_alike(opened.held(), held, said)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
        else:
            opened.again()
            assert_alike(opened.held(), held, said)
            opened.changes.undo()
        assert said or most
        assert opened.held().keys() == (
            whole.keys() | held.keys()
            if is_newer and kind != "restore"
            else whole.keys() | {key for key, row in held.items() if row[0] > 20}
        )
        assert {key: opened.held()[key] for key in whole} == whole
        opened.again()
        assert {key: opened.held()[key] for key in whole} == whole


@pytest.mark.slow
@pytest.mark.parametrize("kind", CHANGES)
def test_damage_to_what_was_kept_is_refused_by_name_or_harmless(tmp_path, kind):
    opened, whole = changed(tmp_path, kind, is_newer=True)
    held, kept, rng = opened.held(), tmp_path / "memory.sqlite3.undo", np.random.default_rng(3)
    parts = {path.name: path.read_bytes() for path in kept.iterdir() if path.suffix not in (".lock", ".ledger")}
    refused: list[str] = []
    with closing(opened):
        for trial in range(40):
            name = sorted(parts)[trial % len(parts)]
            content = bytearray(parts[name])
            for at in rng.integers(0, len(content), 4 if trial % 3 else 400):
                content[at] = rng.integers(256)
            (kept / name).write_bytes(content if trial % 5 else content[: len(content) // 2])
            try:
                opened.changes.undo()
            except StoreError as error:
                refused.append(str(error))
                assert_alike(opened.held(), held, error)
                (kept / name).write_bytes(parts[name])
            else:
                break
        assert refused
        assert str(tmp_path) not in " ".join(refused)
        if len(refused) == 40:
            opened.changes.undo()
        assert {key: opened.held()[key] for key in whole} == whole
