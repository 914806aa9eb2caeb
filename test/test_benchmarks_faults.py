"""The benchmarks of long life and of faults, run short: what they promise to report, and that nothing is lost."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fault_files, soak
from benchmarks.growth import Sample

pytestmark = [pytest.mark.slow, pytest.mark.training]
ROOT = Path(__file__).parents[1]


def test_a_short_soak_reports_growth_file_and_age(tmp_path):
    assert soak.main(["--hours", "0.005", "--capacity", "150", "--json", str(tmp_path / "soak.json")]) == 0
    report = json.loads((tmp_path / "soak.json").read_text())
    assert report["steps"] == 360
    assert report["filled_after_steps"] >= 150
    # In MB, of all that ran in this process before.
    assert 0 < report["rss_mb"]["start"] < 64_000
    assert report["disk_mb_max"] > 0
    assert report["step_p99_ms"].keys() == {"first_quarter", "last_quarter"}


def test_growth_is_the_slope_of_a_linear_fit():
    samples = [Sample(hours, 100.0 + 2.0 * hours, 1.0) for hours in (0.0, 1.0, 2.0, 5.0)]
    figures = soak.figures_of(samples, np.array([0.001] * 75 + [0.002] * 25))
    assert figures["rss_mb"] == {"start": 100.0, "end": 110.0}
    assert figures["rss_growth"] == pytest.approx(0.1)
    assert figures["step_p99_ms"] == {"first_quarter": 1.0, "last_quarter": 2.0}


@pytest.mark.parametrize("more", [(), ("--kinds", "disk,broken,kill")], ids=["any", "disk, second memory, damage"])
def test_a_short_history_of_faults_loses_nothing(tmp_path, more):
    path = tmp_path / "faults.json"
    command = [sys.executable, "-m", "benchmarks.faults", "--minutes", "0.5", "--seed", "3", "--json", str(path), *more]
    environment = {**os.environ, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)
    report = json.loads(path.read_text())
    assert done.returncode == 0, done.stderr[-2000:]
    assert report["acknowledged"] > 0
    assert (report["lost"], report["process_deaths"], report["unnamed"]) == (0, 0, [])
    assert report["faults"]
    assert report["rss_mb"].keys() == {"start", "end"}


def test_a_damaged_file_is_another_one_and_is_put_back(tmp_path):
    path = tmp_path / "memory"
    held = {path: b"a" * 4000, Path(f"{path}-wal"): b"", Path(f"{path}.ledger"): b"b" * 600}
    changed: list[Path] = []
    for seed in range(20):
        for part, content in held.items():
            part.write_bytes(content)
        kept = fault_files.damaged(path, random.Random(seed))
        assert kept == held
        other = [part for part, content in held.items() if part.read_bytes() != content]
        assert len(other) <= 1
        changed += other
        fault_files.put_back(path, kept)
        assert {part: part.read_bytes() for part in tmp_path.iterdir()} == held
    assert set(changed) == {path, Path(f"{path}.ledger")}


def test_the_whole_graph_is_soaked_from_a_full_memory_on(tmp_path):
    path = tmp_path / "soak.json"
    given = ["--graph", "composed", "--hours", "0.002", "--warm-up", "1", "--capacity", "300", "--json", str(path)]
    assert soak.main(given) == 0
    report = json.loads(path.read_text())
    assert (report["held"], report["unanswered"], report["refused"]) == (300, 0, [])
    assert report["age_ms"]["latent_next"]["n"] > 0
    assert report["shared_mb"]["max"] >= report["shared_mb"]["start"]
