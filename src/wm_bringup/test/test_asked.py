"""Launch arguments that nobody declared are named where the file was asked for, and let be where it was included."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from wm_bringup.asked import is_asked_for, refuse_unknown
from wm_ros import ConfigurationError
from wm_testing.launch_stubs import stand_ins, started

FOLDER = Path(__file__).parents[3] / "launch"
FILES = sorted(FOLDER.glob("*.launch.py"))
NAME = "world_model.launch.py"


def test_what_is_declared_passes_and_what_launch_itself_reads():
    refuse_unknown(["camera:=/x", "memory:=a:=b", "launch-prefix:=gdb", "--verbose"], ["camera", "memory"])


def test_each_unknown_one_is_named_with_what_it_resembles():
    with pytest.raises(ConfigurationError) as refused:
        refuse_unknown(["camrea:=/x", "camera:=/y", "zzz:=1", "zzz:=2"], ["camera", "memory"])
    assert str(refused.value).startswith("unknown argument camrea:=, did you mean camera:=?; unknown argument zzz:=; ")


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        (["ros2", "launch", "wm_bringup", NAME, "camera:=/x"], True),
        (["ros2", "launch", "--noninteractive", str(FOLDER / NAME)], True),
        (["ros2", "launch", "mine", NAME, "my_own:=1"], False),
        (["ros2", "launch", "mine", "mine.launch.py", f"with:={FOLDER / NAME}"], False),
        (["pytest", "test_launch_world_model.py"], False),
    ],
)
def test_only_who_names_the_file_means_its_arguments(command: list[str], asked: bool, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert is_asked_for(command, FOLDER / NAME) is asked


def test_another_file_of_the_same_name_is_another_file(tmp_path, monkeypatch):
    (tmp_path / NAME).touch()
    monkeypatch.chdir(tmp_path)
    assert not is_asked_for(["ros2", "launch", NAME], FOLDER / NAME)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_launch_file_refuses_what_it_does_not_know(path: Path, monkeypatch):
    words = ["camrea:=/front"]
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", "wm_bringup", path.name, *words])
    with stand_ins(), pytest.raises(ConfigurationError, match="camrea:=, did you mean camera:="):
        started(path, {"bag": str(FOLDER)} if path.name == "replay.launch.py" else {}, words)


@pytest.mark.parametrize(
    "path", [each for each in FILES if each.name != "record.launch.py"], ids=lambda path: path.name
)
def test_it_lets_arguments_of_who_includes_it_be(path: Path, monkeypatch):
    words = ["my_own:=1"]
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", "mine", "mine.launch.py", *words])
    with stand_ins():
        assert started(path, {"bag": str(FOLDER)} if path.name == "replay.launch.py" else {}, words)
