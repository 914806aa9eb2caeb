"""The page in a real browser, before a service that plays a recording and is killed."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from wm_testing.artifacts import make_random_artifact
from wm_testing.browser import Browser, found_browser, opened_browser
from wm_testing.system import make_bag

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(found_browser() is None, reason="no Chromium with its driver: scripts/setup --browser"),
]
SHOWN = "return [...document.querySelectorAll('#film li')].filter((cell) => !cell.hidden).length"
NUMBER = "return window.worldModel.rollout.frame ? window.worldModel.rollout.frame.number : 0"


class Service:
    """``scripts/serve`` in a process of its own, which can be killed and come back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen | None = None
        self.port = 0
        make_random_artifact(folder / "artifact", z_dim=32, action_dim=2)
        make_bag(folder / "bag", 300)
        make_bag(folder / "short", 60)

    def start(self, *options: str, bag: str = "bag") -> None:
        command = [sys.executable, "-m", "wm_api.serve", "--artifact", str(self._folder / "artifact")]
        command += ["--bag", str(self._folder / bag), "--port", str(self.port), *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        said: queue.Queue[str] = queue.Queue()
        assert self._process.stdout is not None
        threading.Thread(target=lambda: said.put(self._process.stdout.readline()), daemon=True).start()  # type: ignore[union-attr]
        self.port = int(said.get(timeout=120.0).rpartition(":")[2])

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    made = Service(tmp_path_factory.mktemp("page"))
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, service: Service) -> Browser:
    browser.resize(1440, 900)
    browser.driver.get(service.url)
    browser.wait(lambda: state(browser) == "live", "frames come")
    browser.wait(lambda: browser.run("return window.worldModel.rollout.status !== null"), "sizes are known")
    browser.complaints()
    return browser


def state(browser: Browser) -> str:
    return str(browser.run("return document.body.dataset.state"))


def advance(browser: Browser, count: int) -> None:
    """Waits until so many frames came."""
    begin = browser.run(NUMBER)
    browser.wait(lambda: browser.run(NUMBER) >= begin + count, f"{count} frames come")


def click(browser: Browser, name: str) -> None:
    browser.driver.find_element("id", name).click()


def slide(browser: Browser, value: int) -> None:
    browser.run(
        "const slider = document.getElementById('horizon'); slider.value = arguments[0];"
        "slider.dispatchEvent(new Event('input'))",
        value,
    )


def choose(browser: Browser, name: str, value: str) -> None:
    browser.run(
        "const list = document.getElementById(arguments[0]); list.value = arguments[1];"
        "list.dispatchEvent(new Event('change'))",
        name,
        value,
    )


def rollouts(browser: Browser) -> int:
    return sum(each.url.endswith("/stream-rollout") for each in browser.fetched())


def test_it_shows_what_is_live_asks_nobody_else_and_is_small(page, service):
    advance(page, 60)
    page.wait(lambda: page.run("return document.getElementById('camera').naturalWidth") == 64, "the camera shows")
    page.wait(lambda: page.run("return document.getElementById('foreseen').naturalWidth"), "what was foreseen shows")
    page.wait(lambda: " cells" in page.text("map-text") and " 0 cells" not in page.text("map-text"), "cells show")
    page.wait(lambda: "live" in page.text("connection-text"), "the connection is told")
    figures = page.text("figures")
    assert "Hz" in figures
    assert "surprise" in figures
    asked = [each for each in page.fetched() if not each.url.startswith(("data:", "chrome", "about:"))]
    assert {urlsplit(each.url).netloc for each in asked} == {f"127.0.0.1:{service.port}"}
    assert sum(each.size for each in asked if each.kind not in ("Image", "Fetch")) < 300_000
    assert page.complaints() == []


def test_imagining_follows_its_controls_and_stops(page):
    click(page, "run")
    page.wait(lambda: page.run(SHOWN) == 20, "twenty steps show")
    slide(page, 7)
    page.wait(lambda: page.run(SHOWN) == 7 and "7 steps" in page.text("rollout-text"), "seven steps show")
    click(page, "memory")
    page.wait(lambda: page.run("return window.worldModel.rollout.body().body.memory") is False, "memory is off")
    page.run("document.getElementById('film').querySelector('li').click()")
    page.wait(lambda: "no memories" in page.text("step-text"), "nothing is remembered")
    click(page, "run")
    page.wait(lambda: page.text("rollout-text") == "stopped", "it stops")
    count = rollouts(page)
    assert count >= 2
    advance(page, 40)
    assert rollouts(page) == count
    assert page.complaints() == []


def test_actions_and_latents_are_taken_from_sliders_and_text(page):
    choose(page, "from", "own")
    page.run(
        "const text = document.getElementById('latent-paste'); text.value = '1, 2';"
        "text.dispatchEvent(new Event('input'))"
    )
    assert "expected 32 numbers, found 2" in page.text("latent-text")
    advance(page, 2)
    click(page, "latent-take")
    choose(page, "action-mode", "sequence")
    page.run(
        "const text = document.getElementById('sequence'); text.value = '[[0.5, 0.1], [0.4, 0]]';"
        "text.dispatchEvent(new Event('input'))"
    )
    body = page.run("return window.worldModel.rollout.body().body")
    assert body["actions"] == [[0.5, 0.1], [0.4, 0]]
    assert len(body["latent"]) == 32
    click(page, "run")
    page.wait(lambda: page.run(SHOWN) == 20, "steps show")
    click(page, "run")
    assert page.complaints() == []


def test_keys_do_what_the_help_says(page):
    body = page.driver.find_element("tag name", "body")
    theme = page.run("return document.documentElement.dataset.theme")
    body.send_keys("t")
    assert page.run("return document.documentElement.dataset.theme") != theme
    body.send_keys("s")
    page.wait(lambda: page.run(SHOWN) > 0, "steps show")
    body.send_keys("]")
    page.wait(lambda: page.run(SHOWN) == 21, "one step more shows")
    body.send_keys("s")
    assert page.text("run") == "start"
    map_view = page.driver.find_element("id", "map")
    map_view.send_keys("\ue014")  # arrow right
    assert page.run("return window.worldModel.map.isFollowing") is False


def test_ids_of_memories_keep_all_their_digits(page):
    script = """
        const done = arguments[0];
        import("/static/js/events.js").then(({ withIds }) => done(withIds(
            '{"memory_ids":[9223372036854775807,1],"places":[{"id":9007199254740993,"x":1.5}],"none":{"memory_ids":[]}}')));
    """
    found = page.driver.execute_async_script(script)
    assert found["memory_ids"] == ["9223372036854775807", "1"]
    assert found["places"] == [{"id": "9007199254740993", "x": 1.5}]
    assert found["none"] == {"memory_ids": []}


def test_no_two_labels_of_an_axis_are_alike(page):
    script = """
        const [value, done] = arguments;
        import("/static/js/plot.js").then(({ niceTop, tickText }) => {
            const top = niceTop(value);
            done([0, top / 2, top].map((each) => tickText(each, top)));
        });
    """
    labels = {
        value: page.driver.execute_async_script(script, value) for value in (0.0098, 0.0061, 1.2, 7.5, 580.0, 3e-7)
    }
    assert labels[0.0098] == ["0", "0.005", "0.010"]
    assert labels[1.2] == ["0", "0.75", "1.50"]
    assert labels[580.0] == ["0", "300", "600"]
    assert all(len(set(texts)) == 3 for texts in labels.values()), labels


@pytest.mark.parametrize("size", [(1440, 900), (844, 390)])
def test_nothing_is_cut_off_at_the_side(page, size):
    page.resize(*size)
    page.wait(lambda: page.run("return innerWidth") == size[0], "it has that size")
    assert page.run("return document.documentElement.scrollWidth") <= size[0]
    least = page.run(
        "return Math.min(...[...document.querySelectorAll('p, span, label, button, dt, dd, td, th')]"
        ".filter((each) => each.offsetParent && each.textContent.trim())"
        ".map((each) => parseFloat(getComputedStyle(each).fontSize)))"
    )
    assert least >= 12.0


def test_all_is_on_one_screen_of_a_laptop(page):
    page.resize(1280, 800)
    page.wait(lambda: page.run("return innerWidth") == 1280, "it has that size")
    assert page.run("return document.documentElement.scrollHeight") <= 800
    shown = page.run(
        "return ['camera', 'map', 'film', 'plot-error', 'plot-timing', 'parts']"
        ".map((each) => document.getElementById(each).getBoundingClientRect())"
        ".map(({ top, height }) => [top, height])"
    )
    assert all(0 <= top < 780 and height > 50 for top, height in shown), shown


def test_sliders_and_their_numbers_do_not_lie_over_one_another(page):
    page.resize(1280, 800)
    choose(page, "from", "own")
    page.run("document.querySelector('details').open = true")
    beside = page.run(
        "return [...document.querySelectorAll('#latent-sliders .slider')].map((each) =>"
        "[each, ...each.children].map((part) => part.getBoundingClientRect()).map(({ left, right }) => [left, right]))"
    )
    page.run("document.querySelector('details').open = false")
    choose(page, "from", "now")
    assert len(beside) == 32
    for (left, right), *parts in beside:
        edges = [left, *(edge for part in parts for edge in part), right]
        assert edges == sorted(edges)


def test_the_trail_has_a_gap_where_the_robot_was_not_seen(page):
    drawn = page.run("""
        const map = window.worldModel.map, drawn = [];
        map.forget();
        for (const x of [0, 0.5, 1, 10, 10.5]) map.observe({ x, y: 0, yaw: 0 }, "map", 0.1, null);
        let pen = null;
        const lineTo = (x) => { drawn.push([pen, x]); pen = x; };
        const context = { stroke() {}, beginPath() {}, moveTo(x) { pen = x; }, lineTo };
        map.paintTrail(context, {}, ({ x, y }) => [x, y]);
        map.forget();
        return drawn;
    """)
    assert drawn == [[0, 0.5], [0.5, 1], [10, 10.5]]


def test_what_is_not_well_stands_first(page):
    page.wait(lambda: page.run("return document.getElementById('parts').children.length") > 1, "parts are told")
    click(page, "run")
    page.wait(lambda: "imagining" in page.text("parts"), "it is told how imagining goes")
    choose(page, "action-mode", "sequence")
    page.run(
        "const text = document.getElementById('sequence'); text.value = '1';text.dispatchEvent(new Event('input'))"
    )
    first = "return document.getElementById('parts').firstChild.textContent"
    page.wait(lambda: page.run(first).startswith("imagining"), "what is wrong stands first")
    choose(page, "action-mode", "held")
    page.wait(lambda: not page.run(first).startswith("imagining"), "it is well again")
    click(page, "run")


def test_health_is_of_before_while_the_service_is_away_and_told_anew(page):
    told = page.driver.execute_async_script("""
        const done = arguments[0];
        import("/static/js/health.js").then(({ Health }) => {
            const health = new Health();
            const texts = () => [...health.rows].map(([name, row]) => [name, row.children[1].textContent]);
            health.set("robot", "ok");
            health.set("connection", "ok");
            const before = texts();
            health.away(true);
            const away = texts();
            health.away(false);
            health.begin();
            const anew = texts();
            for (const [, row] of health.rows) row.remove();
            done([before, away, anew]);
        });
    """)
    assert told[0] == [["robot", "● well"], ["connection", "● well"]]
    assert told[1] == [["robot", "◇ was well"], ["connection", "● well"]]
    assert told[2] == [["connection", "● well"]]


def test_it_tells_what_is_gone_the_service_or_its_source_and_comes_back(page, service):
    service.kill()
    page.wait(lambda: state(page) == "gone", "it is told")
    assert "no connection" in page.text("connection-text")
    assert "does not answer" in page.text("parts")
    # What it told last is of before.
    assert "was playing" in page.text("parts") or "was restarted" in page.text("parts")
    pictures = page.run("return document.getElementById('camera').src")
    service.start("--once", bag="short")
    page.wait(lambda: state(page) == "live", "it comes back")
    page.wait(lambda: page.run("return document.getElementById('camera').src") != pictures, "pictures go on")
    page.wait(lambda: state(page) == "silent", "it is told that the recording ended")
    assert "no data" in page.text("connection-text")
    page.wait(lambda: "no frame" in page.text("parts"), "the reason is told")
