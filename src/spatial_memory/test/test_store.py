"""The durable store: restarts, damage, a disk that refuses, and who may hold the file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spatial_memory import (
    CellGrid,
    CellMemory,
    CorruptStoreError,
    EncoderMismatchError,
    LocalMap,
    MemoryRecord,
    Place,
    Query,
    Rigid,
    Store,
    StoreError,
    StoreLockedError,
    Successor,
    Wgs84Map,
)
from spatial_memory.factory import open_cell_memory
from spatial_memory.store.handle import Handle
from spatial_memory.store.recovery import recover

from .conftest import World, assert_same_record


def everything(memory: CellMemory) -> dict[int, MemoryRecord]:
    count = memory.stats().memory_count
    if count == 0:
        return {}
    query = Query(k=min(4096, count), place=Place(0.0, 0.0), successors=True)
    return {record.id: record for record in memory.query(query).records}


def assert_same_content(mine: dict[int, MemoryRecord], theirs: dict[int, MemoryRecord]) -> None:
    assert mine.keys() == theirs.keys()
    for record_id, record in mine.items():
        assert_same_record(record, theirs[record_id])


def writer_says(memory: CellMemory, sql: str) -> None:
    """Run a pragma on the connection that writes."""
    memory.flush()
    with memory._store._writer._guard:
        memory._store._writer._connection.execute(sql).fetchall()


def wait_for_trouble(memory: CellMemory) -> None:
    with pytest.raises(StoreError, match="not durable"):
        memory.flush()


def test_a_restart_changes_nothing(open_memory):
    memory = open_memory()
    ids = memory.insert(World(1).records(300))
    memory.link(ids[0], Successor(1.0, 1.01, np.ones(6, np.float32)))
    memory.set_surprise(ids[1], 3.5)
    before = everything(memory)
    assert_same_content(everything(open_memory()), before)
    assert before[ids[1]].surprise == 3.5


def test_ids_are_not_used_twice(open_memory):
    memory = open_memory()
    ids = memory.insert(World(1).records(3))
    memory.clear()
    assert open_memory().insert(World(1).records(1))[0] > max(ids)


def test_durable_until_is_what_survives(open_memory, tmp_path):
    memory = open_memory()
    world = World(2)
    memory.insert([world.record(stamp_ns=10), world.record(stamp_ns=20)])
    memory.flush()
    assert memory.stats().durable_until_ns == 20
    writer_says(memory, "PRAGMA query_only = ON")
    memory.insert([world.record(stamp_ns=15)])
    assert memory.stats().durable_until_ns == 14
    memory.insert([world.record(stamp_ns=30)])
    assert memory.stats().durable_until_ns == 14
    wait_for_trouble(memory)
    writer_says_now(memory, "PRAGMA query_only = OFF")
    memory.flush()
    assert memory.stats().durable_until_ns == 30


def writer_says_now(memory: CellMemory, sql: str) -> None:
    with memory._store._writer._guard:
        memory._store._writer._connection.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("refuse", "accept", "reason"),
    [
        ("PRAGMA query_only = ON", "PRAGMA query_only = OFF", "readonly"),
        ("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000", "full"),
    ],
)
def test_a_disk_that_refuses_is_said_and_caught_up_with(open_memory, refuse, accept, reason):
    memory = open_memory()
    world = World(3)
    memory.insert(world.records(10))
    writer_says(memory, refuse)
    memory.insert(world.records(500))
    wait_for_trouble(memory)
    stats = memory.stats()
    assert reason in stats.degraded[0]
    assert stats.memory_count == 510
    assert stats.pending_writes > 0
    held = everything(memory)
    writer_says_now(memory, accept)
    memory.flush()
    assert memory.stats().degraded == ()
    assert memory.stats().pending_writes == 0
    assert_same_content(everything(open_memory()), held)


def test_a_path_that_cannot_be_made_is_a_degraded_memory(grid, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    memory = CellMemory(Store(blocked / "memory.sqlite3"), grid)
    memory.insert(World(4).records(5))
    wait_for_trouble(memory)
    assert memory.stats().memory_count == 5
    assert "not durable" in memory.stats().degraded[0]
    blocked.unlink()
    memory.flush()
    held = everything(memory)
    memory.close()
    memory = CellMemory(Store(blocked / "memory.sqlite3"), grid)
    assert_same_content(everything(memory), held)
    memory.close()


def refuse_to_open(monkeypatch) -> None:
    def refuse(_store) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(Handle, "_open", refuse)


def test_a_read_only_start_answers_from_what_is_there(open_memory, monkeypatch, grid, tmp_path):
    memory = open_memory()
    memory.insert(World(4).records(20))
    before = everything(memory)
    memory.close()
    with monkeypatch.context() as patched:
        refuse_to_open(patched)
        memory = CellMemory(Store(tmp_path / "memory.sqlite3"), grid)
        assert_same_content(everything(memory), before)
        memory.insert(World(5).records(5))
        wait_for_trouble(memory)
        held = everything(memory)
    memory.flush()
    memory.close()
    assert len(held) == 25
    assert_same_content(everything(open_memory()), held)


def test_what_can_neither_be_written_nor_read_is_refused_by_name(grid):
    with pytest.raises(StoreError, match="mem can neither be written"):
        open_cell_memory("/proc/self/mem", grid, 10, 1.0, 0.2)


def test_a_file_that_appears_later_is_not_overwritten(open_memory, grid, tmp_path):
    memory = open_memory()
    memory.insert(World(4).records(20))
    before = everything(memory)
    memory.close()
    late = tmp_path / "late"
    late.write_text("in the way")
    memory = CellMemory(Store(late / "memory.sqlite3"), grid)
    memory.insert(World(5).records(5))
    wait_for_trouble(memory)
    late.unlink()
    late.mkdir()
    shutil.copy(tmp_path / "memory.sqlite3", late / "memory.sqlite3")
    wait_for_trouble(memory)
    assert "restart" in memory.stats().degraded[0]
    memory.close()
    again = CellMemory(Store(late / "memory.sqlite3"), grid)
    assert_same_content(everything(again), before)
    again.close()


def test_another_process_cannot_hold_the_same_file(open_memory, tmp_path):
    memory = open_memory()
    program = (
        "from spatial_memory import Store, StoreLockedError\n"
        f"try: Store({str(tmp_path / 'memory.sqlite3')!r})\n"
        "except StoreLockedError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "held by another process" in done.stdout
    with pytest.raises(StoreLockedError):
        Store(tmp_path / "memory.sqlite3")
    memory.close()
    Store(tmp_path / "memory.sqlite3").close()


def test_another_grid_cuts_the_memory_anew(open_memory, tmp_path):
    memory = open_memory()
    memory.insert(World(5).records(200))
    before = everything(memory)
    other = CellGrid(LocalMap(48.0, 11.0), 13)
    memory = open_memory(grid=other)
    after = everything(memory)
    assert all(record.h3_cell == other.cell_of(record.x, record.y) for record in after.values())
    assert {key: record.x for key, record in after.items()} == {key: record.x for key, record in before.items()}
    assert_same_content(everything(open_memory(grid=other)), after)


def test_a_transform_is_one_transaction(open_memory):
    memory = open_memory()
    memory.insert(World(6).records(50))
    before = everything(memory)
    moved = memory.transform(Rigid(1.0, -2.0, 0.5, 0.3), "a")
    assert moved == sum(record.session == "a" for record in before.values())
    after = everything(memory)
    assert_same_content(everything(open_memory()), after)
    with pytest.raises(ValueError, match="not within"):
        memory.transform(Rigid(1e9, 0.0, 0.0, 0.0))
    assert everything(open_memory()).keys() == after.keys()


def test_a_snapshot_is_one_file_of_one_encoder(open_memory, tmp_path, grid):
    memory = open_memory()
    memory.insert(World(7).records(30))
    held = everything(memory)
    assert memory.snapshot(tmp_path / "snapshot") == 30
    assert {path.name for path in tmp_path.iterdir() if "snapshot" in path.name} == {"snapshot"}
    other = CellMemory(Store(tmp_path / "other.sqlite3"), grid)
    other.insert([World(8).record(encoder_id="f")])
    with pytest.raises(EncoderMismatchError, match="of encoder e, expected f"):
        other.restore(tmp_path / "snapshot")
    other.clear()
    assert other.restore(tmp_path / "snapshot") == 30
    assert_same_content(everything(other), held)
    other.close()


def test_a_damaged_snapshot_changes_nothing(open_memory, tmp_path):
    memory = open_memory()
    memory.insert(World(7).records(300))
    held = everything(memory)
    path = tmp_path / "snapshot"
    memory.snapshot(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CorruptStoreError):
        memory.restore(path)
    path.write_text("something else")
    with pytest.raises(CorruptStoreError):
        memory.restore(path)
    assert_same_content(everything(memory), held)


def test_another_encoder_is_refused(open_memory):
    memory = open_memory()
    memory.insert(World(9).records(2))
    with pytest.raises(EncoderMismatchError, match="encoder f, the memory holds e"):
        open_memory().insert([World(9).record(encoder_id="f")])


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" + b"\0" * 4000, b"not a database" * 500])
def test_what_is_no_memory_is_refused(tmp_path, content):
    path = tmp_path / "memory.sqlite3"
    path.write_bytes(content)
    with pytest.raises(CorruptStoreError):
        Store(path)
    assert path.read_bytes() == content


def test_a_later_format_is_refused(open_memory, tmp_path):
    open_memory().close()
    path = tmp_path / "memory.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(CorruptStoreError, match="version 99"):
        Store(path)


def damaged_copies(path: Path, folder: Path, rng: np.random.Generator, count: int) -> list[Path]:
    """Return copies of a file, each cut off or with some bytes overwritten."""
    content = path.read_bytes()
    copies = []
    for number in range(count):
        data = bytearray(content)
        if number % 4 == 0:
            data = data[: int(rng.integers(0, len(data)))]
        else:
            start = int(rng.integers(0, len(data)))
            length = int(rng.choice([1, 1, 16, 4096]))
            data[start : start + length] = rng.bytes(len(data[start : start + length]))
        copies.append(folder / f"damaged-{number}.sqlite3")
        copies[-1].write_bytes(data)
    return copies


@pytest.mark.slow
def test_damage_is_refused_or_harmless_and_never_silent(open_memory, tmp_path, grid):
    memory = open_memory()
    memory.insert(World(10).records(400))
    held = everything(memory)
    memory.close()
    refused = 0
    for path in damaged_copies(tmp_path / "memory.sqlite3", tmp_path, np.random.default_rng(0), 60):
        try:
            store = Store(path)
        except CorruptStoreError:
            refused += 1
            continue
        try:
            again = CellMemory(store, grid)
            found = everything(again)
            if again.stats().degraded:
                refused += 1
                found = {key: MemoryRecord(**{**vars(record), "successors": ()}) for key, record in found.items()}
                whole = {key: MemoryRecord(**{**vars(record), "successors": ()}) for key, record in held.items()}
                assert_same_content(found, whole)
            else:
                assert_same_content(found, held)
        except (CorruptStoreError, EncoderMismatchError):
            refused += 1
        finally:
            store.close()
    assert refused > 25


@pytest.mark.slow
def test_a_torn_log_leaves_whole_transactions(grid, tmp_path):
    # What power loss can do to a log that was being written: its end is missing. A reader keeps it from being emptied.
    memory = CellMemory(Store(tmp_path / "memory.sqlite3"), grid)
    reader = sqlite3.connect(tmp_path / "memory.sqlite3", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM meta").fetchall()
    world = World(11)
    batches = []
    for _ in range(8):
        batches.append(memory.insert(world.records(20)))
        memory.flush()
    held = everything(memory)
    log = (tmp_path / "memory.sqlite3-wal").read_bytes()
    rng = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / f"torn-{number}.sqlite3"
        shutil.copy(tmp_path / "memory.sqlite3", path)
        Path(f"{path}-wal").write_bytes(log[: int(rng.integers(0, len(log)))])
        store = Store(path)
        again = everything(CellMemory(store, grid))
        store.close()
        whole = [set(batch) <= again.keys() for batch in batches]
        assert whole == sorted(whole, reverse=True), "a later transaction without an earlier one"
        assert len(again) == 20 * sum(whole)
        assert_same_content(again, {key: held[key] for key in again})
    reader.close()
    memory.close()


@pytest.mark.slow
def test_recovery_keeps_what_can_be_read(open_memory, tmp_path, grid):
    memory = open_memory()
    memory.insert(World(12).records(1000))
    held = everything(memory)
    memory.close()
    path = tmp_path / "memory.sqlite3"
    data = bytearray(path.read_bytes())
    middle = len(data) // 4096 // 2 * 4096
    data[middle : middle + 4096] = bytes(4096)
    path.write_bytes(data)
    with pytest.raises(CorruptStoreError, match="on_corrupt: recover"):
        open_cell_memory(str(path), grid, 10**6, 1.0, 0.1)
    memory = open_cell_memory(str(path), grid, 10**6, 1.0, 0.1, on_corrupt="recover")
    kept = everything(memory)
    memory.close()
    assert 950 <= len(kept) < 1000  # a page holds about 25
    assert sum(bool(held[key].successors) and not kept[key].successors for key in kept) <= 50
    for record_id, record in kept.items():
        successors = record.successors and held[record_id].successors
        assert_same_record(record, MemoryRecord(**{**vars(held[record_id]), "successors": successors}))
    assert (tmp_path / "memory.sqlite3.damaged-1").exists()


def test_what_cannot_be_recovered_is_left_alone(tmp_path):
    path = tmp_path / "memory.sqlite3"
    path.write_bytes(b"rubbish" * 1000)
    with pytest.raises(CorruptStoreError, match="cannot be recovered"):
        recover(path)
    assert path.read_bytes() == b"rubbish" * 1000


@pytest.mark.slow
def test_a_wgs84_memory_is_kept_too(open_memory):
    world = CellGrid(Wgs84Map(), 12)
    memory = open_memory(grid=world)
    memory.insert([World(1).record(x=11.0, y=48.0), World(2).record(x=11.001, y=48.0)])
    found = memory.query(Query(place=Place(11.0, 48.0), radius_m=80.0))
    assert [record.x for record in found.records] == [11.0, 11.001]
    assert found.pose_distances_K[1] > 70.0
    assert len(everything(open_memory(grid=world))) == 2


@pytest.mark.parametrize(
    "place",
    ["/proc/none/m.sqlite3", "{file}/m.sqlite3", "{folder}", "{folder}/" + "n" * 300, "{file}-pipe", "/dev/zero"],
)
def test_a_path_where_no_file_can_lie_is_refused_by_name(tmp_path, grid, place):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "file-pipe")
    path = place.format(file=tmp_path / "file", folder=tmp_path)
    with pytest.raises(StoreError, match="can never hold a memory") as refused:
        open_cell_memory(path, grid, 1000, 1.0, 0.2)
    assert len(str(refused.value)) < 200
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "file-pipe"]
