"""What peers may change: a key stands for its records, a snapshot's name for one file, and undo for the last change."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from geometry_msgs.msg import Transform

from spatial_memory import CellMemory, MemoryRecord, RecordError, Rigid, Store, StoreError, messages
from spatial_memory.embedded.changes import Allowed, Changes
from spatial_memory.embedded.undo import Undo
from spatial_memory.store.names import SnapshotFolder
from wm_core.errors import MessageError
from wm_core.memory.protocol import Forget

SAME_PLACE = Rigid(0.0, 0.0, 0.0, 0.0)


def record(number: int, **fields: object) -> MemoryRecord:
    latent_D = np.full(4, number, np.float32)
    of = MemoryRecord(stamp_ns=number + 1, latent_D=latent_D, x=0.5 * number, y=0.0, session="s", encoder_id="e")
    return replace(of, frame_id="map", **fields)


@pytest.fixture
def changes(tmp_path, grid):
    path = tmp_path / "memory.sqlite3"
    with closing(CellMemory(Store(path), grid)) as memory:
        folder = SnapshotFolder(tmp_path / "snapshots", 20)
        yield Changes(memory, Undo(memory, str(path), grid), folder, Allowed(destructive=True, restore=True))


@pytest.mark.parametrize(
    "other", [record(7), record(1, stamp_ns=9), record(1, session="t"), record(1, latent_D=np.zeros(4, np.float32))]
)
def test_a_key_that_came_with_another_record_is_refused(changes, other):
    first, second = changes.insert([record(0), record(1)], "key")
    with pytest.raises(RecordError, match="record 1: its idempotence key came with another") as refused:
        changes.insert([record(0), other], "key")
    assert refused.value.reason == "key-reused"
    assert [each.id for each in changes._memory.everything()] == sorted([first, second])


def test_all_that_a_key_acknowledges_is_held(changes):
    ids = changes.insert([record(0)], "key")
    more = changes.insert([record(0), record(1), record(2)], "key")
    assert more[:1] == ids
    assert {each.id for each in changes._memory.get(more)} == set(more)
    changes.transform(Rigid(3.0, 0.0, 0.0, 0.0), "")
    assert changes.insert([record(0), record(1), record(2)], "key") == more  # moved, and still the same


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal", "-WAL", ".new"])
def test_no_snapshot_takes_the_name_of_a_file_beside_another(changes, suffix):
    changes.insert([record(number) for number in range(5)])
    assert changes.snapshot("good") == 5
    with pytest.raises(StoreError, match="no snapshot's name ends in"):
        changes.snapshot(f"good{suffix}")
    assert changes.restore("good") == 5


def test_what_met_nothing_leaves_the_last_change_to_take_back(changes):
    changes.insert([record(number) for number in range(5)])
    assert changes.transform(replace(SAME_PLACE, frame_id="odom"), "") == 5
    assert changes.transform(SAME_PLACE, "nobody's") == 0
    assert changes.delete(Forget(session="nobody's")) == 0
    assert changes.undo() == "took back the last transform: 5 memories"
    assert changes._memory.stats().frame_id == "map"


def test_a_frame_has_no_endless_name():
    still = Transform()
    still.rotation.w = 1.0
    assert messages.rigid_from_msg(still, "f" * 256).frame_id == "f" * 256
    with pytest.raises(MessageError) as refused:
        messages.rigid_from_msg(still, "f" * 257)
    assert refused.value.reason == "name-too-long"
