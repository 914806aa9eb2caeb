"""The node in process: what changes a memory, who may, and how it is taken back."""

from __future__ import annotations

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from std_srvs.srv import Trigger

from wm_core.se3 import quaternion_of
from wm_interfaces.msg import MemoryRecord
from wm_interfaces.srv import (
    DeleteMemory,
    InsertMemory,
    MemoryStats,
    QueryMemory,
    RestoreMemory,
    SnapshotMemory,
    TransformMemory,
)
from wm_ros import floats
from wm_testing.nodes import ros_context, spin_until

from .node_graph import Graph, at, graph, state, turned

__all__ = ["graph", "ros_context"]


def test_insert_delete_transform_clear(graph):
    records = [MemoryRecord(encoder_id="e1", latent=floats([1.0, 0.0]), session="s") for _ in range(3)]
    for x, record in enumerate(records):
        record.position.x = float(x)
    answer = graph.call(InsertMemory, "insert", InsertMemory.Request(records=records))
    assert answer.success, answer.message
    assert len(set(answer.ids)) == 3
    refused = graph.call(InsertMemory, "insert", InsertMemory.Request(records=[MemoryRecord(encoder_id="e1")]))
    assert not refused.success
    assert "record 0" in refused.message
    for stamp in (Time(sec=-5), Time(sec=2**31 - 1), Time(nanosec=10**9)):
        record = MemoryRecord(encoder_id="e1", latent=floats([1.0, 0.0]), session="s", stamp=stamp)
        refused = graph.call(InsertMemory, "insert", InsertMemory.Request(records=[record]))
        assert (refused.success, refused.message[:27]) == (False, "impossible-stamp: record 0:")
    deleted = graph.call(DeleteMemory, "delete", DeleteMemory.Request(ids=[answer.ids[1]]))
    assert (deleted.success, deleted.deleted_count) == (True, 1)
    assert not graph.call(DeleteMemory, "delete", DeleteMemory.Request()).success
    request = TransformMemory.Request()
    request.transform.translation.x = 10.0
    turn = request.transform.rotation
    turn.x, turn.y, turn.z, turn.w = quaternion_of(np.pi / 2)
    moved = graph.call(TransformMemory, "transform", request)
    assert (moved.success, moved.moved_count) == (True, 2)
    found = graph.call(QueryMemory, "query", QueryMemory.Request(query=at(10.0, k=8)))
    places = [(round(r.position.x, 3), round(r.position.y, 3)) for r in found.matches.records]
    assert places == [(10.0, 0.0), (10.0, 2.0)]
    assert graph.call(Trigger, "clear", Trigger.Request()).success
    assert graph.call(MemoryStats, "stats", MemoryStats.Request()).memory_count == 0


def test_snapshot_and_restore(graph):
    graph.drive(4)
    request = SnapshotMemory.Request(path="kitchen")
    assert graph.call(SnapshotMemory, "snapshot", request).memory_count == 4
    assert graph.call(Trigger, "clear", Trigger.Request()).success
    answer = graph.call(RestoreMemory, "restore", RestoreMemory.Request(path=request.path))
    assert (answer.success, answer.memory_count) == (True, 4)
    answer = graph.call(RestoreMemory, "restore", RestoreMemory.Request(path="none"))
    assert not answer.success
    assert "no snapshot" in answer.message


def test_a_refused_restore_leaves_the_memory_as_it_was(graph, tmp_path):
    graph.drive(4)
    path = tmp_path / "world_model" / "snapshots" / "kitchen"
    assert graph.call(SnapshotMemory, "snapshot", SnapshotMemory.Request(path="kitchen")).success
    content = path.read_bytes()
    graph.drive(3, start_ns=2 * 10**9)
    for damaged in (content[:-5000], content.replace(b"CREATE TABLE record", b"CREATE TABLE recerd"), b""):
        path.write_bytes(damaged)
        answer = graph.call(RestoreMemory, "restore", RestoreMemory.Request(path="kitchen"))
        assert not answer.success
        assert "snapshot kitchen" in answer.message
        assert str(tmp_path) not in answer.message
        assert graph.call(MemoryStats, "stats", MemoryStats.Request()).memory_count == 7
    path.write_bytes(content)
    assert graph.call(RestoreMemory, "restore", RestoreMemory.Request(path="kitchen")).memory_count == 4


def test_the_largest_id_ends_nothing(ros_context, tmp_path):
    for start in range(2):
        graph = Graph(db_path=str(tmp_path / "memory.sqlite3"))
        record = MemoryRecord(encoder_id="e1", latent=floats([1.0, 0.0, 0.0, 0.0]), session="s")
        largest = MemoryRecord(id=2**63 - 1 - start, encoder_id="e1", latent=record.latent, session="s")
        answer = graph.call(InsertMemory, "insert", InsertMemory.Request(records=[record, largest, record]))
        assert answer.success, answer.message
        graph.drive(2)
        assert graph.call(MemoryStats, "stats", MemoryStats.Request()).memory_count == 5 * (start + 1)
        graph.close()


@pytest.mark.parametrize(
    ("kind", "name", "parameter"),
    [(Trigger, "clear", "allow_destructive"), (DeleteMemory, "delete", "allow_destructive"),
     (RestoreMemory, "restore", "allow_restore")],
)  # fmt: skip
def test_what_loses_memories_is_off_unless_allowed(ros_context, tmp_path, kind, name, parameter):
    graph = Graph(allow_destructive=False, allow_restore=False, db_path=str(tmp_path / "m.sqlite3"))
    graph.drive(4)
    assert graph.call(SnapshotMemory, "snapshot", SnapshotMemory.Request(path="here")).success
    request = kind.Request(**({"session": "s"} if name == "delete" else {"path": "here"} if name == "restore" else {}))
    answer = graph.call(kind, name, request)
    assert not answer.success
    assert f"set the parameter {parameter} to true" in answer.message
    assert graph.call(MemoryStats, "stats", MemoryStats.Request()).memory_count == 4
    graph.close()


NO_NAMES = ["", ".", "..", "../up", "/etc/passwd", "~/x", "~nobody_here/x", "a/b", "a\x01b", "a\nb", ".hidden", "-x",
            "na me", "n" * 101, "n" * 5000, "n\u00e4me", "memory.sqlite3/", "\\x"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", NO_NAMES)
def test_peers_name_snapshots_and_no_paths(graph, tmp_path, name):
    graph.drive(2)
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    for kind, service in ((SnapshotMemory, "snapshot"), (RestoreMemory, "restore")):
        answer = graph.call(kind, service, kind.Request(path=name))
        assert not answer.success
        assert "is no name of a snapshot" in answer.message
        assert len(answer.message) < 500
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


def test_only_snapshots_are_replaced_and_only_files_are_read(graph, tmp_path):
    graph.drive(2)
    folder = tmp_path / "world_model" / "snapshots"
    assert graph.call(SnapshotMemory, "snapshot", SnapshotMemory.Request(path="mine")).success
    assert graph.call(SnapshotMemory, "snapshot", SnapshotMemory.Request(path="mine")).success
    (folder / "letter").write_text("dear")
    (folder / "folder").mkdir()
    (folder / "link").symlink_to(tmp_path / "target")
    for name in ("letter", "folder", "link"):
        answer = graph.call(SnapshotMemory, "snapshot", SnapshotMemory.Request(path=name))
        assert not answer.success
        assert "no snapshot" in answer.message
        assert str(tmp_path) not in answer.message
        assert not graph.call(RestoreMemory, "restore", RestoreMemory.Request(path=name)).success
    assert (folder / "letter").read_text() == "dear"
    assert not (tmp_path / "target").exists()


def test_snapshots_are_bounded(ros_context, tmp_path):
    graph = Graph(db_path=str(tmp_path / "m.sqlite3"), snapshot_limit=2)
    graph.drive(2)
    answers = [
        graph.call(SnapshotMemory, "snapshot", SnapshotMemory.Request(path=name)) for name in ("a", "b", "c", "a")
    ]
    assert [answer.success for answer in answers] == [True, True, False, True]
    assert "snapshot_limit is 2" in answers[2].message
    graph.close()


def undone(graph) -> str:
    answer = graph.call(Trigger, "undo", Trigger.Request())
    assert answer.success, answer.message
    return answer.message


@pytest.mark.slow
def test_undo_takes_back_the_last_change_and_keeps_what_came_since(ros_context, tmp_path):
    settings = {"db_path": str(tmp_path / "m.sqlite3")}
    graph = Graph(**settings)

    def count() -> int:
        return graph.call(MemoryStats, "stats", MemoryStats.Request()).memory_count

    def places() -> list[float]:
        answer = graph.call(QueryMemory, "query", QueryMemory.Request(query=at(0.0, k=50)))
        return sorted(round(record.position.x, 3) for record in answer.matches.records)

    graph.drive(4)
    assert not graph.call(Trigger, "undo", Trigger.Request()).success
    before = places()
    assert graph.call(Trigger, "clear", Trigger.Request()).success
    graph.drive(2, start_ns=10**11)
    assert undone(graph) == "took back the last clear: 4 memories"
    assert count() == 6
    assert not graph.call(Trigger, "undo", Trigger.Request()).success

    request = TransformMemory.Request()
    request.transform.translation.x, request.transform.rotation.w = 10.0, 1.0
    assert graph.call(TransformMemory, "transform", request).success
    graph.drive(1, start_ns=2 * 10**11)
    graph.close()
    graph = Graph(**settings)
    assert "transform" in undone(graph)
    assert places() == sorted([*before, 0.0, 0.2, 0.0])

    assert graph.call(SnapshotMemory, "snapshot", SnapshotMemory.Request(path="seven")).success
    assert graph.call(DeleteMemory, "delete", DeleteMemory.Request(ids=[1, 2])).deleted_count == 2
    assert not graph.call(DeleteMemory, "delete", DeleteMemory.Request()).success
    assert undone(graph) == "took back the last delete: 2 memories"
    assert count() == 7

    graph.drive(2, start_ns=3 * 10**11)
    assert graph.call(RestoreMemory, "restore", RestoreMemory.Request(path="seven")).memory_count == 7
    graph.drive(1, start_ns=4 * 10**11)
    assert undone(graph) == "took back the last restore: 10 memories"
    assert count() == 10
    graph.close()
    graph = Graph(**settings)
    assert count() == 10
    graph.close()


@pytest.mark.slow
def test_undo_of_a_move_to_another_frame_moves_back_what_came_since(ros_context, tmp_path):
    graph = Graph(db_path=str(tmp_path / "m.sqlite3"))
    graph.drive(2)
    request = TransformMemory.Request(frame_id="odom")
    request.transform.translation.x = 10.0
    turn = request.transform.rotation
    turn.x, turn.y, turn.z, turn.w = quaternion_of(np.pi / 2)
    assert graph.call(TransformMemory, "transform", request).success
    graph.states.publish(turned(state(10**11, 10.0), "odom"))
    spin_until(lambda: graph.counted("states_stored") == 3, graph.talker, graph.memory)
    undone(graph)
    assert graph.call(MemoryStats, "stats", MemoryStats.Request()).frame_id == "map"
    answer = graph.call(QueryMemory, "query", QueryMemory.Request(query=at(0.0, k=5)))
    assert sorted(round(record.position.x, 3) for record in answer.matches.records) == pytest.approx([0.0, 0.0, 0.2])
    assert {record.frame_id for record in answer.matches.records} == {"map"}
    graph.close()


def test_the_same_key_stores_nothing_twice(ros_context, tmp_path):
    records = [MemoryRecord(encoder_id="e1", latent=floats([x, 0.0]), session="s") for x in (1.0, 2.0)]
    request = InsertMemory.Request(records=records, idempotence_key="robot 7, message 12")
    ids = []
    for _ in range(2):
        graph = Graph(db_path=str(tmp_path / "m.sqlite3"))
        for _ in range(2):
            answer = graph.call(InsertMemory, "insert", request)
            assert answer.success, answer.message
            ids.append(list(answer.ids))
        assert graph.call(MemoryStats, "stats", MemoryStats.Request()).memory_count == 2
        graph.close()
    assert ids == ids[:1] * 4
    graph = Graph(db_path=str(tmp_path / "m.sqlite3"))
    request.idempotence_key = "robot 7, message 13"
    assert not set(graph.call(InsertMemory, "insert", request).ids) & set(ids[0])
    for wrong in ({"idempotence_key": "k" * 201}, {"records": [MemoryRecord(id=5, encoder_id="e1", session="s")]}):
        for field, value in wrong.items():
            setattr(request, field, value)
        answer = graph.call(InsertMemory, "insert", request)
        assert not answer.success
        assert "idempotence key" in answer.message
    graph.close()
