"""What is acknowledged survives any single fault of its files, or the start is refused by name, with what mends it."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spatial_memory import (
    CellGrid,
    CellMemory,
    CorruptStoreError,
    EncoderMismatchError,
    Forget,
    LocalMap,
    Store,
    StoreError,
    StoreLockedError,
)
from spatial_memory.factory import open_cell_memory
from spatial_memory.store.checkpoint import Ledger
from spatial_memory.store.recovery import recover, replace_by, start_anew
from spatial_memory.store.verify import verified
from wm_core.memory.errors import LostRecordsError

from .conftest import World, assert_same_record

Fault = Callable[[Path], None]
PARTS = ("", "-wal", "-shm", ".ledger", ".lock")
REFUSED = (CorruptStoreError, EncoderMismatchError)
GRID = CellGrid(LocalMap(), 15)


def named(error: Exception, command: str) -> None:
    assert command in str(error)


def records_of(memory: CellMemory) -> dict:
    return {record.id: record for record in memory.everything()}


def opened(path: Path, **settings: object) -> CellMemory:
    store = Store(path, 0.01)
    try:
        return CellMemory(store, GRID, **settings)
    except BaseException:
        store.close()
        raise


def killed(path: Path, folder: Path) -> Path:
    """Return the files as a process that is killed now would leave them, elsewhere."""
    folder.mkdir()
    for suffix in PARTS:
        if Path(f"{path}{suffix}").exists():
            shutil.copy(f"{path}{suffix}", f"{folder / path.name}{suffix}")
    return folder / path.name


def hindered(path: Path) -> sqlite3.Connection:
    """Return a reader for as long as which the log is not emptied."""
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM meta").fetchall()
    return reader


def part(suffix: str, how: Callable[[bytes], bytes | None]) -> Fault:
    def fault(path: Path) -> None:
        file = Path(f"{path}{suffix}")
        if not file.exists():
            return
        content = how(file.read_bytes())
        file.unlink()
        if content is not None:
            file.write_bytes(content)

    return fault


def flipped(content: bytes) -> bytes:
    data = bytearray(content)
    for at in np.random.default_rng(len(data)).integers(0, max(1, len(data)), 40).tolist():
        if at < len(data):
            data[at] ^= 0xFF
    return bytes(data)


HOW: dict[str, Callable[[bytes], bytes | None]] = {
    "deleted": lambda _: None,
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) * 2 // 3],
    "zeroed": lambda content: bytes(len(content)),
    "flipped": flipped,
    "rubbish": lambda _: b"something else" * 3000,
}
FAULTS = {f"{suffix or 'file'} {name}": part(suffix, how) for suffix in PARTS for name, how in HOW.items()}


@pytest.mark.slow
@pytest.mark.parametrize("is_behind", [False, True], ids=["checkpointed", "log kept"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_after_a_kill_loses_nothing_or_is_refused_by_name(tmp_path, name, is_behind):
    memory, world = opened(tmp_path / "memory.sqlite3"), World(1)
    memory.insert(world.records(60))
    memory.flush()
    reader = hindered(Path(memory._store.path)) if is_behind else contextlib.nullcontext()
    with contextlib.closing(reader) if is_behind else reader:
        for _ in range(6):
            memory.insert(world.records(20))
            memory.flush()
        acknowledged = records_of(memory)
        path = killed(Path(memory._store.path), tmp_path / "killed")
    memory.close()
    FAULTS[name](path)
    try:
        again = opened(path)
    except REFUSED as error:
        named(error, f"wm memory mend {path}")
        return
    found = records_of(again)
    assert found.keys() == acknowledged.keys()
    if not again.stats().degraded:
        for key, record in acknowledged.items():
            assert_same_record(found[key], record)
    again.insert(world.records(3))
    again.flush()
    again.close()
    assert len(records_of(opened_and_closed(path))) == len(acknowledged) + 3


def opened_and_closed(path: Path) -> CellMemory:
    memory = opened(path)
    held = memory.everything()
    memory.close()
    memory.everything = lambda: held
    return memory


def test_a_log_is_empty_once_it_is_acknowledged_so_that_the_file_alone_is_a_backup(tmp_path):
    memory = opened(tmp_path / "memory.sqlite3")
    for _ in range(5):
        memory.insert(World(1).records(30))
        memory.flush()
        shutil.copy(memory._store.path, tmp_path / "alone.sqlite3")
        assert verified(tmp_path / "alone.sqlite3").records == len(memory)
        assert Path(f"{memory._store.path}-wal").stat().st_size == 0
    memory.close()


@pytest.mark.parametrize("whole", [True, False], ids=["with log and ledger", "file alone"])
def test_an_older_copy_in_its_place_is_refused(tmp_path, whole):
    memory = opened(tmp_path / "memory.sqlite3")
    memory.insert(World(1).records(30))
    memory.flush()
    older = killed(Path(memory._store.path), tmp_path / "older")
    memory.insert(World(2).records(10))
    memory.flush()
    path = killed(Path(memory._store.path), tmp_path / "killed")
    memory.close()
    for suffix in ("", "-wal", "-shm") if whole else ("",):
        if Path(f"{older}{suffix}").exists():
            shutil.copy(f"{older}{suffix}", f"{path}{suffix}")
    with pytest.raises(LostRecordsError, match=r"40 acknowledged records .*an older copy lies in its place"):
        opened(path)
    assert recover(path) == 30
    again = opened(path)
    assert len(again) == 30
    again.close()


def test_an_older_log_beside_the_file_is_put_aside(tmp_path):
    memory, world = opened(tmp_path / "memory.sqlite3"), World(1)
    memory.insert(world.records(30))
    memory.flush()
    with contextlib.closing(hindered(Path(memory._store.path))):
        memory.insert(world.records(30))
        memory.flush()
        older = killed(Path(memory._store.path), tmp_path / "older")
    memory.insert(world.records(30))
    memory.delete(Forget(ids=(5,)))
    memory.flush()
    held = records_of(memory)
    path = killed(Path(memory._store.path), tmp_path / "killed")
    memory.close()
    assert Path(f"{older}-wal").stat().st_size > 0
    shutil.copy(f"{older}-wal", f"{path}-wal")
    again = opened(path)
    assert records_of(again).keys() == held.keys()
    assert Path(f"{path}-wal.damaged-1").exists()
    again.close()


def test_another_memory_in_its_place_is_refused(tmp_path):
    for name in ("memory", "other"):
        memory = opened(tmp_path / f"{name}.sqlite3")
        for number in range(5):
            memory.insert(World(number).records(10))
            memory.flush()
        memory.close()
    shutil.copy(tmp_path / "other.sqlite3", tmp_path / "memory.sqlite3")
    with pytest.raises(LostRecordsError, match="another memory lies in its place"):
        opened(tmp_path / "memory.sqlite3")


# ---------------------------------------------------------------- under a running memory


def waited(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def take_away(*suffixes: str) -> Fault:
    def fault(path: Path) -> None:
        for suffix in suffixes:
            Path(f"{path}{suffix}").unlink(missing_ok=True)

    return fault


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [take_away(""), take_away("-wal"), take_away("-shm"), take_away(".lock"), take_away(*PARTS),
     take_away("-wal", "-shm"), lambda path: shutil.rmtree(path.parent)],
    ids=["file", "log", "shm", "lock", "all", "log and shm", "folder"],
)  # fmt: skip
@pytest.mark.parametrize("then", ["insert", "wait", "close"])
def test_files_taken_away_under_a_running_memory_are_written_anew(tmp_path, fault, then):
    path, world = tmp_path / "here" / "memory.sqlite3", World(3)
    memory = opened(path)
    memory.insert(world.records(50))
    memory.flush()
    fault(path)
    if then == "insert":
        memory.insert(world.records(10))
        memory.flush()
    elif then == "wait":
        waited(lambda: all(Path(f"{path}{suffix}").exists() for suffix in ("", "-wal", ".lock")))
        waited(lambda: not memory.stats().degraded)
    held = records_of(memory)
    if then != "close":
        program_is_refused(path)
    memory.close()
    again = opened(path)
    assert records_of(again).keys() == held.keys()
    for key, record in records_of(again).items():
        assert_same_record(record, held[key])
    again.close()


def program_is_refused(path: Path) -> None:
    with pytest.raises(StoreLockedError):
        Store(path)


@pytest.mark.parametrize("how", ["renamed", "written over", "truncated"])
def test_a_file_replaced_under_a_running_memory_ends_what_is_acknowledged(tmp_path, how):
    path, world = tmp_path / "memory.sqlite3", World(3)
    memory = opened(path)
    memory.insert(world.records(20))
    memory.flush()
    older = killed(path, tmp_path / "older")
    memory.insert(world.records(30))
    memory.flush()
    if how == "renamed":
        os.replace(older, path)
    elif how == "written over":
        shutil.copy(older, path)
    else:
        os.truncate(path, 8192)
    memory.insert(world.records(10))
    with pytest.raises(StoreError, match="nothing more is acknowledged"):
        memory.flush()
    assert "nothing more is acknowledged" in memory.stats().degraded[0]
    memory.close()
    with pytest.raises(CorruptStoreError, match="wm memory mend"):
        opened(path)
    if how == "renamed":
        assert verified(tmp_path / "memory.sqlite3.rescued-1").records == 50
        assert replace_by(path, tmp_path / "memory.sqlite3.rescued-1") == 50
        again = opened(path)
        assert len(again) == 50
        again.close()


def test_a_file_that_was_only_touched_goes_on(tmp_path):
    memory = opened(tmp_path / "memory.sqlite3")
    memory.insert(World(3).records(20))
    memory.flush()
    os.utime(memory._store.path, ns=(1, 1))
    memory.insert(World(4).records(20))
    memory.flush()
    assert memory.stats().degraded == ()
    memory.close()
    again = opened(tmp_path / "memory.sqlite3")
    assert len(again) == 40
    again.close()


def test_what_another_program_deletes_is_named_and_the_own_writing_is_not(tmp_path):
    path = tmp_path / "memory.sqlite3"
    world, memory = World(1), opened(path)
    try:
        for _ in range(3):
            memory.insert([world.record() for _ in range(10)])
            memory.flush()
        memory._store._writer.watch()
        assert memory.stats().degraded == ()
        with contextlib.closing(sqlite3.connect(path)) as other, other:
            other.execute("SELECT count(*) FROM record").fetchone()
        memory._store._writer.watch()
        assert memory.stats().degraded == ()
        with contextlib.closing(sqlite3.connect(path)) as other, other:
            other.execute("DELETE FROM record WHERE id IN (SELECT id FROM record LIMIT 20)")
        memory._store._writer.watch()
        (said,) = memory.stats().degraded
        assert f"another program wrote to {path} while it was in use (30 records before, 10 after)" in said
        assert "restart" in said
        memory.insert([world.record()])
        memory.flush()
        assert len(memory.stats().degraded) == 1
    finally:
        memory.close()


def test_another_program_cannot_open_it_even_without_the_lock_file(tmp_path):
    memory = opened(tmp_path / "memory.sqlite3")
    (tmp_path / "memory.sqlite3.lock").unlink()
    program_is_refused(tmp_path / "memory.sqlite3")
    memory.close()


@contextlib.contextmanager
def refusing_disk() -> Iterator[None]:
    """Have the system refuse whatever this process writes to a file, as a disk that is full does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_start_on_a_disk_that_refuses_is_caught_up_with(tmp_path):
    path, world = tmp_path / "memory.sqlite3", World(3)
    memory = opened(path)
    memory.insert(world.records(20))
    memory.close()
    with refusing_disk():
        memory = opened(path)
        memory.insert(world.records(10))
        for _ in range(2):
            with pytest.raises(StoreError, match="not durable: disk I/O error"):
                memory.flush()
    memory.flush()
    assert memory.stats().degraded == ()
    held = records_of(memory)
    assert len(held) == 30
    memory.close()
    again = opened(path)
    assert records_of(again).keys() == held.keys()
    again.close()


def test_a_file_that_changed_while_it_could_not_be_written_is_named_each_time_as_what_it_is(tmp_path):
    path, world = tmp_path / "memory.sqlite3", World(3)
    for name, count in (("memory", 20), ("other", 30)):
        memory = opened(tmp_path / f"{name}.sqlite3")
        memory.insert(world.records(count))
        memory.close()
    with refusing_disk():
        memory = opened(path)
        Path(f"{path}.ledger").unlink()
        os.replace(tmp_path / "other.sqlite3", path)
    for _ in range(2):
        memory.insert(world.records(1))
        with pytest.raises(StoreError, match="holds memories that were not loaded"):
            memory.flush()
    memory.close()


def test_a_lock_is_held_where_the_disk_has_no_room_to_tell_by_whom(tmp_path):
    opened(tmp_path / "memory.sqlite3").close()
    with refusing_disk():
        memory = opened(tmp_path / "memory.sqlite3")
    program_is_refused(tmp_path / "memory.sqlite3")
    memory.close()


# ---------------------------------------------------------------- capacity, age, mending


def test_a_lower_capacity_forgets_only_when_told_to(tmp_path):
    memory = opened(tmp_path / "memory.sqlite3", capacity=50)
    memory.insert(World(3).records(60))
    snapshot = tmp_path / "snapshot"
    assert memory.snapshot(snapshot) == 50
    memory.close()
    with pytest.raises(StoreError, match=r"holds 50 memories, capacity is 30: 20 would be forgotten .*allow_shrink"):
        opened(tmp_path / "memory.sqlite3", capacity=30)
    assert verified(tmp_path / "memory.sqlite3").records == 50
    other = opened(tmp_path / "other.sqlite3", capacity=30)
    other.insert(World(4).records(5))
    with pytest.raises(StoreError, match="allow_shrink"):
        other.restore(snapshot)
    assert len(other) == 5
    other.close()
    memory = opened(tmp_path / "memory.sqlite3", capacity=30, allow_shrink=True)
    assert len(memory) == 30
    memory.close()


def test_one_stamp_in_the_future_makes_nothing_old(tmp_path):
    memory, now = opened(tmp_path / "memory.sqlite3"), time.time_ns()
    memory.insert([World(3).record(stamp_ns=now - age * 10**9) for age in (7200, 600, 60, 1)])
    memory.insert([World(3).record(stamp_ns=now + 10**18)])
    assert memory.delete(Forget(older_than_s=3600.0)) == 1
    assert len(memory) == 4
    memory.close()


def test_what_is_missing_can_be_given_up_or_put_back(tmp_path):
    path, backup = tmp_path / "memory.sqlite3", tmp_path / "backup"
    memory = opened(path)
    memory.insert(World(3).records(40))
    memory.snapshot(backup)
    memory.insert(World(4).records(10))
    memory.close()
    for mend, count in (
        (lambda: replace_by(path, backup), 40),
        (lambda: start_anew(path), 0),
        (lambda: recover(path), 0),
    ):
        path.unlink()
        if Ledger(path).read() is not None:
            with pytest.raises(LostRecordsError, match="the file is missing"):
                opened(path)
        mend()
        again = opened(path)
        assert len(again) == count
        if not count:
            again.insert(World(5).records(7))
        again.close()


def test_recovery_by_parameter_takes_an_older_copy(tmp_path):
    path = tmp_path / "memory.sqlite3"
    memory = opened(path)
    memory.insert(World(3).records(40))
    memory.flush()
    older = killed(path, tmp_path / "older")
    memory.insert(World(4).records(10))
    memory.close()
    shutil.copy(older, path)
    memory = open_cell_memory(str(path), GRID, 10**6, 1.0, 0.1, on_corrupt="recover")
    assert len(memory) == 40
    memory.close()


# ---------------------------------------------------------------- any history


class AnyHistory(RuleBasedStateMachine):
    """Whatever happens between two starts: what was acknowledged is there, or the start was refused by name."""

    @initialize(seed=st.integers(0, 10**6))
    def start(self, seed):
        self.folder = tempfile.TemporaryDirectory()
        self.world, self.rng = World(seed), np.random.default_rng(seed)
        self.path = Path(self.folder.name) / "memory.sqlite3"
        self.memory = opened(self.path)
        self.acknowledged: dict = {}
        self.number = 0

    @rule(count=st.integers(1, 12))
    def insert(self, count):
        ids = self.memory.insert(self.world.records(count))
        self.memory.flush()
        self.acknowledged |= {record.id: record for record in self.memory.get(ids)}

    @rule(at=st.integers(0, 10**6))
    def delete(self, at):
        if self.acknowledged:
            gone = sorted(self.acknowledged)[at % len(self.acknowledged)]
            assert self.memory.delete(Forget(ids=(gone,))) == 1
            self.memory.flush()
            del self.acknowledged[gone]

    @rule(fault=st.sampled_from([take_away(""), take_away("-wal", "-shm"), take_away(*PARTS)]))
    def lose_files(self, fault):
        fault(self.path)

    @rule()
    def restart(self):
        self.memory.close()
        self.memory = opened(self.path)

    @rule(count=st.integers(1, 5))
    def restart_on_a_disk_that_refuses(self, count):
        self.memory.close()
        with refusing_disk():
            self.memory = opened(self.path)
            ids = self.memory.insert(self.world.records(count))
        self.memory.flush()
        self.acknowledged |= {record.id: record for record in self.memory.get(ids)}

    @rule()
    def be_killed(self):
        self.fall(None)

    @precondition(lambda self: self.acknowledged)
    @rule(name=st.sampled_from(sorted(FAULTS)))
    def be_killed_and_damaged(self, name):
        self.fall(name)

    def fall(self, name: str | None) -> None:
        self.number += 1
        self.memory.flush()
        path = killed(self.path, Path(self.folder.name) / f"killed-{self.number}")
        if name is not None:
            FAULTS[name](path)
        try:
            memory = opened(path)
        except REFUSED as error:
            assert name is not None
            named(error, f"wm memory mend {path}")
            return
        self.memory.close()
        self.memory, self.path = memory, path
        if self.memory.stats().degraded:  # named
            self.acknowledged = records_of(memory)

    @invariant()
    def everything_is_there(self):
        if hasattr(self, "memory"):
            found = records_of(self.memory)
            assert found.keys() == self.acknowledged.keys()
            for key, record in found.items():
                assert_same_record(record, self.acknowledged[key])

    def teardown(self):
        if hasattr(self, "memory"):
            self.memory.close()
            self.folder.cleanup()


AnyHistory.TestCase.settings = settings(
    deadline=None, max_examples=15, stateful_step_count=15, derandomize=True, suppress_health_check=list(HealthCheck)
)
test_any_history = pytest.mark.slow(AnyHistory.TestCase)
