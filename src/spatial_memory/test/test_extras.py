"""What only some records have: kept whole across restarts, snapshots and damage; nothing where nobody has it."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatial_memory import CorruptStoreError, FrameMismatchError, MemoryRecord, Successor
from spatial_memory.factory import make_grid, open_cell_memory
from spatial_memory.store import files
from spatial_memory.store.extras import Extra, pack_alike, pack_extra, unpack_alike, unpack_extras
from spatial_memory.store.recovery import recover

from .conftest import World, assert_same_record

FORMER = Path(__file__).parents[3] / "test" / "former" / "version_1" / "memory.sqlite3"
FLOATS = st.floats(-1.0, 1.0, width=32)


def plain(at: int) -> MemoryRecord:
    return MemoryRecord(at * 10**9, np.ones(6, np.float32), float(at), 0.0, encoder_id="e", session="s")


@pytest.fixture
def former(tmp_path: Path) -> Path:
    return Path(shutil.copy(FORMER, tmp_path / "former.sqlite3"))


def open_former(path: Path, **options: str):
    return open_cell_memory(str(path), make_grid("local", 4.53, 137.977, 2.0, -1), 10_000, 1.0, 0.2, **options)


def tables(path: Path) -> tuple[int, set[str]]:
    connection = sqlite3.connect(path)
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return version, names


@given(
    st.integers(1, 2**63 - 1),
    st.lists(
        st.builds(
            Extra,
            st.sampled_from([0.0, 0.05, 1.0]),
            st.none() | st.tuples(FLOATS, FLOATS, FLOATS, FLOATS),
            st.binary(max_size=40).map(lambda body: np.frombuffer(body, np.int8)),
        ),
        max_size=6,
    ),
)
@settings(deadline=None)
def test_items_are_unpacked_as_they_were_packed_the_last_of_a_horizon(record_id, items):
    found, is_whole = unpack_extras(record_id, b"".join(pack_extra(record_id, item) for item in items))
    assert is_whole
    expected = {item.horizon_s: item for item in items}
    assert found.keys() == expected.keys()
    for horizon_s, item in found.items():
        assert item.orientation == (expected[horizon_s].orientation if horizon_s == 0.0 else None)
        np.testing.assert_array_equal(item.feature_F, expected[horizon_s].feature_F)


@given(st.data())
@settings(deadline=None)
def test_a_changed_byte_never_goes_unnoticed(data):
    body = pack_extra(7, Extra(0.0, (0.0, 0.6, 0.0, 0.8), np.arange(20, dtype=np.int8)))
    at = data.draw(st.integers(0, len(body) - 1))
    changed = bytes([*body[:at], body[at] ^ data.draw(st.integers(1, 255)), *body[at + 1 :]])
    assert unpack_extras(7, changed) == ({}, False)
    assert unpack_extras(8, body) == ({}, False)


def test_a_robot_without_them_pays_nothing(open_memory, tmp_path):
    memory = open_memory()
    ids = memory.insert([plain(at) for at in range(50)])
    memory.link(ids[0], Successor(0.05, 0.05, np.ones(6, np.float32)))
    memory.flush()
    connection = sqlite3.connect(tmp_path / "memory.sqlite3")
    assert connection.execute("SELECT count(*) FROM extra").fetchone() == (0,)
    assert {len(body) for (body,) in connection.execute("SELECT body FROM record")} == {6 * 8 + 3 * 4 + 6 * 4 + 4}
    connection.close()


def test_frame_rotations_and_features_survive(open_memory, tmp_path, grid):
    memory = open_memory()
    world = World(31)
    memory.insert([world.record(frame_id="map") for _ in range(60)])
    waiting = {record.id: record for record in memory.everything()}
    memory.flush()
    before = {record.id: record for record in memory.everything()}
    memory.snapshot(tmp_path / "snapshot")
    again = open_memory()
    again.insert([world.record()])
    again.restore(tmp_path / "snapshot")
    restored = {record.id: record for record in again.everything()}
    assert sum(record.orientation is not None for record in restored.values()) > 5
    for held in (waiting, before, restored):
        assert held.keys() == before.keys()
        for record_id, record in held.items():
            assert_same_record(record, before[record_id])
            assert (record.frame_id, record.feature_id) == ("map", "net")
    with pytest.raises(FrameMismatchError):
        again.insert([world.record(frame_id="odom")])


def test_what_is_forgotten_leaves_none_behind(open_memory, tmp_path):
    memory = open_memory(capacity=20)
    world = World(32)
    memory.insert([world.record() for _ in range(100)])
    memory.clear()
    memory.flush()
    connection = sqlite3.connect(tmp_path / "memory.sqlite3")
    assert connection.execute("SELECT count(*) FROM extra").fetchone() == (0,)
    connection.close()


def test_damage_is_said_and_recovered_from(open_memory, tmp_path, grid):
    path = tmp_path / "memory.sqlite3"
    memory = open_memory()
    world = World(34)
    memory.insert([world.record() for _ in range(80)])
    held = {record.id: record for record in memory.everything()}
    memory.close()
    connection = sqlite3.connect(path)
    victim = connection.execute("SELECT min(record) FROM extra").fetchone()[0]
    connection.execute("UPDATE extra SET body = substr(body, 1, 20) WHERE record = ?", (victim,))
    connection.commit()
    connection.close()
    with pytest.raises(CorruptStoreError, match=f"rotation or features of record {victim} are damaged"):
        open_cell_memory(str(path), grid, 1000, 1.0, 0.2)
    assert recover(path) == len(held)
    kept = {record.id: record for record in open_memory().everything()}
    assert kept.keys() == held.keys()
    assert kept[victim].orientation is None
    for record_id in kept.keys() - {victim}:
        assert_same_record(kept[record_id], held[record_id])


def test_a_former_memory_adopts_the_first_frame_it_sees(former):
    memory = open_former(former)
    assert tables(former)[0] == files.FORMAT_VERSION
    assert memory.stats().frame_id == ""
    record = memory.everything()[0]
    new = MemoryRecord(2**62, record.latent_D, 0.0, 0.0, encoder_id=record.encoder_id, frame_id="odom")
    memory.insert([new])
    memory.close()
    memory = open_former(former)
    assert {each.frame_id for each in memory.everything()} == {"odom"}
    with pytest.raises(FrameMismatchError, match="pose in frame map, the memory's are in odom"):
        memory.insert([MemoryRecord(2**62, record.latent_D, 0.0, 0.0, encoder_id=record.encoder_id, frame_id="map")])
    memory.close()


def test_a_former_snapshot_is_restored_and_left_as_it_is(former, tmp_path):
    memory = open_former(tmp_path / "new.sqlite3")
    assert memory.restore(former) == 297
    assert tables(former)[0] == 1
    memory.close()


def test_a_migration_is_whole_or_has_not_begun(former, monkeypatch):
    before = tables(former)
    monkeypatch.setattr(files, "FROM_1_TO_2", files.FROM_1_TO_2 + "INSERT INTO nowhere VALUES (1);")
    memory = open_former(former)  # as from a disk that takes nothing
    assert len(memory) == 297
    memory.close()
    assert tables(former) == before
    monkeypatch.undo()
    memory = open_former(former)
    assert len(memory) == 297
    memory.close()


def test_many_items_are_packed_and_read_as_each_by_itself():
    rng = np.random.default_rng(4)
    ids = [7, 2**40 + 3, 9, 11]
    rotation_N4 = rng.normal(size=(4, 4)).astype(np.float32)
    rotation_N4[1] = np.nan
    own_NF, later_NF = rng.integers(-128, 128, (2, 4, 6)).astype(np.int8)
    own = pack_alike(ids, np.zeros(4), rotation_N4, own_NF)
    later = pack_alike(ids, np.full(4, 0.05), None, later_NF)
    for at, key in enumerate(ids):
        turn = None if at == 1 else tuple(rotation_N4[at].tolist())
        assert own[at] == pack_extra(key, Extra(0.0, turn, own_NF[at]))
        assert later[at] == pack_extra(key, Extra(0.05, None, later_NF[at]))
    bare = pack_alike(ids[:1], np.zeros(1), rotation_N4[:1], np.empty((1, 0), np.int8))
    rows = [(ids[0], own[0] + later[0]), (ids[1], own[1] + later[1]), (ids[2], own[2]), (ids[0], bare[0])]
    groups = {tuple(alike.at_N.tolist()): alike.items for alike in unpack_alike(rows)}
    assert set(groups) == {(0, 1), (2,), (3,)}
    (first, turn_N4, feature_NF), (second, none, after_NF) = groups[0, 1]
    assert (first, second, none) == (0.0, 0.05, None)
    np.testing.assert_array_equal(turn_N4, rotation_N4[:2])
    np.testing.assert_array_equal(feature_NF, own_NF[:2])
    np.testing.assert_array_equal(after_NF, later_NF[:2])
    for damaged in (own[0][:-1], own[0][:20] + b"x" + own[0][21:], b"", own[0] + b"y"):
        with pytest.raises(CorruptStoreError, match="damaged"):
            list(unpack_alike([(ids[0], damaged)]))
