"""The page in a real browser: when it can be used, what it costs on the wire, and whether the tab grows."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from wm_testing.browser import Browser, opened_browser

_USABLE = "return document.body.dataset.state === 'live'"
_PAINT = "const [paint] = performance.getEntriesByName('first-contentful-paint'); return paint ? paint.startTime : null"
_NUMBER = "return window.worldModel.rollout.frame ? window.worldModel.rollout.frame.number : 0"


@contextmanager
def served(bag: Path) -> Iterator[str]:
    """Serve a recording while the block runs and return its address."""
    command = [sys.executable, "-m", "wm_api.serve", "--bag", str(bag), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def opening(browser: Browser, url: str) -> dict[str, float]:
    """Return when the page painted first and when it was live [ms], and what came over the wire, images aside [kB]."""
    browser.driver.get("about:blank")
    before = len(browser.fetched())
    begin_s = monotonic()
    browser.driver.get(url)
    browser.wait(lambda: browser.run(_USABLE), "frames come")
    live_ms = (monotonic() - begin_s) * 1e3
    interactive_ms = browser.run("return performance.getEntriesByType('navigation')[0].domInteractive")
    asked = [each for each in browser.fetched()[before:] if each.kind not in ("Image", "Fetch")]
    return {
        "first_paint_ms": float(browser.run(_PAINT) or np.nan),
        "interactive_ms": float(interactive_ms),
        "live_ms": live_ms,
        "wire_kb": sum(each.size for each in asked) / 1e3,
    }


def watching(browser: Browser, seconds: float) -> dict[str, Any]:
    """Let the page imagine and be live for some time; return what its tab held, after its garbage was collected."""
    browser.driver.find_element("id", "run").click()
    held: list[dict[str, float]] = []
    begin_s = monotonic()
    first = browser.run(_NUMBER)
    while (past_s := monotonic() - begin_s) < seconds:
        target_s = len(held) * seconds / 10 + seconds / 20
        browser.wait(lambda target=target_s: monotonic() - begin_s >= target, "time passes", timeout_s=seconds)  # type: ignore[misc]
        browser.driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
        metrics = browser.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        named = {each["name"]: each["value"] for each in metrics}
        held.append({"s": monotonic() - begin_s, "heap_mb": named["JSHeapUsedSize"] / 1e6, "nodes": named["Nodes"]})
        if len(held) == 10:
            break
    late = held[len(held) // 2 :]
    return {
        "frames_per_s": (browser.run(_NUMBER) - first) / max(monotonic() - begin_s, past_s),
        "heap_mb": [round(each["heap_mb"], 2) for each in held],
        "nodes": [int(each["nodes"]) for each in held],
        "heap_growth_mb_per_min": float(
            np.polyfit([each["s"] / 60 for each in late], [each["heap_mb"] for each in late], 1)[0]
        ),
        "complaints": browser.complaints(),
    }


def measure(url: str, seconds: float, openings: int = 5) -> dict[str, Any]:
    """Return the figures of the page at an address; those of opening are medians."""
    with opened_browser() as browser:
        browser.driver.execute_cdp_cmd("Performance.enable", {})
        browser.driver.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
        opened = [opening(browser, url) for _ in range(openings)]
        figures: dict[str, Any] = {name: float(np.median([each[name] for each in opened])) for name in opened[0]}
        return {**figures, **(watching(browser, seconds) if seconds > 0 else {})}


def main() -> None:
    """Measure, print and write JSON."""
    parser = argparse.ArgumentParser(prog="scripts/bench page", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="of a service that runs")
    where.add_argument("--bag", type=Path, help="recording to serve")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long the tab is watched [s]; 0: only opened")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    if options.url:
        figures = measure(options.url, options.seconds)
    else:
        with served(options.bag) as url:
            figures = measure(url, options.seconds)
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
