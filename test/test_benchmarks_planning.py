"""Closed-loop drives: in which order, kept how, and what is said of them."""

from __future__ import annotations

import json
import math
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.planning import FIRST_OF_ALL
from benchmarks.planning_drives import METHODS, TASKS, Drive, Job
from benchmarks.planning_figures import paired, summarised, summary
from benchmarks.planning_store import Store, StoreError, by_task
from benchmarks.planning_work import Asked, ordered, work

ROOT = Path(__file__).parents[1]
NOT_NEEDED = ("rclpy", "wm_ros", "wm_interfaces", "std_msgs", "geometry_msgs", "nav_msgs", "h3", "rosbags", "faiss")
PACKAGES = ("wm_core", "wm_sim", "world_model", "wm_policy", "latent_publisher", "latent_planner", "policy_runner")
BLOCKER = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {NOT_NEEDED!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
"""


def job(method="memory", building=1, goal=0, task="reach_image", kind="still"):
    return Job(task, kind, method, building, goal)


def drive(building=1, goal=0, *, success=True, length_m=5.0):
    return Drive(building, goal, success, 0, 9.0, 0.9 * success, "reached" if success else "late", 0.1, length_m, 1.0)


def test_what_matters_most_comes_first():
    made = ordered(list(METHODS), TASKS, ("still", "with changes"), (3, 4), 5, FIRST_OF_ALL)
    assert len(made) == len(set(made)) == len(METHODS) * len(TASKS) * 2 * 2 * 5
    first = made[: len(FIRST_OF_ALL) * 2 * 2 * 5]
    assert {each.method for each in first} == set(FIRST_OF_ALL)
    assert {each.task for each in first} == {"reach_image"}
    for end in range(len(first)):
        counts = [sum(each.method == name for each in first[:end]) for name in FIRST_OF_ALL]
        assert max(counts) - min(counts) <= 2 * 2, "stopped anywhere, all have about as many"


def test_a_store_gives_back_what_was_driven(tmp_path):
    made = {job(goal=at): drive(goal=at, success=at != 1) for at in range(3)}
    store = Store(tmp_path, {"encoder_id": "a"})
    for each, of in made.items():
        store.add(each, of)
    assert Store(tmp_path, {"encoder_id": "a"}).drives() == made


def test_a_line_that_was_being_written_does_not_count(tmp_path):
    store = Store(tmp_path, {})
    store.add(job(), drive())
    (path,) = tmp_path.glob("drives-*.jsonl")
    path.write_text(path.read_text() + path.read_text()[:20])
    assert Store(tmp_path, {}).drives() == {job(): drive()}


def test_stores_are_merged_once(tmp_path):
    here, there = Store(tmp_path / "a", {}), Store(tmp_path / "b", {})
    here.add(job(), drive())
    there.add(job(), drive())
    there.add(job(goal=1), drive(goal=1))
    assert here.take(there.folder) == 1
    assert here.take(there.folder) == 0
    assert set(here.drives()) == {job(), job(goal=1)}


def test_drives_of_another_model_are_refused(tmp_path):
    Store(tmp_path / "a", {"encoder_id": "a"})
    with pytest.raises(StoreError, match="encoder_id is a, now b"):
        Store(tmp_path / "a", {"encoder_id": "b"})
    with pytest.raises(StoreError, match="other conditions"):
        Store(tmp_path / "b", {"encoder_id": "b"}).take(tmp_path / "a")
    with pytest.raises(StoreError, match="holds no drives"):
        Store(tmp_path / "b", {"encoder_id": "b"}).take(tmp_path / "c")


def test_methods_are_compared_on_the_goals_that_both_were_sent_to():
    memory = [drive(1, 0), drive(1, 1), drive(2, 0), drive(2, 1)]
    other = [drive(1, 0, success=False), drive(2, 0), drive(2, 1, success=False)]
    ours, theirs = paired(other, memory)
    assert [(each.building, each.goal) for each in ours] == [(1, 0), (2, 0), (2, 1)]
    assert [(each.building, each.goal) for each in theirs] == [(1, 0), (2, 0), (2, 1)]
    made = summary(other, memory)
    # Building 1: 0 of 1 beside 1 of 1; building 2: 1 of 2 beside 2 of 2.
    assert made["less_than_memory"] == {"mean": -0.75, "interval": [-1.0, -0.5], "n": 3}
    assert made["success"] == pytest.approx(1 / 3, abs=1e-3)


def test_short_and_long_ways_are_told_apart():
    made = summary([drive(length_m=3.0), drive(goal=1, length_m=15.0, success=False)], [])
    assert made["by_length"] == {"up to 9 m": {"success": 1.0, "n": 1}, "beyond 9 m": {"success": 0.0, "n": 1}}
    assert "less_than_memory" not in made


def test_figures_are_by_task_and_method():
    made = {job(): drive(), job("cloned"): drive(success=False), job(kind="with changes"): drive()}
    found = summarised(by_task(made, METHODS))
    assert list(found["reach_image, still"]) == ["memory", "cloned"]
    assert found["reach_image, still"]["cloned"]["less_than_memory"]["mean"] == -1.0
    assert found["reach_image, with changes"]["memory"]["n"] == 1


def test_nothing_is_driven_twice_or_too_late(tmp_path):
    asked = Asked("artifact://none", "", 0, tmp_path)  # no process could begin with it
    store = Store(tmp_path, {})
    store.add(job(), drive())
    assert list(work(asked, store, [job()], 1, math.inf)) == []
    assert list(work(asked, store, [job(), job(goal=1)], 1, 0.0)) == []


@pytest.mark.slow
def test_it_drives_without_ros_in_two_processes(tmp_path):
    """Also what it imports in its processes: on machines that drive there need be nothing but torch and OpenCV."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    paths = [tmp_path, ROOT, *(ROOT / "src" / name for name in PACKAGES)]
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(map(str, paths))
    }  # fmt: skip
    store, told = tmp_path / "store", tmp_path / "told.json"
    options = (
        "--look '' --buildings 1 --goals 2 --tasks reach_image --kinds still --methods straight_line "
        f"--training-drives 0 --jobs 2 --store {store} --json {told}"
    )
    command = [sys.executable, "-m", "benchmarks.planning", *shlex.split(options)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [path.read_text().splitlines() for path in store.glob("drives-*.jsonl")]
    assert list(map(len, lines)) == [2]
    assert json.loads(told.read_text())["reach_image, still"]["straight_line"]["n"] == 2
