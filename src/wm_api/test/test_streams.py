"""Streams: every step once, resumed where they were left, gone when the watcher goes; slow watchers cost nothing."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress

import httpx
import pytest

from wm_api.client import Client, events_of
from wm_api.live import Live
from wm_api.routes.live import stream_live
from wm_api.streams import comment, event
from wm_api.testing import Z_DIM, observe, running
from wm_api.world import World

_DEADLINE_S = 60.0


def until(predicate) -> None:
    end_s = time.monotonic() + _DEADLINE_S
    while not predicate():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def events(served, method: str, path: str, **given) -> list:
    with served.http.stream(method, path, **given) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(events_of(answer.iter_lines()))


def test_a_stream_holds_the_steps_of_the_rollout_and_then_ends(served):
    observe(served.world)
    whole = served.http.post("/rollout", json={"horizon": 12, "action": [1.0, 0.0]}).json()["steps"]
    found = events(served, "POST", "/stream-rollout", json={"horizon": 12, "action": [1.0, 0.0]})
    assert [each.name for each in found] == ["step"] * 12 + ["end"]
    assert [each.id for each in found[:-1]] == [str(step) for step in range(1, 13)]
    assert [each.data["latent"] for each in found[:-1]] == [each["latent"] for each in whole]
    assert found[-1].data == {"steps": 12}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_arguments_it_goes_from_now_for_a_second(served, method):
    observe(served.world)
    found = events(served, method, "/stream-rollout")
    assert len(found) == 21
    jpeg = served.http.get(found[0].data["frame"])
    assert jpeg.content[:2] == b"\xff\xd8"


def test_a_stream_is_resumed_in_the_same_rollout_though_the_robot_went_on(served):
    observe(served.world, 4)
    first = events(served, "GET", "/stream-rollout", params={"horizon": 6})
    observe(served.world, 8)
    rest = events(served, "GET", "/stream-rollout", params={"horizon": 6}, headers={"last-event-id": "4"})
    assert [each.id for each in rest[:-1]] == ["5", "6"]
    assert [each.data["pose"] for each in rest[:-1]] == [each.data["pose"] for each in first[4:6]]
    anew = events(served, "GET", "/stream-rollout", params={"horizon": 6})
    assert anew[0].data["pose"] != first[0].data["pose"]


def test_where_nothing_is_left_a_browser_is_told_to_stop(served):
    observe(served.world)
    answer = served.http.get("/stream-rollout", params={"horizon": 6}, headers={"last-event-id": "6"})
    assert answer.status_code == 204
    wrong = served.http.get("/stream-rollout", headers={"last-event-id": "x"})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "last-event-id")


def test_a_stream_that_cannot_begin_is_refused_before_it_does(served):
    assert served.http.get("/stream-rollout").status_code == 409
    assert served.http.post("/stream-rollout", json={"latent": [0.0]}).json()["field"] == "latent"


def test_live_frames_and_events_come_and_new_watchers_learn_how_things_stand(served):
    live = served.world.live
    live.happened("source", {"state": "playing"}, "source")
    live.happened("memory", {"what": "restored"})
    with served.http.stream("GET", "/stream-live") as answer:
        lines = answer.iter_lines()
        found = events_of(lines)
        first = next(found)
        assert (first.name, first.data) == ("source", {"state": "playing"})
        live.publish({"number": 1})
        assert next(found) == ("frame", "", {"number": 1, "skipped": 0})
        live.happened("source", {"state": "ended"}, "source")
        last = next(found)
        assert (last.name, last.data["state"]) == ("source", "ended")
    with served.http.stream("GET", "/stream-live", headers={"last-event-id": first.id}) as answer:
        found = events_of(answer.iter_lines())
        assert [next(found).name, next(found).data] == ["memory", {"state": "ended"}]


def test_who_watched_the_service_before_it_was_started_anew_learns_how_things_stand(models):
    last = ""
    for state in ("playing", "ended"):
        world = World(models)
        with running(world) as service:
            for number in range(3 if state == "playing" else 1):
                world.live.happened("source", {"state": state, "number": number}, "source")
            headers = {"last-event-id": last} if last else {}
            with service.http.stream("GET", "/stream-live", headers=headers) as answer:
                first = next(events_of(answer.iter_lines()))
            assert first.data["state"] == state
            last = first.id


def test_what_happens_before_the_first_byte_is_sent_is_not_missed(served):
    sent: list[bytes] = []

    async def read() -> None:
        answer = await stream_live(served.service)
        served.world.live.happened("diagnostics", {"number": "early"})

        async def send(message) -> None:
            sent.append(message.get("body", b""))

        async def receive() -> dict:
            while b"early" not in b"".join(sent):
                await asyncio.sleep(0.005)
            return {"type": "http.disconnect"}

        await asyncio.wait_for(answer({"type": "http"}, receive, send), _DEADLINE_S)

    asyncio.run(read())
    assert b"event: diagnostics" in b"".join(sent)


@pytest.mark.slow
def test_a_client_that_goes_ends_its_stream(served):
    until(lambda: served.service.streams.open_count == 0)
    for _ in range(20):
        with served.http.stream("GET", "/stream-live") as answer:
            chunks = answer.iter_bytes()
            next(chunks)
            assert served.service.streams.open_count == 1
        until(lambda: served.service.streams.open_count == 0)


def test_a_client_that_reads_nothing_loses_frames_but_no_event_and_no_memory_grows(served):
    until(lambda: served.service.streams.open_count == 0)
    live = served.world.live
    connection = socket.create_connection(("127.0.0.1", served.port))
    connection.sendall(b"GET /stream-live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    until(lambda: served.service.streams.open_count == 1)
    skipped_before = served.service.metrics.skipped._value.get()
    padding = "x" * 100_000
    for number in range(200):
        live.publish({"number": number, "padding": padding})
        if number % 20 == 0:
            live.happened("diagnostics", {"number": number})
            time.sleep(0.01)
    # All that was held for it is what fits between its socket and ours: of 20 MB a small part.
    connection.settimeout(_DEADLINE_S)
    parts = [b""]
    while b'"number":199,' not in b"".join(parts[-2:]):
        parts.append(connection.recv(1 << 20))
        assert parts[-1]
    data = b"".join(parts)
    connection.close()
    seen = [f'data: {{"number":{number}}}'.encode() in data for number in range(0, 200, 20)]
    assert all(seen)
    assert len(data) < 15_000_000
    assert served.service.metrics.skipped._value.get() > skipped_before
    until(lambda: served.service.streams.open_count == 0)


def test_no_more_streams_are_open_than_may_be(world):
    with running(world, most_streams=2) as service:
        opened = [httpx.stream("GET", f"{service.url}/stream-live", trust_env=False) for _ in range(2)]
        chunks = [each.__enter__().iter_bytes() for each in opened]
        assert all(next(each) for each in chunks)
        refused = service.http.get("/stream-live")
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        for each in opened:
            each.__exit__(None, None, None)
        until(lambda: service.service.streams.open_count == 0)


def test_a_service_that_ends_does_not_wait_for_its_watchers(world):
    with running(world) as service, httpx.stream("GET", f"{service.url}/stream-live", trust_env=False) as answer:
        chunks = answer.iter_bytes()
        next(chunks)
        service.stop()
        with suppress(httpx.HTTPError):
            assert list(chunks) == []


def test_events_beyond_the_ring_are_told_of():
    live = Live(most_events=3)
    cursor = live.cursor()
    for number in range(5):
        live.happened("memory", {"number": number})
    news = live.take(cursor)
    assert news.lost_count == 2
    assert [each.data["number"] for each in news.events] == [2, 3, 4]
    assert live.take(cursor).events == ()


def test_a_watcher_wakes_for_what_another_thread_brings():
    live = Live()

    async def watch() -> tuple[bool, bool]:
        cursor = live.cursor()
        silent = await live.changed(cursor, 0.01)
        asyncio.get_running_loop().run_in_executor(None, live.publish, {"number": 1})
        return silent, await live.changed(cursor, _DEADLINE_S)

    assert asyncio.run(watch()) == (False, True)
    assert not live._waiting


def test_what_is_sent_is_what_the_standard_says():
    sent = event({"a": 1}, name="step", number=3)
    assert sent == b'id: 3\nevent: step\ndata: {"a":1}\n\n'
    assert comment("ping") == b": ping\n\n"
    lines = iter([*(comment("ping") + sent).decode().split("\n")[:-1], ""])
    assert [tuple(each) for each in events_of(lines)] == [("step", "3", {"a": 1})]


def test_the_python_client_says_what_the_service_says(served):
    observe(served.world)
    with Client(served.url) as client:
        steps = list(client.stream_rollout(horizon=3, images="data"))
        assert [step["step"] for step in steps] == [1, 2, 3]
        assert client.rollout(horizon=3)["steps"][2]["pose"] == pytest.approx(steps[2]["pose"])
        assert client.predict(latent=[0.0] * Z_DIM)["encoder_id"] == client.status()["encoder_id"]
        (match,) = client.query(k=1, pose={"x": 1.0, "y": 0.0})["matches"]
        assert client.record(match["record"]["id"])["pose"]["x"] == pytest.approx(1.0)
        assert client.memory_stats()["memory_count"] == client.memory_cells()["memory_count"] == 60
        assert client.picture(f"remembered/{match['record']['id']}").startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    ("path", "method"), [("/stream-rollout", "get"), ("/stream-rollout", "post"), ("/stream-live", "get")]
)
def test_events_are_described_as_events_and_not_as_one_text(served, path, method):
    described = served.http.get("/openapi.json").json()["paths"][path][method]["responses"]["200"]["content"]
    assert described == {"text/event-stream": {}}
