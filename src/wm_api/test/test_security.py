"""Safe by default: who may ask, how much, and what never happens."""

from __future__ import annotations

import http.client
import logging
import threading

import httpx
import pytest

from wm_api.errors import SettingsError
from wm_api.security import Buckets, session_of
from wm_api.settings import TOKEN_VARIABLE, ApiSettings, read_token
from wm_api.testing import TOKEN, Z_DIM, running


def test_defaults_are_loopback_without_writing():
    settings = ApiSettings()
    assert (settings.host, settings.port, settings.token, settings.allow_writes) == ("127.0.0.1", 8080, "", False)


@pytest.mark.parametrize(
    "given",
    [
        {"host": "0.0.0.0"},
        {"host": "192.168.1.2"},
        {"host": "robot.local"},
        {"host": "::"},
        {"allow_writes": True},
        {"token": "short"},
        {"token": "ä" * 20},
        {"port": 70_000},
        {"queue_size": 0},
    ],
)
def test_what_is_unsafe_or_makes_no_sense_is_refused(given):
    with pytest.raises(SettingsError):
        ApiSettings(**given)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_token(host):
    assert not ApiSettings(host=host).wants_token


def test_a_token_is_in_no_text_of_the_settings():
    assert TOKEN not in repr(ApiSettings(token=TOKEN))


def test_a_token_comes_from_a_file_that_only_its_owner_reads_or_from_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="read by others"):
        read_token(file)
    file.chmod(0o600)
    assert read_token(file) == TOKEN
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert read_token(None) == TOKEN
    with pytest.raises(SettingsError, match="cannot be read"):
        read_token(tmp_path / "absent")


@pytest.mark.slow
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "0.0.0.0"])
def test_another_name_is_refused(served, host):
    assert served.http.get("/status", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST:8080", "[::1]:8080"])
def test_our_own_names_are_answered(served, host):
    assert served.http.get("/status", headers={"host": host}).status_code == 200


def test_pages_of_other_sites_get_nothing(served):
    answer = served.http.post("/predict", json={"latent": [0.0] * Z_DIM}, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    preflight = served.http.options("/predict", headers={"origin": "https://evil.example"})
    assert preflight.status_code == 403
    own = served.http.get("/status", headers={"origin": served.url})
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers


def test_every_answer_says_what_browsers_may_not_do_with_it(served):
    for path in ("/", "/status", "/docs", "/no-such-path"):
        headers = served.http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers


@pytest.mark.parametrize("path", ["insert", "delete", "transform", "snapshot", "restore"])
def test_nothing_is_written_unless_the_operator_allows_it(served, path):
    answer = served.http.post(f"/memory/{path}", json={"ids": [1]}, headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 403
    assert served.http.get("/memory/stats").json()["memory_count"] == 60


def test_writing_wants_the_token_itself(world):
    with running(world, token=TOKEN, allow_writes=True) as service:
        cookie = {"cookie": f"wm_session={session_of(TOKEN)}"}
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}, cookie):
            answer = service.http.post("/memory/delete", json={"ids": [1]}, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        assert service.http.get("/status").status_code == 200
        written = service.http.post("/memory/delete", json={"ids": [1]}, headers={"authorization": f"Bearer {TOKEN}"})
        assert written.json()["count"] == 1


def test_beyond_loopback_everything_but_the_page_wants_the_token(world, caplog):
    with caplog.at_level(logging.DEBUG), running(world, host="0.0.0.0", token=TOKEN) as service:
        http = service.http
        for path in ("/status", "/docs", "/openapi.json", "/metrics", "/stream-live", "/frames/camera.jpg", "/v2"):
            assert http.get(path).status_code == 401, path
        assert http.get("/").status_code == 200
        assert http.get("/v2/health/live").status_code == 200
        assert http.get("/status", params={"token": TOKEN}).status_code == 401
        assert http.get("/status", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert http.get("/status", headers={"authorization": f"bearer  {TOKEN}"}).status_code == 200
        assert http.post("/login", json={"token": "wrong"}).status_code == 401
        answer = http.post("/login", json={"token": TOKEN})
        assert "httponly" in answer.headers["set-cookie"].lower()
        assert "samesite=strict" in answer.headers["set-cookie"].lower()
        assert TOKEN not in answer.headers["set-cookie"]
        assert http.get("/status").status_code == 200  # by the cookie, which it keeps now
        assert http.post("/memory/delete", json={"ids": [1]}).status_code == 403
    ours = [each.getMessage() for each in caplog.records if not each.name.startswith("http")]
    assert not any(TOKEN in text for text in ours)


def test_too_large_bodies_are_refused_before_they_are_read_whole(world):
    with running(world, most_json_bytes=1000, most_image_bytes=5000) as service:
        declared = service.http.post("/predict", content=b"x" * 1001)
        assert (declared.status_code, declared.json()["field"]) == (413, "body")
        chunked = service.http.post("/predict", content=(b"x" * 100 for _ in range(11)))
        assert (chunked.status_code, chunked.json()["field"]) == (413, "body")
        image = service.http.post("/encode", content=b"x" * 2000, headers={"content-type": "image/jpeg"})
        assert image.status_code == 422
        large = service.http.post(
            "/encode", content=(b"x" * 1000 for _ in range(6)), headers={"content-type": "image/jpeg"}
        )
        assert large.status_code == 413
        never = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        never.putrequest("POST", "/predict")
        never.putheader("Content-Length", str(10**30))
        never.endheaders()
        assert never.getresponse().status in (400, 413)
        never.close()


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, gzip"])
def test_a_compressed_body_is_refused_by_name_where_none_is_unpacked(served, encoding):
    refused = served.http.post("/predict", content=b"{}", headers={"content-encoding": encoding})
    assert (refused.status_code, refused.json()["field"]) == (415, "content-encoding")
    plain = served.http.post("/predict", content=b"{}", headers={"content-encoding": "identity"})
    assert plain.status_code != 415


@pytest.mark.slow
def test_more_than_waits_is_refused_with_a_time_to_come_back(world):
    with running(world, queue_size=2) as service:
        held = threading.Event()
        begun = threading.Event()

        def hold() -> None:
            begun.set()
            held.wait(60.0)

        service.service.inference._executor.submit(hold)
        assert begun.wait(60.0)
        answers: list[httpx.Response] = []

        def ask() -> None:
            answers.append(httpx.post(f"{service.url}/predict", json={"latent": [0.0] * Z_DIM}, timeout=60.0))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        _until(lambda: len(answers) == 4)
        assert {each.status_code for each in answers} == {503}
        assert all(int(each.headers["retry-after"]) >= 1 for each in answers)
        # The event loop went on meanwhile.
        assert service.http.get("/v2/health/live").status_code == 200
        held.set()
        for thread in threads:
            thread.join()
        assert sorted(each.status_code for each in answers) == [200, 200, 503, 503, 503, 503]
        assert service.service.inference.held_count == 0


def _until(predicate) -> None:
    waiting = threading.Event()
    for _ in range(6000):
        if predicate():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not come")


def test_one_address_does_not_ask_faster_than_it_may(world):
    with running(world, rate_per_s=0.001, burst=3) as service:
        codes = [service.http.get("/v2/health/live").status_code for _ in range(5)]
        assert codes == [200, 200, 200, 429, 429]


def test_buckets_fill_again_and_are_no_more_than_so_many():
    buckets = Buckets(2.0, 1)
    assert [buckets.take("a", 0.0), buckets.take("a", 0.1), buckets.take("a", 0.6)] == [True, False, True]
    assert buckets.take("b", 0.6)
    for number in range(10_000):
        buckets.take(str(number), 1.0)
    assert len(buckets._held) == 4096


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
        "/frames/remembered/../../x.jpg",
        "/frames/..%2f..%2fx.jpg",
        "/memory/records/%2e%2e",
    ],
)
def test_no_path_of_a_request_is_opened(served, path):
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status in (404, 422)
    assert b"import" not in answer.read()
    connection.close()


def test_snapshots_are_names_and_not_paths(world):
    with running(world, token=TOKEN, allow_writes=True) as service:
        for name in ("../x", "/tmp/x", "a/b", "", ".x", "x" * 101):
            headers = {"authorization": f"Bearer {TOKEN}"}
            answer = service.http.post("/memory/snapshot", json={"name": name}, headers=headers)
            assert (answer.status_code, answer.json()["field"]) == (422, "name")
