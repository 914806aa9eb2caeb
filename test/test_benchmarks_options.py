"""What is no value of an option is refused by the option's name, before any work."""

from __future__ import annotations

import sys

import pytest

from benchmarks import planner, planning

BOTH = [("--json", "{}"), ("--json", "{}/file/found.json"), ("--first", "-5"), ("--first", "ten")]
OF_PLANNING = [
    ("--buildings", "0"), ("--goals", "-3"), ("--training-drives", "-1"), ("--jobs", "0"), ("--within", "nan"),
    ("--raw", "{}"),
]  # fmt: skip
OF_PLANNER = [
    ("--seed", "-1"), ("--repeat", "0"), ("--threads", "0"), ("--agreement", "-2"), ("--device", "nowhere"),
    ("--live", "-1"), ("--seconds", "inf"), ("--closed-loop", "1.5"),
]  # fmt: skip
CASES = [(planning.main, *case) for case in BOTH + OF_PLANNING] + [(planner.main, *case) for case in BOTH + OF_PLANNER]


@pytest.mark.parametrize(("main", "option", "value"), CASES)
def test_it_is_refused_by_name(main, option, value, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", ["prog", option, value.format(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert option in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--artifact", "artifact://none"], "artifact://none"),
        (["--merge", "{}"], "holds no drives"),
        (["--store", "{}/file"], "file"),
        (["--policy", "{}", "--methods", "policy"], "is not an exported policy"),
        (["--methods", "policy"], "needs --policy FOLDER"),
    ],
)
def test_what_is_named_and_is_not_there_is_refused_before_any_work(given, said, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", ["prog", "--look", "", *(each.format(tmp_path) for each in given)])
    monkeypatch.setattr(planning, "evaluate", lambda *_: pytest.fail("it began"))
    assert planning.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_file_that_can_be_written_is_not_left_behind(tmp_path):
    path = tmp_path / "folder" / "found.json"
    assert planning._parser().parse_args(["--json", str(path)]).json == path
    assert list(path.parent.iterdir()) == []
