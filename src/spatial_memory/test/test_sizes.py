"""How large records are is said by whoever comes first, or by a snapshot: no size takes more room than there is."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from spatial_memory import CellGrid, CellMemory, LocalMap, MemoryRecord, Store, Successor
from spatial_memory.index.columns import room_for
from spatial_memory.store.schema import PUT_META, checksummed
from wm_core.memory.errors import CorruptStoreError, RecordError

GRID = CellGrid(LocalMap(), 15)
LARGEST = 65_536


def record(at: int = 0, dim: int = 4, **fields: object) -> MemoryRecord:
    return MemoryRecord(at + 1, np.full(dim, at, np.float32), 0.1 * at, 0.0, session="s", encoder_id="e", **fields)


@pytest.mark.parametrize(
    "first",
    [
        record(dim=LARGEST),
        record(dim=LARGEST, successors=(Successor(1.0, 1.0, np.ones(LARGEST, np.float32)),)),
        record(action_A=np.ones(LARGEST, np.float32)),
        record(feature_id="net", feature_F=np.ones(LARGEST, np.int8)),
    ],
    ids=["latent", "successor", "action", "feature"],
)
def test_the_largest_first_record_is_kept(first):
    with closing(CellMemory(Store(), GRID)) as memory:
        (found,) = memory.get(memory.insert([first]))
        np.testing.assert_array_equal(found.latent_D, first.latent_D)
        np.testing.assert_array_equal(found.action_A, first.action_A)
        np.testing.assert_array_equal(found.feature_F, first.feature_F)


def test_actions_and_features_that_come_later_are_kept_or_refused_by_name():
    with closing(CellMemory(Store(), GRID)) as memory:
        memory.insert([record(at) for at in range(40)])
        with pytest.raises(RecordError, match=r"actions of 65536 and features of 0 values .* at most 8"):
            memory.insert([record(50, action_A=np.ones(LARGEST, np.float32))])
        with pytest.raises(RecordError, match="actions of 2 and features of 65536 values"):
            memory.insert([
                record(51, action_A=np.ones(2, np.float32), feature_id="net", feature_F=np.ones(LARGEST, np.int8))
            ])  # fmt: skip
        ids = memory.insert([record(60, action_A=np.array([1, 2, 3], np.float32)), record(61)])
        assert memory.get(ids)[0].action_A.tolist() == [1, 2, 3]
        assert [each.action_A.size for each in memory.get([1, 40, ids[1]])] == [0, 0, 0]
        assert len(memory) == 42


def test_room_is_made_for_all_that_is_held_and_for_no_more_bytes_than_there_may_be():
    assert room_for(0, 1000) * 16 >= 1000
    assert room_for(10**6, 10) * 16 >= 10**6
    assert room_for(0, 10**6, 32, 2) == room_for(0, 10**6)
    assert room_for(0, 10**6, LARGEST, LARGEST, LARGEST) < 1000
    assert room_for(3000, 10**6, LARGEST) * 16 >= 3000


@pytest.mark.parametrize("word", ["dim", "action_dim", "feature_dim"])
@pytest.mark.parametrize("is_empty", [False, True])
def test_a_snapshot_that_names_an_impossible_size_is_refused_and_nothing_changes(tmp_path, word, is_empty):
    with closing(CellMemory(Store(), GRID)) as memory:
        memory.insert([record(at) for at in range(5)])
        memory.snapshot(tmp_path / "good")
        shutil.copy(tmp_path / "good", tmp_path / "bad")
        with closing(sqlite3.connect(tmp_path / "bad")) as file:
            if is_empty:
                file.execute("DELETE FROM record")
            file.execute(PUT_META, checksummed(word, "100000000"))
            file.commit()
        with pytest.raises(CorruptStoreError, match=f"{word} 100000000"):
            memory.restore(tmp_path / "bad")
        assert memory.held_ids() == [1, 2, 3, 4, 5]
