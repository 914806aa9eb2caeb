"""A real browser for tests and measurements of the page: Chromium without a window, and what it asked for.

Its programs come from the distribution (``scripts/setup --browser``); nothing is downloaded here.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DEADLINE_S = 60.0
_OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--hide-scrollbars",
)  # fmt: skip


def found_browser() -> tuple[str, str] | None:
    """Returns the programs of browser and driver, or None where one of them is not installed."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    return None if browser is None or driver is None else (browser, driver)


@dataclass(frozen=True)
class Fetched:
    """A request that the browser made.

    Attributes:
        url: What was asked for.
        kind: What it is to the browser: Document, Script, Stylesheet, Image, Fetch, ...
        size: Bytes that came over the wire; 0 while it is not complete.
    """

    url: str
    kind: str
    size: int


class Browser:
    """A browser with one tab.

    Args:
        driver: As ``opened_browser`` makes it.
    """

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver
        self._fetched: dict[str, Fetched] = {}

    def resize(self, width: int, height: int) -> None:
        """Makes the page so large [px]; below 900 px wide it is taken for a phone's."""
        sizes = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 900}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)

    def run(self, script: str, *values: Any) -> Any:
        """Returns what a script returns."""
        return self.driver.execute_script(script, *values)

    def text(self, name: str) -> str:
        """Returns the text of the element of an id."""
        found: str = self.run("return document.getElementById(arguments[0]).textContent", name)
        return found

    def wait(self, condition: Callable[[], Any], what: str, timeout_s: float = DEADLINE_S) -> Any:
        """Returns what a condition returns once that is true.

        Raises:
            AssertionError: It did not become true.
        """
        waiting = WebDriverWait(self.driver, timeout_s, 0.05, ignored_exceptions=[StaleElementReferenceException])
        try:
            return waiting.until(lambda _: condition())
        except TimeoutException as error:
            raise AssertionError(f"within {timeout_s:g} s not: {what}") from error

    def complaints(self) -> list[str]:
        """Returns what the console was told since it was asked last: errors and warnings."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def fetched(self) -> list[Fetched]:
        """Returns all requests so far, in their order."""
        for entry in self.driver.get_log("performance"):  # type: ignore[no-untyped-call]
            message = json.loads(entry["message"])["message"]
            given = message["params"]
            if message["method"] == "Network.requestWillBeSent":
                self._fetched[given["requestId"]] = Fetched(given["request"]["url"], given.get("type", ""), 0)
            elif message["method"] == "Network.loadingFinished" and given["requestId"] in self._fetched:
                known = self._fetched[given["requestId"]]
                size = round(given["encodedDataLength"])
                self._fetched[given["requestId"]] = Fetched(known.url, known.kind, size)
        return list(self._fetched.values())


@contextmanager
def opened_browser() -> Iterator[Browser]:
    """Opens a browser while the block runs.

    Raises:
        FileNotFoundError: Browser or driver are not installed.
    """
    programs = found_browser()
    if programs is None:
        raise FileNotFoundError("no Chromium with its driver here: scripts/setup --browser installs them")
    options = ChromeOptions()
    options.binary_location = programs[0]
    for option in _OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(programs[1]))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
