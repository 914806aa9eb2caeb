"""The page before an API elsewhere: what it says comes through as it came, and only from the address that was named."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from wm_api.errors import SettingsError
from wm_api.server import Server
from wm_api.settings import ApiSettings
from wm_api.testing import TOKEN, Running
from wm_api.ui import Passing, create_ui, main


class Page:
    """The page in a thread, before an API."""

    def __init__(self, api: str, **settings: Any) -> None:
        self.settings = ApiSettings(**{"port": 0, "rate_per_s": 0.0, **settings})
        listening = threading.Event()
        self._server = Server(create_ui(api, self.settings), self.settings, lambda _: listening.set())
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        assert listening.wait(60.0)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self._server.port}", timeout=60.0, trust_env=False)

    def stop(self) -> None:
        self.http.close()
        self._server.should_exit = True
        self._thread.join(60.0)
        assert not self._thread.is_alive()


@pytest.fixture
def page(served: Running) -> Iterator[Page]:
    made = Page(served.url)
    yield made
    made.stop()


def test_files_are_its_own_and_answers_are_the_apis(page, served):
    assert "<title>World model</title>" in page.http.get("/").text
    assert page.http.get("/static/js/main.js").headers["content-type"].startswith("text/javascript")
    assert page.http.get("/static/none").status_code == 404
    for path in ("/status", "/memory/stats", "/v2/models/encoder", "/memory/cells?most=3"):
        mine, theirs = page.http.get(path), served.http.get(path)
        assert (mine.status_code, mine.headers["content-type"]) == (200, theirs.headers["content-type"])
        assert mine.json().keys() == theirs.json().keys()
    refused = page.http.post("/rollout", json={"horizon": -1})
    assert refused.status_code == 422
    assert refused.json() == served.http.post("/rollout", json={"horizon": -1}).json()
    assert page.http.get("/memory/cells?most=0").status_code == 422


def test_a_stream_comes_through_while_it_goes_on(page, served):
    with page.http.stream("GET", "/stream-live") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert next(lines).startswith("retry:")
        served.world.live.happened("node", {"name": "one"})
        assert any("node" in line for line in lines)


def test_an_api_that_is_away_is_told(served):
    page = Page("http://127.0.0.1:9")
    answer = page.http.get("/status")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "does not answer" in answer.json()["detail"]
    assert page.http.get("/").status_code == page.http.get("/ui/health").status_code == 200
    page.stop()


def test_whatever_a_request_says_only_the_api_is_asked(page, served):
    for path in ("//127.0.0.1:9/status", "/http://127.0.0.1:9/status", "/%2e%2e/status", "/@127.0.0.1:9/status"):
        assert page.http.get(path).status_code == served.http.get(path).status_code != 503
    assert page.http.get("/status", headers={"host": "evil.example"}).status_code == 421
    assert page.http.post("/predict", json={}, headers={"origin": "http://evil.example"}).status_code == 403


def test_what_is_no_address_is_refused(capsys):
    for api in ("", "127.0.0.1:8080", "ftp://127.0.0.1", "http://127.0.0.1/path", "http://[::1"):
        with pytest.raises(SettingsError):
            Passing(api)
    assert main(["--api", "nowhere"]) == 2
    assert main(["--host", "0.0.0.0"]) == 2
    said = capsys.readouterr().err
    assert "nowhere" in said
    assert TOKEN not in said
