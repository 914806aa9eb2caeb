"""``wm`` and its other names: what they offer, and how wrong input ends."""

import ast
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from world_model.cli import COMMANDS, main
from world_model.commands import data, evaluate, export, train
from world_model.commands.common import guarded
from world_model.data.episodes import DatasetManifest, Episode, EpisodeWriter

pytestmark = pytest.mark.training

WRONG = {
    "data": ["sim", "out", "--seeds", "many"],
    "adapt": ["nowhere", "--profile", "./profile"],
    "train": ["nowhere", "out", "--set", "optimiser.steps=many"],
    "evaluate": ["artifact://tiny", "nowhere"],
    "export": ["artifact://none", "out"],
    "family": ["oracle"],
    "slow": ["evaluate", "--data", "nowhere", "--artifact", "artifact://none"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: wm {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_input_is_one_line_and_code_2(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([command, *WRONG[command]]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1
    assert lines[0].startswith(f"wm {command}")


def test_what_is_missing_is_named_with_what_there_is(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert main(["train", "nowhere", "out", "--config", "oracle"]) == 2
    assert (
        "'oracle' is neither a file nor one that ships (base, compact, finetune, large, prior, tiny)"
        in capsys.readouterr().err
    )
    assert main(["train", "nowhere", "out"]) == 2
    assert "nowhere is not a converted set: it has no manifest.json" in capsys.readouterr().err


def test_help_is_plain_text(capsys):
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "``" not in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["oracle"], [], ["slow", "oracle"], ["data"]])
def test_what_is_no_command_is_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["data sim x --seeds 1", "train x y", "evaluate x y", "family tiny"])
@pytest.mark.parametrize("count", ["0", "-3", "1.5", "many"])
def test_no_processes_do_no_work(command, count, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--workers", count])
    assert ended.value.code == 2
    assert f"'{count}' is no number of processes, expected 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize("module", [data, train, evaluate, export])
def test_other_names_are_still_there(module, capsys):
    with pytest.raises(SystemExit) as ended:
        module.main(["--help"])
    assert ended.value.code == 0
    assert f"usage: wm-{module.__name__.rsplit('.', 1)[1]}" in capsys.readouterr().out


def test_every_installed_name_leads_somewhere():
    tree = ast.parse((Path(__file__).parents[1] / "setup.py").read_text())
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    points = dict(text.split(" = ") for text in texts if " = " in text)
    assert set(points) == {"wm", "wm-data", "wm-train", "wm-evaluate", "wm-export"}
    for point in points.values():
        module, _, function = point.partition(":")
        assert callable(getattr(import_module(module), function))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data", "sim", "file", "--seeds", "1", "--seconds", "70"], "file/episodes: Not a directory"),
        (["data", "sim", "out", "--seeds", "5-1"], "the first of a range"),
        (["data", "sim", "out", "--seeds", "1", "--seconds", "nan"], "nan s, expected at least 70.0 s"),
        (["data", "sim", "out", "--seeds", "1", "--image-size", "0"], "images of 0 px"),
        (["data", "inspect", "/dev/null"], "'/dev/null' is not a readable recording"),
        (["train", "set", "file"], "file: File exists"),
        (["train", "set", "run", "--slow-branch", "artifact://none"], "no artifact 'artifact://none'"),
        (["export", "artifact://none", "out"], "made on this machine: generic"),
        (["export", "artifact://tiny", "file"], "file: File exists"),
        (["export", "artifact://tiny", "out", "--batch", "0"], "--batch is 0 frames"),
        (["evaluate", "artifact://tiny", "set", "--horizons", "0"], "horizons are 0 steps"),
        (["evaluate", "artifact://tiny", "set", "--horizons", "100000"], "a horizon lies at 5000 s"),
        (["evaluate", "artifact://tiny", "set", "--start-s", "60"], "judging is to begin at 60 s"),
        (["evaluate", "artifact://tiny", "set", "--start-s", "nan"], "judging is to begin at nan s"),
        (["evaluate", "artifact://tiny", "set", "--seconds", "5"], "--seconds is of simulated episodes (sim:SEEDS)"),
        (["evaluate", "artifact://tiny", "set", "--still"], "--still is of simulated episodes"),
        (
            ["evaluate", "artifact://tiny", "set", "--image-topic", "/x"],
            "--image-topic is of recordings",
        ),
        (["evaluate", "artifact://tiny", "sim:1", "--camera-offset-s", "1"], "--camera-offset-s is of recordings"),
        (["evaluate", "artifact://tiny", "set", "--namespace", "r1"], "--namespace says whose --profile is meant"),
        (["evaluate", "artifact://tiny", "set", "--anew"], "--anew starts the robot a second time at --start-s"),
        (["evaluate", "artifact://tiny", "artifact://none", "set"], "no artifact 'artifact://none'"),
        (["evaluate", "artifact://tiny", "set", "--json", "file/x.json"], "file: File exists"),
        (["evaluate", "artifact://tiny", "set", "--report", "file"], "file: File exists"),
        (["evaluate", "imagination", "set", "--seconds", "5"], "--seconds is of simulated episodes"),
        (["evaluate", "recognise", "set", "set", "--json", "file/x.json"], "file: File exists"),
        (["evaluate", "recognise", "set", "nowhere"], "no recording at 'nowhere'"),
        (["evaluate", "recognise", "set", "set", "--tolerance-m", "nan"], "a tolerance of nan m in distance"),
        (["evaluate", "recognise", "set", "set", "--tolerance-deg", "-1"], "rad in turn, expected 0 or more"),
        (["evaluate", "imagination", "set", "--every-s", "nan"], "moments nan s apart"),
        (["evaluate", "imagination", "set", "--start-s", "60"], "judging is to begin at 60 s"),
        (["adapt", "set", "--profile", ""], "--profile is empty"),
        (["adapt", "set", "--profile", "file/robot"], "file/robot: Not a directory"),
        (["adapt", "--live", "--keep", "file/bag"], "file/bag: Not a directory"),
        (["adapt", "--live", "--keep", "set"], "--keep set exists already"),
        (["adapt", "set", "--seconds", "5"], "--seconds is of --live"),
        (["adapt", "set", "--keep", "kept"], "--keep is of --live"),
        (["adapt", "set", "--json", "file/x.json"], "file: File exists"),
        (["adapt", "set", "--set", "optimiser.stepz=1"], "stepz"),
        (["adapt", "set", "--config", "oracle"], "'oracle' is neither a file nor one that ships"),
        (["adapt", "set", "--motion-only", "--set", "optimiser.steps=1"], "with --motion-only none is"),
    ],
)
def test_a_typical_mistake_is_named_before_any_work(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("no folder\n")
    _a_set(Path("set"))
    if arguments[0] == "adapt":
        arguments = [*arguments, "--artifact", "artifact://tiny"]

    assert main(arguments) == 2

    err = " ".join(capsys.readouterr().err.split())
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["adapt", "--help"],
        ["adapt", "--live", "--seconds", "inf"],
        ["adapt", "set", "--artifact", "artifact://none", "--profile", "robot"],
        ["evaluate", "--help"],
        ["evaluate", "artifact://none", "set"],
        ["evaluate", "artifact://tiny", "set", "--horizons", "0"],
        ["evaluate", "recognise", "set", "set", "--artifact", "artifact://none"],
    ],
    ids=" ".join,
)
def test_who_is_refused_does_not_wait_for_what_only_the_work_needs(arguments, tmp_path):
    code = f"""
import sys
from world_model.cli import main
try:
    ended = main({arguments})
except SystemExit as error:
    ended = error.code
print(ended, [name for name in ("torch", "scipy", "matplotlib", "lightning_fabric") if name in sys.modules])
"""
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == f"{0 if '--help' in arguments else 2} []"


def test_ctrl_c_is_one_line_and_code_130(monkeypatch, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "main", stopped)
    assert main(["data", "inspect", "bag"]) == 130
    assert capsys.readouterr().err.strip() == "wm data: stopped by Ctrl-C"


def test_a_fault_that_is_of_no_file_is_not_taken_for_a_mistake():
    def broken() -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        guarded("wm", broken)


def _a_set(path: Path) -> None:
    """Writes a set of one episode of 2 s, at rest."""
    frames = 41
    stamp_T = np.arange(frames, dtype=np.int64) * 50_000_000
    episode = Episode(
        "still", "here", np.zeros((frames, 64, 64, 3), np.uint8), stamp_T, np.zeros((frames, 4)),
        np.zeros((frames, 2), np.float32),
    )  # fmt: skip
    EpisodeWriter(path, DatasetManifest(image_size=64, step_s=0.05, action_dim=2, source={})).write(episode, "train")
