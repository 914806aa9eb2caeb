"""A restore happens whole or not at all, whatever the snapshot; and no id that is given ends the ids to choose."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spatial_memory import (
    CellGrid,
    CellMemory,
    CorruptStoreError,
    EncoderMismatchError,
    LocalMap,
    MemoryRecord,
    RecordError,
    Rigid,
    SpatialMemoryError,
    Store,
    StoreError,
    Successor,
    Wgs84Map,
)
from spatial_memory.factory import open_cell_memory
from spatial_memory.store.schema import checksummed
from wm_core.memory.record import LAST_FOLLOWED_ID, MAX_ID

from .conftest import World, assert_same_record

pytestmark = pytest.mark.slow

Damage = Callable[[Path], None]


def held_by(memory: CellMemory) -> dict[int, MemoryRecord]:
    return {record.id: record for record in memory.everything()}


def assert_same_content(mine: dict[int, MemoryRecord], theirs: dict[int, MemoryRecord]) -> None:
    assert mine.keys() == theirs.keys()
    for record_id, record in mine.items():
        assert_same_record(record, theirs[record_id])


def state_of(memory: CellMemory) -> tuple[object, ...]:
    stats = memory.stats()
    return stats.memory_count, stats.encoder_id, stats.cell_count, stats.degraded, memory._catalogue.next_id


def writer_says(memory: CellMemory, sql: str) -> None:
    with memory._store._writer._guard:
        memory._store._writer._connection.execute(sql).fetchall()


def filled(open_memory, tmp_path: Path) -> tuple[CellMemory, Path]:
    """Return a memory that went on after its snapshot was taken."""
    memory, path, world = open_memory(), tmp_path / "snapshot", World(1)
    ids = memory.insert(world.records(60))
    memory.snapshot(path)
    memory.insert(world.records(20))
    memory.link(ids[0], Successor(1.0, 1.0, world.latent()))
    memory.flush()
    return memory, path


def assert_as_before(memory: CellMemory, open_memory, before: dict, state: tuple[object, ...]) -> None:
    """Assert that a memory is as it was, goes on, and is the same once it was opened again."""
    assert state_of(memory) == state
    assert_same_content(held_by(memory), before)
    assert_same_content(held_by(open_memory()), before)
    memory = open_memory()
    assert state_of(memory) == state
    assert memory.insert([World(9).record()]) == [state[-1]]
    memory.flush()
    assert memory.stats().pending_writes == 0


# ---------------------------------------------------------------- ids


@pytest.mark.parametrize("largest", [MAX_ID, MAX_ID - 1, LAST_FOLLOWED_ID + 1, LAST_FOLLOWED_ID, LAST_FOLLOWED_ID - 1])
def test_any_id_may_be_given_and_ids_are_left(open_memory, largest):
    memory, world = open_memory(), World(1)
    seen = memory.insert([world.record(), world.record(id=largest), world.record()])
    assert seen[1] == largest
    for _ in range(3):
        seen += memory.insert([world.record(), world.record()])
        memory = open_memory()
    memory.clear()
    seen += memory.insert([world.record()])
    memory = open_memory()
    seen += memory.insert([world.record()])
    assert len(set(seen)) == len(seen) == 11
    assert all(0 < record_id <= MAX_ID for record_id in seen)
    assert held_by(memory).keys() == set(seen[-2:])


def test_chosen_ids_pass_over_given_ones(open_memory):
    memory, world = open_memory(), World(1)
    first, second = LAST_FOLLOWED_ID + 2, LAST_FOLLOWED_ID + 3
    memory.insert([world.record(id=LAST_FOLLOWED_ID), world.record(id=first)])
    ids = memory.insert([world.record(), world.record(id=second), world.record()])
    assert ids == [LAST_FOLLOWED_ID + 1, second, second + 1]


def test_no_id_left_is_said_and_changes_nothing(open_memory):
    memory, world = open_memory(), World(1)
    memory.insert(world.records(3))
    before, memory._catalogue.next_id = held_by(memory), MAX_ID
    with pytest.raises(RecordError, match="no id up to") as refused:
        memory.insert([world.record(), world.record(session="new")])
    assert refused.value.reason == "no-id-left"
    assert memory._catalogue.next_id == MAX_ID
    assert "new" not in memory._catalogue.sessions
    assert_same_content(held_by(memory), before)
    assert memory.insert([world.record()]) == [MAX_ID]


@pytest.mark.parametrize("next_id", [MAX_ID + 1, MAX_ID, MAX_ID - 5])
def test_a_file_without_ids_to_choose_is_mended_at_start(open_memory, tmp_path, next_id):
    # As a memory wrote it whose counter followed every id that was given.
    memory, world = open_memory(), World(1)
    memory.insert([*world.records(5), world.record(id=next_id - 1)])
    memory.flush()
    before = held_by(memory)
    memory.close()
    with closing(sqlite3.connect(tmp_path / "memory.sqlite3")) as connection, connection:
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?,?,?)", checksummed("next_id", str(next_id)))
    memory = open_memory()
    assert_same_content(held_by(memory), before)
    ids = [memory.insert([world.record()])[0] for _ in range(8)]
    memory.clear()
    ids += open_memory().insert([world.record()])
    assert len({*ids, *before}) == 9 + 6


def test_a_restore_never_gives_an_id_twice(open_memory, tmp_path):
    memory, path = filled(open_memory, tmp_path)
    memory.restore(path)
    with closing(sqlite3.connect(tmp_path / "memory.sqlite3")) as connection:
        words = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    assert words["next_id"] == "81"  # committed together with what was restored
    assert memory.insert([World(2).record()]) == [81]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"session": "\ud800"}, "impossible-text"),
        ({"encoder_id": "\udfff"}, "impossible-text"),
        ({"surprise": 1e39}, "not-finite"),
        ({"id": 2**63}, "impossible-id"),
        ({"id": 2**64 - 1}, "impossible-id"),
    ],
)
def test_what_could_never_be_written_is_refused_at_once(grid, tmp_path, fields, reason):
    memory = CellMemory(Store(tmp_path / "memory.sqlite3"), grid)
    with pytest.raises(RecordError) as refused:
        memory.insert([World(1).record(**fields)])
    assert refused.value.reason == reason
    memory.insert([World(1).record()])
    memory.flush()
    memory.close()


# ---------------------------------------------------------------- snapshots that are refused


def says(sql: str) -> Damage:
    def damage(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(sql)

    return damage


def flip_a_body(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        body = connection.execute("SELECT body FROM record WHERE id = 50").fetchone()[0]
    content = bytearray(path.read_bytes())
    content[content.index(body[:60]) + 50] ^= 1
    path.write_bytes(content)


def flip_a_successor(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        body = connection.execute("SELECT body FROM successor LIMIT 1").fetchone()[0]
    content = bytearray(path.read_bytes())
    content[content.index(body) + len(body) - 6] ^= 1
    path.write_bytes(content)


def cut(part: float) -> Damage:
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])


def word(key: str, value: object) -> Damage:
    def damage(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?,?,?)", checksummed(key, value))

    return damage


def in_other_text(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        dump = "\n".join(connection.iterdump())
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"PRAGMA encoding = 'UTF-16le'; PRAGMA application_id = {0x574D454D};")
        connection.executescript("PRAGMA user_version = 1;" + dump)


def an_impossible_record(path: Path) -> None:
    """Write a record that has the right checksum and lies nowhere."""
    import zlib

    with closing(sqlite3.connect(path)) as connection, connection:
        body = bytearray(connection.execute("SELECT body FROM record WHERE id = 7").fetchone()[0][:-4])
        body[16:24] = np.array([np.nan]).tobytes()
        whole = bytes(body) + zlib.crc32(body).to_bytes(4, "little")
        connection.execute("UPDATE record SET body = ? WHERE id = 7", (whole,))


REFUSED: dict[str, Damage] = {
    "a body": flip_a_body,
    "a successor": flip_a_successor,
    "truncated": cut(0.7),
    "half a header": cut(0.001),
    "empty": cut(0.0),
    "text": lambda path: path.write_text("something else") and None,
    "column": says("ALTER TABLE record ADD COLUMN extra"),
    "renamed": says("ALTER TABLE record RENAME COLUMN body TO content"),
    "table": says("CREATE TABLE other (a)"),
    "view": says("CREATE VIEW other AS SELECT * FROM record"),
    "trigger": says("CREATE TRIGGER other AFTER INSERT ON record BEGIN DELETE FROM session; END"),
    "index": says("CREATE INDEX other ON record (body)"),
    "no table": says("DROP TABLE successor"),
    "type": says("UPDATE record SET body = 'text' WHERE id = 3"),
    "size": says("UPDATE record SET body = x'0011' WHERE id = 3"),
    "missing": says("DROP TRIGGER record_out; DELETE FROM record WHERE id = 3"),
    "deleted and tallied": says("UPDATE tally SET rows = rows - 1 WHERE name = 'record'"),
    "moved": says("UPDATE record SET id = 1000061 WHERE id = 3"),
    "no session": says("DELETE FROM session"),
    "no words": says("DELETE FROM meta"),
    "forged word": says("UPDATE meta SET value = '7' WHERE key = 'dim'"),
    "other format": says("PRAGMA user_version = 99"),
    "format without its tables": says("DROP TABLE extra"),
    "other program": says("PRAGMA application_id = 1"),
    "encoder": word("encoder_id", "f"),
    "dim": word("dim", "8"),
    "negative dim": word("dim", "-5"),
    "word of another type": word("encoder_id", 7),
    "action size": word("action_dim", "3"),
    "utf-16": in_other_text,
    "nowhere": an_impossible_record,
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_snapshot_changes_nothing(open_memory, tmp_path, kind):
    memory, path = filled(open_memory, tmp_path)
    before, state = held_by(memory), state_of(memory)
    REFUSED[kind](path)
    content = path.read_bytes()
    with pytest.raises((StoreError, EncoderMismatchError), match="snapshot"):
        memory.restore(path)
    assert path.read_bytes() == content
    assert memory.stats().pending_writes == 0
    assert not (tmp_path / "memory.sqlite3.restoring").exists()
    assert_as_before(memory, open_memory, before, state)


@pytest.mark.parametrize("kind", ["directory", "none", "outbox"])
def test_what_is_no_snapshot_changes_nothing(open_memory, tmp_path, kind):
    memory, path = filled(open_memory, tmp_path)
    before, state = held_by(memory), state_of(memory)
    path.unlink()
    if kind == "directory":
        path.mkdir()
    elif kind == "outbox":
        says("CREATE TABLE outbox (seq INTEGER PRIMARY KEY, kind, body)")(path)
    with pytest.raises(StoreError, match="snapshot"):
        memory.restore(path)
    assert path.exists() == (kind != "none")
    assert_as_before(memory, open_memory, before, state)


def test_other_sizes_are_refused(open_memory, tmp_path, grid):
    other = CellMemory(Store(), grid)
    other.insert([World(1).record(latent_D=np.ones(8, np.float32), successors=())])
    other.snapshot(tmp_path / "other")
    other.close()
    memory, _ = filled(open_memory, tmp_path)
    before, state = held_by(memory), state_of(memory)
    with pytest.raises(EncoderMismatchError, match="latents of 8 values, expected 6"):
        memory.restore(tmp_path / "other")
    assert_as_before(memory, open_memory, before, state)


def test_records_off_the_map_are_refused(open_memory, tmp_path):
    memory, path = filled(open_memory, tmp_path)
    globe = CellGrid(Wgs84Map(), 15)  # its map reaches 180 degrees, the usual one 10 000 km
    memory.transform(Rigid(50_000.0, 0.0, 0.0, 0.0))
    memory.snapshot(path)
    other = CellMemory(Store(tmp_path / "other.sqlite3"), globe)
    other.insert([World(3).record()])
    before = held_by(other)
    with pytest.raises(SpatialMemoryError, match="not within"):
        other.restore(path)
    assert_same_content(held_by(other), before)
    other.close()


@pytest.mark.parametrize("stamp_ns", [-1, 2**31 * 10**9])
def test_stamps_that_cannot_be_are_refused_but_for_what_is_held_already(open_memory, tmp_path, stamp_ns):
    memory, path = filled(open_memory, tmp_path)
    memory.insert([World(2).record(stamp_ns=stamp_ns)])  # as a version did that took them
    memory.snapshot(path)
    before = held_by(memory)
    with pytest.raises(RecordError, match=f"snapshot: stamp {stamp_ns} ns"):
        memory.restore(path)
    assert_same_content(held_by(memory), before)
    memory.clear()
    memory.restore(path, is_own=True)
    assert_same_content(held_by(memory), before)
    assert_same_content(held_by(open_memory()), before)


# ---------------------------------------------------------------- disks that refuse


@pytest.mark.parametrize(
    ("refuse", "accept"),
    [
        ("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000"),
        ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
    ],
)
def test_a_disk_that_refuses_midway_changes_nothing(open_memory, tmp_path, refuse, accept):
    memory, path = filled(open_memory, tmp_path)
    larger = CellMemory(Store(), CellGrid(LocalMap(), 15))
    larger.insert(World(5).records(3000))
    larger.snapshot(path)
    larger.close()
    before, state = held_by(memory), state_of(memory)
    writer_says(memory, refuse)
    with pytest.raises(StoreError, match="not durable"):
        memory.restore(path)
    writer_says(memory, accept)
    assert_as_before(memory, open_memory, before, state)
    assert open_memory().restore(path) == 3000


def test_a_file_that_another_one_writes_to_changes_nothing(open_memory, tmp_path):
    memory, path = filled(open_memory, tmp_path)
    before, state = held_by(memory), state_of(memory)
    writer_says(memory, "PRAGMA busy_timeout = 20")
    with closing(sqlite3.connect(tmp_path / "memory.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            memory.restore(path)
        other.execute("ROLLBACK")
    assert_as_before(memory, open_memory, before, state)


def test_no_room_for_the_copy_changes_nothing(open_memory, tmp_path):
    memory, path = filled(open_memory, tmp_path)
    before, state = held_by(memory), state_of(memory)
    in_the_way = tmp_path / "memory.sqlite3.restoring"
    in_the_way.write_text("a file")
    with pytest.raises(StoreError, match="beside"):
        memory.restore(path)
    assert in_the_way.read_text() == "a file"
    in_the_way.unlink()
    assert_as_before(memory, open_memory, before, state)


def test_what_a_transaction_left_otherwise_is_taken_back(open_memory, tmp_path):
    memory, path = filled(open_memory, tmp_path)
    before, state = held_by(memory), state_of(memory)
    writer_says(
        memory, "CREATE TEMP TRIGGER thief AFTER INSERT ON main.record BEGIN DELETE FROM record WHERE id = 7; END"
    )
    with pytest.raises(StoreError, match="not as it was to be"):
        memory.restore(path)
    writer_says(memory, "DROP TRIGGER thief")
    assert_as_before(memory, open_memory, before, state)


# ---------------------------------------------------------------- restores that happen


def test_what_waits_is_committed_first_and_then_replaced(open_memory, tmp_path):
    memory, path = filled(open_memory, tmp_path)
    for _ in range(50):
        memory.insert(World(6).records(20))
    assert memory.restore(path) == 60
    held = held_by(memory)
    assert held.keys() == set(range(1, 61))
    memory.insert([World(7).record()])
    assert held_by(open_memory()).keys() == {*held, 1081}


class Announcing:
    """Says when it is about to be entered, and gives another thread a moment then."""

    def __init__(self, around: AbstractContextManager[None], begins: threading.Event, moment: threading.Event) -> None:
        self._around, self._begins, self._moment = around, begins, moment

    def __enter__(self) -> None:
        self._begins.set()
        self._moment.wait(5.0)
        self._around.__enter__()

    def __exit__(self, *error: object) -> bool | None:
        return self._around.__exit__(*error)


@pytest.mark.parametrize("is_file", [True, False])
def test_who_reads_the_store_while_it_is_replaced_is_answered(tmp_path, grid, monkeypatch, is_file):
    """In memory both share a connection: neither may wait for the other."""
    memory = CellMemory(Store(tmp_path / "memory.sqlite3") if is_file else Store(), grid)
    ids = memory.insert(World(6).records(20))
    memory.snapshot(tmp_path / "snapshot")
    begins, reads = threading.Event(), threading.Event()
    restore, successors = memory._store.restore, memory._store.successors

    def announced(path: Path, around: AbstractContextManager[None], **words: object) -> None:
        restore(path, Announcing(around, begins, reads), **words)

    def told(*arguments: object) -> dict[int, tuple[Successor, ...]]:
        reads.set()
        return successors(*arguments)

    monkeypatch.setattr(memory._store, "restore", announced)
    monkeypatch.setattr(memory._store, "successors", told)

    def read() -> None:
        begins.wait(60.0)
        assert len(memory.get(ids)) == 20

    threads = [threading.Thread(target=read, daemon=True),
               threading.Thread(target=lambda: memory.restore(tmp_path / "snapshot"), daemon=True)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert not any(thread.is_alive() for thread in threads)
    memory.close()


def test_a_live_file_and_ones_own_can_be_restored(open_memory, tmp_path, grid):
    other = CellMemory(Store(tmp_path / "other.sqlite3"), grid)
    other.insert(World(8).records(40))
    other.flush()
    memory, _ = filled(open_memory, tmp_path)
    assert memory.restore(tmp_path / "other.sqlite3") == 40
    assert_same_content(held_by(memory), held_by(other))
    assert memory.restore(tmp_path / "memory.sqlite3") == 40
    assert_same_content(held_by(open_memory()), held_by(other))
    other.insert(World(8).records(1))
    other.close()


def test_cells_that_are_none_are_cut_anew(open_memory, tmp_path):
    memory, path = filled(open_memory, tmp_path)
    memory.restore(path)
    before = held_by(memory)
    with closing(sqlite3.connect(path)) as connection, connection:
        import zlib

        body = bytearray(connection.execute("SELECT body FROM record WHERE id = 7").fetchone()[0][:-4])
        body[40:48] = bytes(8)
        whole = bytes(body) + zlib.crc32(body).to_bytes(4, "little")
        connection.execute("UPDATE record SET body = ? WHERE id = 7", (whole,))
    memory.restore(path)
    assert_same_content(held_by(memory), before)
    assert_same_content(held_by(open_memory()), before)


def test_the_snapshot_of_an_empty_memory(open_memory, tmp_path, grid):
    empty = CellMemory(Store(), grid)
    assert empty.snapshot(tmp_path / "empty") == 0
    empty.close()
    memory, _ = filled(open_memory, tmp_path)
    assert memory.restore(tmp_path / "empty") == 0
    memory = open_memory()
    assert len(memory) == 0
    assert memory.insert([World(1).record(encoder_id="f")]) == [81]


RESTORE_FOR_EVER = """
import itertools, sys
from pathlib import Path
from spatial_memory import CellGrid, CellMemory, LocalMap, Store
memory = CellMemory(Store(sys.argv[1]), CellGrid(LocalMap(), 15))
for number in itertools.count():
    memory.restore(Path(sys.argv[2 + number % 2]))
    print(number, flush=True)
"""


def test_a_process_killed_while_it_restores_leaves_one_or_the_other(open_memory, tmp_path):
    contents = []
    for count in (60, 1500):
        memory = open_memory()
        memory.clear()
        memory.insert(World(count).records(count))
        memory.snapshot(tmp_path / f"snapshot-{count}")
        contents.append(held_by(memory))
    memory.close()
    files = [str(tmp_path / name) for name in ("memory.sqlite3", "snapshot-60", "snapshot-1500")]
    rng = np.random.default_rng(0)
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", RESTORE_FOR_EVER, *files], stdout=subprocess.PIPE) as child:
            for _ in range(int(rng.integers(1, 4))):
                assert child.stdout.readline()
            time.sleep(float(rng.uniform(0.0, 0.15)))
            child.kill()
        memory = open_memory()
        found = held_by(memory)
        assert_same_content(found, contents[len(found) == 1500])
        assert memory.insert([World(1).record()])[0] > 1560
        assert memory.restore(tmp_path / "snapshot-60") == 60
        memory.close()
        assert not (tmp_path / "memory.sqlite3.restoring").exists()


# ---------------------------------------------------------------- any damage


@settings(deadline=None, max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    at=st.floats(0.0, 1.0, exclude_max=True),
    length=st.sampled_from([1, 1, 4, 100, 4096]),
    seed=st.integers(0, 10**6),
    is_cut=st.booleans(),
)
def test_any_damage_is_refused_or_harmless(at, length, seed, is_cut):
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        grid, path, snapshot = CellGrid(LocalMap(), 15), Path(folder) / "memory", Path(folder) / "snapshot"
        memory = CellMemory(Store(path), grid)
        memory.insert(World(seed).records(80))
        memory.snapshot(snapshot)
        whole = held_by(memory)
        memory.insert(World(seed + 1).records(10))
        memory.flush()
        before, state = held_by(memory), state_of(memory)
        content = bytearray(snapshot.read_bytes())
        start = int(at * len(content))
        if is_cut and seed % 4 == 0:
            del content[start:]
        else:
            content[start : start + length] = rng.bytes(len(content[start : start + length]))
        snapshot.write_bytes(content)
        try:
            memory.restore(snapshot)
        except (StoreError, EncoderMismatchError):
            assert state_of(memory) == state
            expected = before
        else:
            expected = whole
        assert_same_content(held_by(memory), expected)
        memory.close()
        again = CellMemory(Store(path), grid)
        assert_same_content(held_by(again), expected)
        assert again.insert([World(0).record()]) == [91]
        again.flush()
        again.close()


# ---------------------------------------------------------------- start


@pytest.mark.parametrize("kind", ["table", "view", "trigger", "index", "column"])
def test_a_file_with_other_tables_is_refused_by_name_and_can_be_mended(open_memory, tmp_path, grid, kind):
    memory, _ = filled(open_memory, tmp_path)
    before = held_by(memory)
    memory.close()
    path = tmp_path / "memory.sqlite3"
    REFUSED[kind](path)
    with pytest.raises(CorruptStoreError, match=r"(table record|other)\); start with on_corrupt: recover"):
        open_cell_memory(str(path), grid, 10**6, 1.0, 0.1)
    memory = open_cell_memory(str(path), grid, 10**6, 1.0, 0.1, on_corrupt="recover")
    assert_same_content(held_by(memory), before)
    memory.insert([World(2).record()])
    memory.flush()
    memory.close()


def test_what_the_database_keeps_for_itself_does_no_harm(open_memory, tmp_path):
    memory, _ = filled(open_memory, tmp_path)
    before = held_by(memory)
    memory.close()
    says("ANALYZE; VACUUM")(tmp_path / "memory.sqlite3")
    assert_same_content(held_by(open_memory()), before)


def test_a_snapshot_never_lands_on_the_memory_itself(open_memory, tmp_path):
    memory, _ = filled(open_memory, tmp_path)
    before, state = held_by(memory), state_of(memory)
    (tmp_path / "link").symlink_to(tmp_path / "memory.sqlite3")
    for name in ("memory.sqlite3", "memory.sqlite3-wal", "memory.sqlite3.lock", "link"):
        with pytest.raises(StoreError, match="the memory itself"):
            memory.snapshot(tmp_path / name)
    assert_as_before(memory, open_memory, before, state)
