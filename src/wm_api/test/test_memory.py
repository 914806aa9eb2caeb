"""The memory over HTTP answers as it does in process."""

from __future__ import annotations

import numpy as np
import pytest

from wm_api.memories import FileMemory
from wm_api.sources import open_world
from wm_api.testing import START_NS, TOKEN, Z_DIM, line_record, observe, running
from wm_api.world import World
from wm_core.errors import CoreError
from wm_core.memory.errors import BackendAwayError, CorruptStoreError, StoreError
from wm_core.memory.query import Place, Query

AUTHORISED = {"authorization": f"Bearer {TOKEN}"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ({"pose": {"x": 1.02, "y": 0.0}, "k": 3}, Query(k=3, place=Place(1.02, 0.0))),
        ({"latent": [0.2] * Z_DIM, "k": 2, "metric": "l2"}, Query(k=2, latent_D=np.full(Z_DIM, 0.2, np.float32))),
        (
            {"pose": {"x": 3.0, "y": 0.5}, "radius_m": 0.6, "successors": True, "rank_by": "pose"},
            Query(place=Place(3.0, 0.5), radius_m=0.6, successors=True, rank_by="pose"),
        ),
        ({"pose": {"x": 0.0, "y": 0.0}, "box": [1, -1, -1, 2, 1, 1]}, None),
    ],
)
def test_a_query_finds_what_the_memory_finds(served, asked, query):
    answer = served.http.post("/memory/query", json=asked).json()
    found = [each["record"]["id"] for each in answer["matches"]]
    if query is None:
        assert {each["record"]["pose"]["x"] for each in answer["matches"]} <= set(np.arange(10, 21) * 0.1)
        return
    (expected,) = served.world.memory.query_batch([query])
    assert found == [each.id for each in expected.records]
    assert [each["distance"] for each in answer["matches"]] == pytest.approx(expected.distances_K)
    assert answer["candidate_count"] == expected.candidate_count
    first = answer["matches"][0]["record"]
    assert len(first["successors"]) == len(expected.records[0].successors)
    batch = served.http.post("/memory/query_batch", json={"queries": [asked, asked]}).json()
    assert [each["matches"] for each in batch["answers"]] == [answer["matches"]] * 2


def test_the_present_latent_can_be_asked_for(served):
    observe(served.world)
    (match,) = served.http.post("/memory/query", json={"latent": "now", "k": 1}).json()["matches"]
    assert match["record"]["latent"] == pytest.approx([0.1] * Z_DIM)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "query"),
        ({"k": 0}, 422, "k"),
        ({"k": 5000}, 422, "k"),
        ({"latent": [0.0]}, 422, "query"),
        ({"pose": {"x": 0, "y": 0}, "radius": 1}, 422, "radius"),
        ({"pose": {"x": 1e300, "y": 0}}, 422, "pose.x"),
        ({"latent": [0.0] * Z_DIM, "encoder_id": "other"}, 422, "query"),
        ({"box": [0, 0]}, 422, "box"),
        ({"session": "\u0000"}, 422, "session"),
    ],
)
def test_a_query_that_cannot_be_answered_is_refused_by_its_field(served, body, status, field):
    answer = served.http.post("/memory/query", json=body)
    assert (answer.status_code, answer.json()["field"]) == (status, field), answer.text


def test_a_batch_is_bounded(served):
    queries = [{"pose": {"x": 0, "y": 0}, "k": 4096}] * 17
    assert served.http.post("/memory/query_batch", json={"queries": queries}).status_code == 422
    assert served.http.post("/memory/query_batch", json={"queries": []}).status_code == 422


def test_every_answer_says_whom_it_is_from(served, models):
    observe(served.world)
    asked = {"pose": {"x": 1.0, "y": 0.0}}
    answers = [
        served.http.post("/memory/query", json=asked),
        served.http.post("/memory/query_batch", json={"queries": [asked]}),
        *(served.http.get(f"/memory/{what}") for what in ("stats", "cells", "records/1", "places?ids=1")),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert models.identity().items() <= answer.json().items()


def test_cells_hold_all_memories(served):
    answer = served.http.get("/memory/cells").json()
    assert sum(each["count"] for each in answer["cells"]) == answer["memory_count"] == 60
    fullest = answer["cells"][0]
    assert len(fullest["outline"]) in (5, 6)
    some = served.http.get("/memory/cells", params={"most": 1}).json()
    assert len(some["cells"]) == 1
    assert some["cell_count"] == answer["cell_count"]


def test_a_record_that_is_not_held_is_not_there(served):
    assert served.http.get("/memory/records/999999").status_code == 404
    assert served.http.get("/memory/records/-1").status_code == 422
    assert served.http.get("/memory/records/x").json()["field"] == "record_id"


def test_without_a_memory_there_is_none(models):
    with running(World(models)) as service:
        for path in ("/memory/stats", "/memory/cells", "/memory/records/1"):
            assert service.http.get(path).status_code == 404
        assert service.http.post("/predict", json={"latent": [0.0] * Z_DIM}).status_code == 200


def test_writing_changes_the_memory_and_snapshots_bring_it_back(models, artifact, tmp_path):
    kept = FileMemory(None, tmp_path)
    kept.insert([line_record(at, artifact.manifest.encoder_id) for at in range(1, 4)])
    with running(World(models, kept), token=TOKEN, allow_writes=True) as service:

        def write(what: str, **body):
            return service.http.post(f"/memory/{what}", json=body, headers=AUTHORISED)

        def count(what: str, **body) -> int:
            answer = write(what, **body).json()
            assert {name: answer.pop(name) for name in models.identity()} == models.identity()
            assert list(answer) == ["count"]
            return answer["count"]

        assert count("snapshot", name="first") == 3
        entry = {"stamp_ns": START_NS, "latent": [0.5] * Z_DIM, "pose": {"x": 5.0, "y": 1.0}, "session": "by hand"}
        (new_id,) = write("insert", records=[entry]).json()["ids"]
        held = service.http.get(f"/memory/records/{new_id}").json()
        assert (held["pose"]["x"], held["session"], held["latent"]) == (5.0, "by hand", [0.5] * Z_DIM)
        wrong = write("insert", records=[{**entry, "latent": [0.5]}])
        assert (wrong.status_code, wrong.json()["field"]) == (422, "records.0.latent")
        for stamp_ns in (-1, 2**31 * 10**9):
            wrong = write("insert", records=[{**entry, "stamp_ns": stamp_ns}])
            assert (wrong.status_code, wrong.json()["field"]) == (422, "records.0.stamp_ns")
        other = write("insert", records=[{**entry, "encoder_id": "another"}])
        assert (other.status_code, other.json()["field"]) == (409, "records.0.encoder_id")
        assert count("transform", x=1.0) == 4
        assert service.http.get(f"/memory/records/{new_id}").json()["pose"]["x"] == 6.0
        assert count("delete", session="by hand") == 1
        assert write("delete").status_code == 409
        assert count("restore", name="first") == 3
        assert write("restore", name="never").status_code == 409
        assert service.http.get("/memory/stats").json()["memory_count"] == 3


@pytest.mark.slow
def test_a_file_is_served_and_left_as_it_is(artifact, tmp_path):
    file = tmp_path / "memory.sqlite3"
    assert not file.exists()
    with pytest.raises(StoreError, match="no memory file"):
        FileMemory(file)
    assert not file.exists()
    _fill(file, artifact.manifest.encoder_id)
    world, source = open_world(str(artifact.path), file, None)
    assert source is None
    with running(world) as service:
        assert service.http.get("/memory/stats").json()["memory_count"] == 3
        assert service.http.get("/memory/stats").json()["source"] == "file"
    world, _ = open_world(str(artifact.path), file, None)
    assert world.memory.stats().memory_count == 3
    world.memory.close()


def test_a_memory_of_another_encoder_is_refused_by_name(artifact, tmp_path):
    file = tmp_path / "memory.sqlite3"
    _fill(file, "0123456789abcdef")
    with pytest.raises(CoreError, match="latents of encoder 0123456789abcdef"):
        open_world(str(artifact.path), file, None)


def _fill(file, encoder_id: str) -> None:
    from spatial_memory.factory import make_grid, open_cell_memory

    filled = open_cell_memory(str(file), make_grid("local", 0.0, 0.0, 2.0, -1), 1000, 1.0, 0.01)
    filled.insert([line_record(at, encoder_id) for at in range(1, 4)])
    filled.close()


@pytest.mark.slow
def test_a_memory_that_is_damaged_or_away_is_named_and_no_fault(models, monkeypatch):
    kept = FileMemory()
    kept.insert([line_record(at, models.manifest.encoder_id) for at in range(1, 4)])
    with running(World(models, kept)) as service:
        for error, status in (
            (CorruptStoreError("memory.sqlite3 is damaged: 'wm memory mend' reads what is left", "malformed"), 410),
            (BackendAwayError("nobody serves spatial_memory/recall"), 503),
            (StoreError("disk I/O error"), 409),
        ):

            def fail(*_: object, error: Exception = error) -> None:
                raise error

            for name in ("pictures", "get", "query_batch"):
                monkeypatch.setattr(kept, name, fail)
            asked = {"pose": {"x": 0, "y": 0}, "k": 1}
            answers = [service.http.get("/frames/remembered/2.jpg"), service.http.post("/memory/query", json=asked)]
            assert [each.status_code for each in answers] == [status] * 2
            assert all(str(error) in each.json()["detail"] for each in answers)
