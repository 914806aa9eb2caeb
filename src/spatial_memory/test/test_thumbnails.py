"""Small pictures beside the records: kept for good, bounded, gone with their record, the same after a restore."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pytest

from spatial_memory.embedded.memory import CellMemory
from spatial_memory.embedded.undo import Undo
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.geometry.maps import LocalMap
from spatial_memory.store import files
from spatial_memory.store.recovery import recover
from spatial_memory.store.store import Store
from spatial_memory.store.thumbnails import MOST_BYTES, pack_thumbnail, read_thumbnail, unpack_thumbnail
from spatial_memory.store.verify import verified
from wm_core.memory.errors import CorruptStoreError, StoreError
from wm_core.memory.protocol import Forget, Rigid
from wm_core.memory.record import MemoryRecord

GRID = CellGrid(LocalMap(), 15)


def picture(number: int) -> bytes:
    return b"\xff\xd8" + np.random.default_rng(number).bytes(900) + b"\xff\xd9"


def opened(path) -> CellMemory:
    return CellMemory(Store(path), GRID)


def records(count: int) -> list[MemoryRecord]:
    return [
        MemoryRecord(at * 10**9, np.full(4, at, np.float32), 0.1 * at, 0.0, session="s", encoder_id="e")
        for at in range(count)
    ]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.sqlite3"


@pytest.fixture
def memory(path):
    made = opened(path)
    ids = made.insert(records(20))
    made.thumbnails.keep({record_id: picture(record_id) for record_id in ids[:12]})
    made.flush()
    yield made
    made.close()


def test_they_survive_a_restart_and_another_process_can_read_them(memory, path):
    assert memory.thumbnails.get(range(1, 30)) == {at: picture(at) for at in range(1, 13)}
    assert (read_thumbnail(path, 3), read_thumbnail(path, 13), read_thumbnail(path, -1)) == (picture(3), None, None)
    memory.close()
    assert verified(path).records == 20
    again = opened(path)
    assert again.thumbnails.get([12, 13]) == {12: picture(12)}
    assert len(again.thumbnails) == 12
    again.close()


def test_of_too_many_the_oldest_go_and_a_later_one_takes_the_place_of_one_before(memory):
    memory.thumbnails.keep({15: picture(15), 2: picture(99)}, most=5)
    memory.flush()
    assert sorted(memory.thumbnails.get(range(30))) == [9, 10, 11, 12, 15]
    memory.thumbnails.keep({12: picture(50)}, most=5)
    memory.flush()
    assert memory.thumbnails.get([12]) == {12: picture(50)}
    assert len(memory.thumbnails) == 5


def test_they_go_with_their_record_and_none_comes_without_one(memory):
    memory.delete(Forget(ids=(3, 4)))
    memory.thumbnails.keep({4: picture(4), 500: picture(5)})
    memory.flush()
    assert sorted(memory.thumbnails.get(range(600))) == [1, 2, *range(5, 13)]
    memory.clear()
    memory.flush()
    assert len(memory.thumbnails) == 0


def test_eviction_takes_them_along(path):
    memory = CellMemory(Store(path), GRID, capacity=6)
    ids = memory.insert(records(6))
    memory.thumbnails.keep({record_id: picture(record_id) for record_id in ids})
    memory.insert([MemoryRecord(10**12, np.zeros(4, np.float32), 3.0, 0.0, session="s", encoder_id="e")])
    memory.flush()
    held = set(memory.held_ids())
    assert len(held) == 6
    assert set(memory.thumbnails.get(range(30))) == held - {7}
    memory.close()


def test_moving_the_map_leaves_them_and_a_snapshot_brings_them_back(memory, tmp_path):
    snapshot = tmp_path / "snapshot.sqlite3"
    memory.snapshot(snapshot)
    memory.transform(Rigid(1.0, 2.0, 0.0, 0.5))
    assert memory.thumbnails.get([1]) == {1: picture(1)}
    memory.delete(Forget(ids=(1, 2)))
    memory.thumbnails.keep({20: picture(20)})
    memory.flush()
    memory.restore(snapshot)
    assert memory.thumbnails.get(range(30)) == {at: picture(at) for at in range(1, 13)}
    assert read_thumbnail(snapshot, 2) == picture(2)


def test_undoing_brings_them_back_and_keeps_what_came_since(memory, path):
    undo = Undo(memory, str(path), GRID)
    undo.kept("delete", lambda: memory.delete(Forget(ids=(1, 2))))
    memory.flush()
    assert 1 not in memory.thumbnails.get([1])
    undo.undo()
    assert memory.thumbnails.get([1, 2]) == {1: picture(1), 2: picture(2)}
    undo.kept("transform", lambda: memory.transform(Rigid(1.0, 0.0, 0.0, 0.0)), move=Rigid(1.0, 0.0, 0.0, 0.0))
    (newer,) = memory.insert([MemoryRecord(10**12, np.zeros(4, np.float32), 3.0, 0.0, session="s", encoder_id="e")])
    memory.thumbnails.keep({newer: picture(newer)})
    memory.flush()
    undo.undo()
    assert memory.thumbnails.get([1, newer]) == {1: picture(1), newer: picture(newer)}


@pytest.mark.parametrize("jpeg", [b"", b"x" * (MOST_BYTES + 1)])
def test_what_is_no_small_picture_is_refused(memory, jpeg):
    with pytest.raises(StoreError, match="expected 1 to"):
        memory.thumbnails.keep({1: jpeg})


def test_a_damaged_one_is_no_picture_is_found_and_recovered_from(memory, path):
    memory.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        body = bytearray(connection.execute("SELECT body FROM thumbnail WHERE record = 5").fetchone()[0])
        body[10] ^= 1
        connection.execute("UPDATE thumbnail SET body = ? WHERE record = 5", (bytes(body),))
    assert read_thumbnail(path, 5) is None
    with pytest.raises(CorruptStoreError, match="picture of record 5"):
        verified(path)
    assert recover(path) == 20
    again = opened(path)
    assert sorted(again.thumbnails.get(range(30))) == [1, 2, 3, 4, *range(6, 13)]
    again.close()


def test_one_record_s_picture_is_not_another_s():
    assert unpack_thumbnail(1, pack_thumbnail(1, picture(1))) == picture(1)
    assert unpack_thumbnail(2, pack_thumbnail(1, picture(1))) is None
    assert unpack_thumbnail(1, "text") is None


def test_a_file_of_the_former_format_gets_the_table(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(files.CREATE_2)
    assert read_thumbnail(path, 1) is None
    memory = opened(path)
    ids = memory.insert(records(2))
    memory.thumbnails.keep({ids[0]: picture(1)})
    memory.flush()
    assert memory.thumbnails.get(ids) == {ids[0]: picture(1)}
    memory.close()
    assert verified(path).records == 2


def test_a_memory_that_keeps_nothing_keeps_them_as_long():
    memory = CellMemory(Store(), GRID)
    ids = memory.insert(records(2))
    memory.thumbnails.keep({ids[1]: picture(1)})
    memory.flush()
    assert memory.thumbnails.get(ids) == {ids[1]: picture(1)}
    memory.close()


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(StoreError, match="no file"):
        read_thumbnail(tmp_path / "nothing", 1)
    (tmp_path / "text").write_text("something else" * 100)
    with pytest.raises(CorruptStoreError):
        read_thumbnail(tmp_path / "text", 1)


def test_what_is_damaged_is_told_and_the_others_come(memory, path):
    assert memory.stats().degraded == ()
    with closing(sqlite3.connect(path)) as connection:
        for record_id, body in ((3, b"short"), (4, None), (5, pack_thumbnail(6, picture(6)))):
            connection.execute(
                "UPDATE thumbnail SET body = coalesce(?, zeroblob(9)) WHERE record = ?", (body, record_id)
            )
        connection.commit()
    assert memory.thumbnails.get(range(1, 13)) == {at: picture(at) for at in range(1, 13) if at not in (3, 4, 5)}
    assert any("3 pictures damaged" in text for text in memory.stats().degraded)
