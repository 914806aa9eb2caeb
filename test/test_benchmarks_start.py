"""Starts and killed memories: what is reported of them."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from benchmarks import restart, start, window_fill
from benchmarks.against import start_side
from benchmarks.against.sides import Side
from benchmarks.graph_kill import Heard, report, summary

ROOT = Path(__file__).parents[1]


class FakeSide:
    """Starts in as many seconds as it is given, and notes from which store."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.filled: list[str] = []

    def run(self, module, what, given, folder, **environment):
        assert module == start.WORKER
        if what == "fill":
            self.filled.append(str(given))
            Path(folder).mkdir()
            return {"count": given}
        assert Path(folder).is_dir(), "each start has a copy of the store"
        return {start.FIGURE: self.seconds, "cpu_s": 2.0 * self.seconds, "rss_mb": 100.0 * self.seconds}


def test_starts_are_compared_by_records_and_form():
    sides = {"ours": FakeSide(2.0), "theirs": FakeSide(8.0)}
    found = start.compare(sides, ["0", "1k"], pairs=5)
    assert sides["ours"].filled == sides["theirs"].filled == ["0", "1000"]
    assert set(found) == {"0", "1k"}
    for by_form in found.values():
        assert set(by_form) == {"separate", "composed"}
        for figures in by_form.values():
            assert figures["ratio"] == {"median": 0.25, "low": 0.25, "high": 0.25}
            assert (figures["ours_s"], figures["theirs_s"]) == (2.0, 8.0)
            assert figures["runs_s"] == {"ours": [2.0] * 5, "theirs": [8.0] * 5}
            assert (figures["cpu"]["ours_s"], figures["cpu"]["theirs_s"]) == (4.0, 16.0)
            assert figures["rss"]["ratio"]["median"] == 0.25
    assert "0.250" in start.report(found)


def test_one_side_alone_has_no_ratio():
    figures = start.compare({"ours": FakeSide(2.0)}, ["0"], pairs=2)["0"]["composed"]
    assert figures.pop("cpu") == {"ours_s": 4.0, "runs_s": {"ours": [4.0, 4.0]}}
    assert figures.pop("rss") == {"ours_mb": 200.0, "runs_mb": {"ours": [200.0, 200.0]}}
    assert figures == {"ours_s": 2.0, "runs_s": {"ours": [2.0, 2.0]}}


@pytest.mark.slow
def test_the_worker_starts_this_revision_from_a_store_that_it_filled(tmp_path):
    domain_id = os.environ.get("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    side = Side("here", ROOT, {**os.environ, "ROS_DOMAIN_ID": domain_id})
    assert side.run(start.WORKER, "fill", 50, tmp_path / "store") == {"count": 50}
    found = side.run(start.WORKER, "start", "composed", tmp_path / "store")
    assert 0.0 < found[start.FIGURE] < start_side.LONGEST_S
    assert found["cpu_s"] > 0.0
    assert found["rss_mb"] > 0.0


@pytest.mark.slow
def test_a_window_is_filled_through_ros_and_a_query_answered(monkeypatch):
    monkeypatch.setenv("WM_CHECKPOINT_PATH", "artifact://tiny")
    found = window_fill.measure(60, 2, int(os.environ.get("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))))
    assert found["records"] == 60
    assert found["window_ms"]["n"] == found["query_ms"]["n"] == 2
    assert found["per_record_ratio"] > 0.0


def test_the_shipped_artifact_is_found():
    manifest = ROOT / "src/world_model/world_model"
    (path,) = manifest.rglob("tiny/manifest.json")
    assert start_side.encoder_id() == json.loads(path.read_text())["encoder_id"]


def test_what_is_told_of_a_killed_memory():
    heard = [Heard("window", "", 0.1), Heard("service", "", 0.5), Heard("window", "", 0.4)]
    heard += [Heard("window", "", 1.0), Heard("none", "memory late", math.nan), Heard("window", "", 9.0)]
    found = summary(heard, killed=3, kill_after_s=2.0)
    assert (found["predictions"], found["predictions_after_the_kill"], found["without_memory"]) == (6, 3, 1)
    assert found["reasons"] == {"memory late": 1}
    assert found["sources"] == {"window": 4, "service": 1, "none": 1}
    assert found["window_age_s"] == {"before": 0.5, "last": 9.0}
    assert "1 without memory" in report(found)


class FakeKills:
    """Serves again after so many seconds, and notes who was killed."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.killed: list[str] = []

    def run(self, module, node, **environment):
        assert module == restart.WORKER
        self.killed.append(node)
        return {restart.FIGURE: self.seconds, "cpu_s": 3.0 * self.seconds}


def test_restarts_are_compared_by_node():
    sides = {"ours": FakeKills(1.0), "theirs": FakeKills(4.0)}
    found = restart.compare(sides, pairs=5)
    assert sides["ours"].killed == sides["theirs"].killed == ["latent_publisher", "transition_predictor"] * 5
    for node in ("latent_publisher", "transition_predictor"):
        assert found[node]["ratio"] == {"median": 0.25, "low": 0.25, "high": 0.25}
        assert (found[node]["ours_s"], found[node]["cpu"]["theirs_s"]) == (1.0, 12.0)
    assert restart.report(found).count("0.250") == 4
    alone = restart.compare({"ours": FakeKills(1.0)}, pairs=2)["latent_publisher"]
    assert "ratio" not in alone
    assert alone["runs_s"] == {"ours": [1.0, 1.0]}
