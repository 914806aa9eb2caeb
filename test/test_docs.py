"""What the documentation points to is there: files, sections, scripts, commands, options, launch files, executables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_NOT_OURS = {"build", "install", "log", "out", "shared", "node_modules"}
# Of machines, not of systems: a distribution's ``/opt/ros`` is where it says it is.
_MACHINE_PATH = re.compile(r"(?<![\w.$}/:])/(?:home|root|Users|work|mnt|media|tmp)/\w")
# Not what a program looks up and calls: TABLE["name"](argument).
_LINK = re.compile(r"(?<!\w)\[[^]\[]*\]\(([^)\s]+)\)")
_SCRIPT = re.compile(r"(?<![\w/.])scripts/([\w/]+(?:\.\w+)?)(?: ([a-z][\w]*)\b)?")
_WM = re.compile(r"(?<![\w/.-])wm ([a-z]+)\b((?:[^`|\n]|\|(?=\S))*)")
_ALIAS = re.compile(r"(?<![\w/.-])wm-[a-z]+\b")
_ROS = re.compile(r"\bros2 (run|launch) ([a-z]\w+) ([a-z][\w.]+)")
_TEST = re.compile(r"`(?:[\w/]+/)?(test_\w+\.py)`")
_CITED = re.compile(r"`((?:benchmarks|config|decisions|docker|docs|launch|reports|scripts|src|test)/[\w./-]+)`")


def pages(*, dated: bool = True) -> list[Path]:
    """Returns the Markdown files, with or without reports: what those name was there on their day."""
    found = [
        path
        for path in sorted(ROOT.rglob("*.md"))
        if not any(part in _NOT_OURS or part.startswith(".") for part in path.relative_to(ROOT).parts)
    ]
    return [path for path in found if dated or "reports" not in path.parts]


def matches(pattern: re.Pattern[str], *, dated: bool = False) -> Iterator[tuple[str, Path, re.Match[str]]]:
    for path in pages(dated=dated):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for match in pattern.finditer(line):
                yield f"{path.relative_to(ROOT)}:{number} {match[0]}", path, match


@cache
def anchors(path: Path) -> set[str]:
    """Returns the sections of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def leads_somewhere(page: Path, target: str) -> bool:
    """Returns whether a link of a page leads to a file of this repository, and to a section that is there."""
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    return path.is_relative_to(ROOT) and path.exists() and (not anchor or anchor in anchors(path))


@cache
def console_scripts(package: str) -> set[str]:
    """Returns the executables of a package, from its ``setup.py`` or ``CMakeLists.txt``."""
    folder = ROOT / "src" / package
    if not (folder / "setup.py").is_file():
        return set()
    tree = ast.parse((folder / "setup.py").read_text())
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return {text.split("=")[0].strip() for text in texts if re.fullmatch(r"[\w-]+ ?= ?[\w.]+:\w+", text)}


def executables(package: str) -> set[str]:
    return console_scripts(package) | {path.stem for path in (ROOT / "src" / package / "scripts").glob("*")}


@cache
def wm_commands() -> set[str]:
    tree = ast.parse((ROOT / "src/world_model/world_model/cli.py").read_text())
    tables = [node.value for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)]
    return {str(ast.literal_eval(key)) for table in tables for key in table.keys if key is not None}


@cache
def wm_source() -> str:
    files = [
        *(ROOT / "src/world_model/world_model/commands").glob("*.py"),
        *(ROOT / "src").glob("*/*/*/command.py"),
    ]
    return "\n".join(path.read_text() for path in files)


@pytest.mark.slow
def test_links_lead_somewhere():
    links = [(where, page, match[1]) for where, page, match in matches(_LINK, dated=True)]
    assert len(links) > 50
    assert [where for where, page, to in links if "://" not in to and not leads_somewhere(page, to)] == []


@pytest.mark.slow
def test_what_is_cited_by_its_path_is_there():
    wrong = []
    for where, page, match in matches(_CITED, dated=True):
        bases = (ROOT, ROOT / "docs", page.parent, ROOT / "src/world_model")
        if not any((base / match[1].rstrip("./")).exists() for base in bases) and "NODE" not in match[1]:
            wrong.append(where)
    named = {match[1]: where for where, _, match in matches(_TEST, dated=True)}
    tests = {path.name for path in ROOT.rglob("test/**/test_*.py")}
    assert wrong + [where for name, where in named.items() if name not in tests] == []


def test_modules_that_are_named_are_there():
    packages = "|".join(path.parent.name for path in ROOT.glob("src/*/package.xml"))
    named = re.compile(rf"`((?:{packages})(?:\.\w+)+)(?:\(\))?`")
    found = [(where, match[1]) for where, _, match in matches(named) if not match[1].endswith(".pt")]
    assert len(found) > 10
    assert [where for where, name in found if not is_module_or_in_one(name)] == []


def is_module_or_in_one(name: str) -> bool:
    """Returns whether a dotted name leads to a module of ours, or to a word in one."""
    package, *parts = name.split(".")
    path = ROOT / "src" / package / package
    while parts and ((path / parts[0]).is_dir() or (path / f"{parts[0]}.py").is_file()):
        path = path / parts[0] if (path / parts[0]).is_dir() else path / f"{parts[0]}.py"
        parts = parts[1:]
    source = path if path.is_file() else path / "__init__.py"
    return not parts or (source.is_file() and re.search(rf"\b{parts[0]}\b", source.read_text()) is not None)


def test_nothing_names_a_path_of_one_machine():
    assert [where for where, _, _ in matches(_MACHINE_PATH, dated=True)] == []
    raw = [path for path in (ROOT / "docs").rglob("*.json") if _MACHINE_PATH.search(path.read_text())]
    assert [str(path.relative_to(ROOT)) for path in raw] == []


def test_scripts_and_benchmarks_are_there():
    named = [(where, match[1], match[2]) for where, _, match in matches(_SCRIPT)]
    assert len(named) > 20
    wrong = [where for where, script, _ in named if not (ROOT / "scripts" / script).exists()]
    wrong += [w for w, script, name in named if script == "bench" and name and not benchmark(name)]
    assert wrong == []


def benchmark(name: str) -> bool:
    return (ROOT / f"benchmarks/{name}.py").is_file()


@pytest.mark.slow
def test_commands_and_their_options_are_there():
    named = [(where, match[1], match[2]) for where, _, match in matches(_WM)]
    assert {name for _, name, _ in named} >= {"data", "train", "evaluate", "export", "slow"}
    assert [where for where, name, _ in named if name not in wm_commands()] == []
    options = [(where, option) for where, _, rest in named for option in re.findall(r"(?<![\w-])--[a-z][\w-]+", rest)]
    # Made from the names of topics.
    known = wm_source() + '"--image-topic" "--pose-topic" "--action-topic"'
    assert [f"{where}: {option}" for where, option in options if f'"{option}"' not in known] == []
    aliases = [(where, match[0]) for where, _, match in matches(_ALIAS)]
    assert [where for where, name in aliases if name not in console_scripts("world_model")] == []


def test_what_ros_is_asked_to_start_is_there():
    wrong = []
    for where, _, match in matches(_ROS):
        verb, package, name = match.groups()
        installed = (ROOT / "src" / package / "package.xml").is_file()
        there = executables(package) if verb == "run" else {path.name for path in ROOT.glob("launch/*.launch.py")}
        if not installed or name not in there:
            wrong.append(where)
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "pattern", "found"),
    [
        ("kept in /home/someone/data", _MACHINE_PATH, True),
        ("from `/tmp/x`", _MACHINE_PATH, True),
        ("`/opt/ros/jazzy`, `$HOME/tmp/x`, `https://x.org/home/y`", _MACHINE_PATH, False),
        ("see [this](no/where.md)", _LINK, True),
        ("`wm evaluate A B --oracle`", _WM, True),
        ("`scripts/bench oracle`", _SCRIPT, True),
        ("`ros2 run wm_sim oracle`", _ROS, True),
    ],
)
def test_the_checks_see_what_they_are_there_for(text, pattern, found):
    assert bool(pattern.search(text)) == found
    if pattern is _LINK:
        assert not leads_somewhere(ROOT / "README.md", "no/where.md")
        assert not leads_somewhere(ROOT / "README.md", "docs/internals/models.md#no-such-section")
        assert not leads_somewhere(ROOT / "README.md", "../outside.md")


def test_a_module_that_moved_is_seen():
    assert is_module_or_in_one("world_model.runtime.predictor.Predictor")
    assert not is_module_or_in_one("world_model.runtime.oracle")
    assert not is_module_or_in_one("world_model.runtime.predictor.Oracle")
