"""The benchmark of the HTTP service measures all that it names."""

from __future__ import annotations

import argparse
import math

import pytest

from benchmarks import service
from wm_testing.browser import found_browser

pytestmark = pytest.mark.slow

MEASURED = {"encode_ms", "predict_ms", "rollout_first_event_ms", "rollout_20_ms", "rss_growth_mb", "fds", "wire_kb"}


@pytest.mark.skipif(found_browser() is None, reason="no browser is installed: scripts/setup --browser")
def test_all_that_does_not_take_pairs_of_runs_is_measured_the_first_paint_too():
    options = argparse.Namespace(artifact="artifact://tiny", seed=0, repeat=3, cycles=3, pairs=0, seconds=0.0)
    found = service.measure(options)
    assert {name for name in found if isinstance(found[name], int | float)} >= MEASURED | {"first_paint_ms"}
    assert 0.0 < found["first_paint_ms"] <= found["details"]["page"]["live_ms"]
    assert math.isfinite(found["wire_kb"])


def test_without_a_browser_it_says_what_is_not_measured(monkeypatch, capsys):
    monkeypatch.setattr(service, "found_browser", lambda: None)
    assert service.opened(1) == {}
    assert "first_paint_ms is not measured" in capsys.readouterr().err
