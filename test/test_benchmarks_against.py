"""Comparing with another revision: what is checked out, what each side sees, what is reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks.against import graph_pairs, graph_side, memory_pairs, start_side
from benchmarks.against.sides import (
    Side,
    SideError,
    checkout,
    clean_environment,
    environment_of,
    require_own,
    short,
)
from benchmarks.driver import Heard

ROOT = Path(__file__).parents[1]


class FakeSide:
    """Answers as a worker does: figures that grow with the pair's seed, times a factor."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.asked: list[tuple[str, ...]] = []

    def run(self, module, *arguments, **environment):
        self.asked.append((module, *map(str, arguments)))
        if module == "benchmarks.against.graph_side":
            value = self.factor * (10.0 + json.loads(arguments[0])["seed"])
            ages = {"p50": value, "p99": 2 * value, "n": 100}
            return {"latent_age_ms": ages, "latent_next_age_ms": ages, "cpu_percent": value}
        if arguments[0] == "fill":
            Path(arguments[2]).mkdir()
            return {"count": 1}
        assert Path(arguments[2]).is_dir(), "each run has a copy of the store"
        return {name: self.factor for name in memory_pairs.RATIOS.values()}


def test_graph_reports_every_ratio_of_every_size_and_form():
    sides = {"ours": FakeSide(1.5), "theirs": FakeSide(1.0)}
    found = graph_pairs.compare(sides, ("simulator", "160x120", "640x480"), pairs=5, seconds=1.0, warm_up_s=0.5)
    expected = {"median": 1.5, "low": 1.5, "high": 1.5}
    names = {"latent_age_p50_ratio", "latent_next_age_p50_ratio", "latent_next_age_p99_ratio", "cpu_ratio"}
    assert set(found["ratios"]) == {"simulator", "160x120", "640x480"}
    for ratios in found["ratios"].values():
        assert ratios == {name: {"separate": expected, "composed": expected} for name in names}
    assert len(found["runs"]["simulator"]["composed"]) == 5
    assert sorted(sides["ours"].asked) == sorted(sides["theirs"].asked), "both get the same runs with the same seeds"


def test_graph_refuses_a_size_that_it_does_not_know():
    with pytest.raises(ValueError, match="1x1"):
        graph_pairs.compare({}, ("1x1",), pairs=1, seconds=1.0, warm_up_s=0.0)


def test_memory_reports_every_ratio_of_every_size():
    sides = {"ours": FakeSide(0.5), "theirs": FakeSide(1.0)}
    found = memory_pairs.compare(sides, {"1k": 1000}, pairs=5, queries=20)
    half = {"median": 0.5, "low": 0.5, "high": 0.5}
    names = ("query_p50_ratio", "batch_ratio", "insert_ratio", "startup_ratio", "rss_ratio")
    assert found["ratios"] == {"1k": dict.fromkeys(names, half)}
    assert [call[1] for call in sides["ours"].asked] == ["fill"] + ["measure"] * 5


@pytest.mark.slow
def test_memory_worker_answers_right_on_this_revision():
    """The real worker in this environment: it finds the true neighbours in a store that it filled itself."""
    sides = dict.fromkeys(("ours", "theirs"), Side("here", ROOT, _environment()))
    runs = memory_pairs.compare(sides, {"800": 800}, pairs=1, queries=30)["runs"]["800"]
    for run in runs[0].values():
        assert run["recall"] == 1.0
        assert all(run[name] > 0 for name in memory_pairs.RATIOS.values())


@pytest.mark.slow
@pytest.mark.parametrize("form", graph_side.FORMS)
def test_graph_worker_hears_this_revision(form):
    """The real worker in this environment, on the simulated robot: what it needs of a revision is still there."""
    wanted = {"form": form, "size": "simulator", "seconds": 1.0, "warm_up_s": 1.0, "seed": 0}
    environment = {**_environment(), "WM_CHECKPOINT_PATH": "artifact://tiny"}
    found = Side("here", ROOT, environment).run("benchmarks.against.graph_side", json.dumps(wanted))
    assert found["encoder_id"] == start_side.encoder_id()
    # A busy machine loses frames; one that answers at all gives some.
    assert found["latent_age_ms"]["n"] > 0
    assert found["latent_next_age_ms"]["n"] > 0
    assert graph_pairs.flattened(found)["latent_age_p50_ratio"] > 0


def test_every_process_of_the_separate_form_is_found(tmp_path):
    commands = graph_side.graph_commands("separate", tmp_path)
    assert set(commands) == set(graph_side.NODES)
    for command in [*commands.values(), graph_side.robot_command(3)]:
        assert Path(command[1]).exists()
        assert "--params-file" in command, "else one side would run on defaults, the other as shipped"
    assert f"db_path:={tmp_path / 'memory.sqlite3'}" in commands["spatial_memory"]
    assert "seed:=3" in graph_side.robot_command(3)


def test_the_separate_form_runs_the_artifact_that_the_environment_names(tmp_path, monkeypatch):
    """As the composed one does: a node's shipped file, which sets every key, must not have the last word."""
    monkeypatch.setenv("WM_CHECKPOINT_PATH", "artifact://tiny")
    for node, command in graph_side.graph_commands("separate", tmp_path).items():
        assert command.index("model_path:=artifact://tiny") > command.index("--params-file"), node
    monkeypatch.delenv("WM_CHECKPOINT_PATH")
    commands = graph_side.graph_commands("separate", tmp_path).values()
    assert not any(argument.startswith("model_path") for command in commands for argument in command)


def test_a_node_whose_shipped_file_sets_no_artifact_is_given_none(tmp_path, monkeypatch):
    """Memories of revisions before artifacts decided their encoder end at an unknown parameter."""
    (tmp_path / "config").mkdir()
    for node in graph_side.NODES:
        parameters = {"db_path": ""} if node == "spatial_memory" else {"model_path": "artifact://generic"}
        text = yaml.safe_dump({"/**": {"ros__parameters": parameters}})
        (tmp_path / "config" / f"{node}.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(graph_side, "get_package_share_directory", lambda _: str(tmp_path))
    monkeypatch.setenv("WM_CHECKPOINT_PATH", "artifact://tiny")
    commands = graph_side.graph_commands("separate", tmp_path)
    told = {node for node, command in commands.items() if "model_path:=artifact://tiny" in command}
    assert told == set(graph_side.NODES) - {"spatial_memory"}


def test_sides_that_ran_other_models_are_named(capsys):
    sides = {"ours": FakeGraph("e1"), "theirs": FakeGraph("e2")}
    found = graph_pairs.compare(sides, ("160x120",), pairs=1, seconds=1.0, warm_up_s=0.0)
    assert found["encoders"] == {"ours": ["e1"], "theirs": ["e2"]}
    assert "other models" in capsys.readouterr().err
    graph_pairs.compare({"ours": FakeGraph("e1"), "theirs": FakeGraph("e1")}, ("160x120",), 1, 1.0, 0.0)
    assert "other models" not in capsys.readouterr().err


class FakeGraph:
    """Stands for a side whose graph ran."""

    def __init__(self, encoder_id):
        self.encoder_id = encoder_id

    def run(self, module, *arguments, **environment):
        age = {"p50": 1.0, "p99": 2.0}
        return {"latent_age_ms": age, "latent_next_age_ms": age, "cpu_percent": 3.0, "encoder_id": self.encoder_id}


def _environment():
    """A domain of its own, should another test of this machine run beside."""
    return {**os.environ, "ROS_DOMAIN_ID": os.environ.get("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))}


def test_ages_are_those_of_the_stamp_also_where_messages_are_lost_or_late():
    heard = Heard()
    frames = np.arange(4 * 32, dtype=np.float32).reshape(4, 32)
    heard.belongs(frames[2], 200)  # its state comes before it
    heard.receive(frames[2])
    heard.receive(frames[0])
    heard.belongs(frames[0].tolist(), 0)
    heard.belongs(frames[1], 100)  # the vector was lost
    heard.receive(frames[3])  # the state was lost
    seen = []

    def published_ns(stamp):
        seen.append(stamp)
        return None if stamp == 0 else 0

    assert len(heard.ages_ms(published_ns)) == 1, "frame 0 does not count, 1 and 3 are not known"
    assert sorted(seen) == [0, 200]


@pytest.fixture
def repository(tmp_path):
    """Returns a repository of two commits with a file that says which."""
    folder = tmp_path / "repository"
    folder.mkdir()
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", "init", "-q", folder], check=True)
    for text in ("first", "second"):
        (folder / "which").write_text(text)
        subprocess.run(["git", "-C", folder, "add", "which"], check=True)
        subprocess.run(["git", "-C", folder, *identity, "commit", "-qm", text], check=True)
    return folder


def test_a_revision_is_checked_out_beside_the_repository_and_found_again(repository, tmp_path):
    folder = checkout("HEAD~1", tmp_path / "cache", repository)
    assert folder == tmp_path / "cache" / short("HEAD~1", repository)
    assert (folder / "which").read_text() == "first"
    assert (repository / "which").read_text() == "second"
    (folder / "built").write_text("kept")
    assert checkout("HEAD~1", tmp_path / "cache", repository) == folder
    assert (folder / "built").exists()


def test_a_checkout_that_was_removed_is_made_again(repository, tmp_path):
    folder = checkout("HEAD~1", tmp_path / "cache", repository)
    for path in (folder / "which", folder / ".git"):
        path.unlink()
    folder.rmdir()
    assert (checkout("HEAD~1", tmp_path / "cache", repository) / "which").read_text() == "first"


def test_a_changed_checkout_is_refused(repository, tmp_path):
    (checkout("HEAD~1", tmp_path / "cache", repository) / "which").write_text("third")
    with pytest.raises(SideError, match="with changes"):
        checkout("HEAD~1", tmp_path / "cache", repository)


def test_an_unknown_revision_and_a_cache_inside_are_refused(repository, tmp_path):
    with pytest.raises(SideError, match="no-such"):
        checkout("no-such", tmp_path / "cache", repository)
    with pytest.raises(SideError, match="outside"):
        checkout("HEAD", repository / "cache", repository)


def test_a_side_starts_without_what_another_environment_set(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / ".venv").symlink_to(elsewhere)
    given = {
        "PATH": f"{root}/.venv/bin:/usr/bin:{elsewhere}/bin:/bin",
        "PYTHONPATH": "/somewhere",
        "LD_LIBRARY_PATH": "/somewhere",
        "VIRTUAL_ENV": f"{root}/.venv",
        "FASTDDS_DEFAULT_PROFILES_FILE": f"{root}/config/profiles.xml",
        "HOME": "/home",
        "ROS_DISTRO": "kilted",
    }
    assert clean_environment(given, root) == {"PATH": "/usr/bin:/bin", "HOME": "/home", "ROS_DISTRO": "kilted"}
    own = {"PATH": "/bin", "FASTDDS_DEFAULT_PROFILES_FILE": "/home/mine.xml"}
    assert clean_environment(own, root) == own


def test_a_side_sees_what_its_own_script_exports(tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "env").write_text("echo talks\nexport ONE='two\nlines' OF=here\n")
    found = environment_of(tmp_path, {"PATH": "/usr/bin:/bin", "HOME": "/home"})
    assert (found["ONE"], found["OF"], found["HOME"]) == ("two\nlines", "here", "/home")
    (tmp_path / "scripts" / "env").write_text("echo no environment >&2; return 1\n")
    with pytest.raises(SideError, match="no environment"):
        environment_of(tmp_path, {"PATH": "/usr/bin:/bin"})


@pytest.fixture
def side(tmp_path):
    """Returns a side whose modules lie in ``tmp_path``."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    return Side("here", tmp_path, {**os.environ, "PYTHONPATH": str(tmp_path)})


def test_a_side_runs_a_module_in_its_folder_and_reads_its_last_line(side, tmp_path):
    figures = "{'given': sys.argv[1:], 'folder': os.getcwd(), 'extra': os.environ['EXTRA']}"
    (tmp_path / "probe.py").write_text(f"import json, os, sys\nprint('talk')\nprint(json.dumps({figures}))")
    assert side.run("probe", 1, "two", EXTRA="yes") == {"given": ["1", "two"], "folder": str(tmp_path), "extra": "yes"}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit('no camera')", "no camera"),
        ("print('no figures')", "no figures"),
        ("print([1])", "an object"),
    ],
)
def test_a_side_that_fails_is_named_with_what_it_said(side, tmp_path, code, said):
    (tmp_path / "probe.py").write_text(code)
    with pytest.raises(SideError, match=rf"here: probe[\s\S]*{said}"):
        side.run("probe")


def test_what_is_of_another_side_is_not_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    require_own(tmp_path / "install" / "package")
    with pytest.raises(SideError, match="another side"):
        require_own("/usr/lib/package")
