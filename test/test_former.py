"""What former versions wrote is still read: recordings, memories and artifacts."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from spatial_memory.factory import make_grid, open_cell_memory
from wm_core.bags import Bag
from world_model.data.bags import BagOptions, read_bag

FORMER = Path(__file__).with_name("former")
VERSION_1 = FORMER / "version_1"


def _make() -> Any:
    spec = importlib.util.spec_from_file_location("former_make", FORMER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = _make()


def assert_same_values(mine: Any, theirs: Any) -> None:
    """Assert that two messages hold the same, field by field."""
    if hasattr(theirs, "__dataclass_fields__"):
        assert set(vars(mine)) == set(vars(theirs))
        for name, value in vars(theirs).items():
            assert_same_values(getattr(mine, name), value)
    elif isinstance(theirs, np.ndarray):
        np.testing.assert_array_equal(mine, theirs)
    elif isinstance(theirs, list):
        assert len(mine) == len(theirs)
        for ours, other in zip(mine, theirs):
            assert_same_values(ours, other)
    else:
        assert mine == theirs


def test_every_message_of_a_former_recording_is_read_by_its_own_definition():
    with AnyReader([VERSION_1 / "bag"]) as reader:
        one = [connection for connection in reader.connections if connection.topic.startswith("/one/")]
        read = {c.msgtype: reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages(one)}
        ours = sorted(name for name in read if name.startswith("wm_interfaces/"))
        assert len(ours) == 9
        assert hasattr(read["wm_interfaces/msg/MemoryRecord"], "heading")
        filler = make.Filler(reader.typestore)
        for name in (*ours, *make.OTHERS):
            assert_same_values(read[name], filler.fill(name))


def test_a_former_recording_converts_and_plays_beside_messages_that_nobody_knows():
    episode = read_bag(VERSION_1 / "bag", BagOptions(image_size=16))
    assert len(episode) == 40
    np.testing.assert_allclose(episode.pose_T4[1:, 0], 0.05 * np.arange(1, 40), atol=1e-3)
    bag = Bag(VERSION_1 / "bag")
    assert bag.types["/one/MemoryRecord"] == "wm_interfaces/msg/MemoryRecord"
    assert sum(1 for _ in bag.messages(list(bag.types))) == 40 * 3 + 9 + len(make.OTHERS)


@pytest.fixture
def former_memory(tmp_path: Path) -> Path:
    return Path(shutil.copy(VERSION_1 / "memory.sqlite3", tmp_path / "memory.sqlite3"))


def test_a_former_memory_opens_with_all_it_held(former_memory: Path):
    memory = open_cell_memory(str(former_memory), make_grid("local", 4.53, 137.977, 2.0, -1), 10_000, 1.0, 0.2)
    try:
        held = {record.id: record for record in memory.everything()}
    finally:
        memory.close()
    expected = {at + 1: fields for at, fields in enumerate(make.records()) if at + 1 not in make.FORGOTTEN}
    assert held.keys() == expected.keys()
    for record_id, fields in expected.items():
        record = held[record_id]
        for name in ("stamp_ns", "x", "y", "z", "yaw", "session", "encoder_id"):
            assert getattr(record, name) == fields[name], name
        np.testing.assert_equal(record.surprise, fields["surprise"])
        for name in ("latent_D", "action_A", "previous_action_A"):
            np.testing.assert_array_equal(getattr(record, name), fields[name])
        assert [item[:2] for item in record.successors] == [item[:2] for item in fields["successors"]]
        for mine, theirs in zip(record.successors, fields["successors"]):
            np.testing.assert_array_equal(mine.latent_D, theirs[2])


def test_a_former_artifact_encodes_and_predicts_as_it_did(tmp_path: Path):
    shutil.unpack_archive(VERSION_1 / "artifact.zip", tmp_path)
    made = make.predictions(tmp_path)
    with np.load(VERSION_1 / "predictions.npz") as stored:
        np.testing.assert_allclose(made["encoded_D"], stored["encoded_D"], rtol=1e-6, atol=1e-6)
        # Of one step ahead with memories, at odd frames, the stored ones hold the share that evidence had then.
        for rows in (np.s_[:, 1], np.s_[::2, 0], np.s_[1, 0]):
            np.testing.assert_allclose(made["forecast_THD"][rows], stored["forecast_THD"][rows], rtol=1e-6, atol=1e-6)
