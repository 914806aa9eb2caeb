"""Requests and messages that nobody should send: each is answered, none is an error that nobody expected."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest

from wm_interfaces.msg import LatentState, MemoryQuery, MemoryRecord, PredictionError
from wm_interfaces.srv import (
    DeleteMemory,
    InsertMemory,
    MemoryWindow,
    QueryMemory,
    QueryMemoryArrays,
    QueryMemoryBatch,
    RecallMemory,
    RecognisePlace,
    RestoreMemory,
    SnapshotMemory,
    TransformMemory,
)
from wm_ros import floats
from wm_testing.hostile import hostile
from wm_testing.nodes import ros_context, spin_until

from .node_graph import Graph, at

__all__ = ["ros_context"]

KINDS = {
    "query": QueryMemory, "query_batch": QueryMemoryBatch, "query_arrays": QueryMemoryArrays, "window": MemoryWindow,
    "insert": InsertMemory, "delete": DeleteMemory, "transform": TransformMemory, "snapshot": SnapshotMemory,
    "restore": RestoreMemory, "recognise": RecognisePlace, "recall": RecallMemory,
}  # fmt: skip
USUAL = {"latent": floats(np.ones(4)), "encoder_id": "e1", "frame_id": "map", "pose_frame_id": "map", "session": "s",
         "w": 1.0, "k": 3}  # fmt: skip


@pytest.fixture
def graph(ros_context, monkeypatch, tmp_path):
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    graph = Graph()
    yield graph
    graph.close()


def faultless(graph) -> None:
    assert graph.counted("faults") == 0
    # Whatever was sent before: who asks for something ordinary is answered.
    assert graph.call(QueryMemory, "query", QueryMemory.Request(query=at(0.0, k=1))).success


@pytest.mark.slow
def test_whatever_is_asked_is_answered(graph):
    rng = random.Random(5)
    graph.drive(10)
    clients = {name: graph.talker.create_client(kind, f"/spatial_memory/{name}") for name, kind in KINDS.items()}
    spin_until(lambda: all(each.service_is_ready() for each in clients.values()), graph.talker, graph.memory)
    for _ in range(60):
        name = rng.choice(list(KINDS))
        request = hostile(KINDS[name].Request, rng, USUAL, rng.choice([0.1, 0.3, 0.6]))
        future = clients[name].call_async(request)
        spin_until(future.done, graph.talker, graph.memory)
        assert graph.counted("faults") == 0, name
        graph.states.publish(hostile(LatentState, rng, USUAL, 0.3))
        graph.errors.publish(hostile(PredictionError, rng, USUAL, 0.3))
    faultless(graph)


def test_names_of_any_length_are_refused_by_name_and_restart_nothing(graph):
    graph.drive(2)
    for _ in range(6):  # five unexpected errors in a minute would make the node anew
        answer = graph.call(DeleteMemory, "delete", DeleteMemory.Request(session="s" * 100_000))
        assert not answer.success
        assert "name-too-long" in answer.message
    faultless(graph)


@pytest.mark.parametrize(
    ("name", "request_", "said"),
    [
        ("delete", DeleteMemory.Request(ids=list(range(65_537))), "65537 ids, at most 65536"),
        ("recall", RecallMemory.Request(ids=[1] * 257), "257 ids in one request, at most 256"),
        ("recognise", RecognisePlace.Request(feature=[0] * 65_537), "65537 values, expected at most 65536"),
        ("query_batch", QueryMemoryBatch.Request(queries=[MemoryQuery(latent=[0.0] * 60_000)] * 18), "1080000 numbers"),
        ("insert", InsertMemory.Request(records=[MemoryRecord(latent=[0.0] * 60_000)] * 140), "8400000 numbers"),
    ],
    ids=lambda value: value if isinstance(value, str) and value in KINDS else "",
)
def test_lengths_are_looked_at_before_anything_is_converted(graph, monkeypatch, name, request_, said):
    def never(*_: object) -> None:
        raise AssertionError("converted")

    for module in (sys.modules["spatial_memory.messages"],):
        monkeypatch.setattr(module, "bounded_vector", never)
    answer = graph.call(KINDS[name], name, request_)
    assert not answer.success
    assert said in answer.message
    assert graph.counted("faults") == 0
