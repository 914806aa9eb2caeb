"""A memory that is away is told with 503, in a stream as an event; the camera is listened to for who watches it."""

from __future__ import annotations

import json

import pytest

from wm_api.testing import observe, running
from wm_core.memory.errors import BackendAwayError


@pytest.fixture
def away(world, monkeypatch):
    def nobody(queries):
        raise BackendAwayError("nobody serves spatial_memory/query_batch")

    monkeypatch.setattr(world.memory, "query_batch", nobody)
    with running(world) as service:
        observe(world)
        yield service


@pytest.mark.parametrize("path", ["/predict", "/rollout"])
def test_what_needs_a_memory_that_is_away_is_told_so(away, path):
    answer = away.http.post(path, json={})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "the memory does not answer, ask without it" in answer.json()["detail"]
    assert away.http.post(path, json={"memory": False}).status_code == 200


def test_a_stream_says_so_and_ends(away):
    with away.http.stream("GET", "/stream-rollout?images=none") as stream:
        text = "".join(stream.iter_text())
    events = [block for block in text.split("\n\n") if "data:" in block]
    assert [block.split("\n")[0] for block in events] == ["event: error", "event: end"]
    assert "does not answer" in json.loads(events[0].partition("data: ")[2])["detail"]


def test_the_camera_is_wanted_by_who_watches_it_and_by_no_other(world):
    wanted: list[str] = []
    world.on_wanted = wanted.append
    with running(world) as service:
        world.live.publish({"number": 1})
        for path, expected in (("/stream-live", []), ("/stream-live?camera=true", ["camera"])):
            with service.http.stream("GET", path) as stream:
                assert any("event: frame" in line for line in stream.iter_lines())
            assert wanted[:1] == expected


def test_places_of_memories_come_at_once_and_those_that_are_gone_are_left_out(served):
    found = served.http.get("/memory/places?ids=3,999,1").json()["places"]
    assert sorted((each["id"], round(each["x"], 6), each["y"]) for each in found) == [(1, 0.1, 0.0), (3, 0.3, 0.0)]
    for ids in ("", "one", "1,", "-1", ",".join(["1"] * 65), str(2**63)):
        refused = served.http.get("/memory/places", params={"ids": ids})
        assert (refused.status_code, refused.json()["field"]) == (422, "ids")
