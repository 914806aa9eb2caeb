"""The rooms inside a package: each folder imports only from folders before it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
ROOMS = {
    "policy_runner": [
        ["chunks", "goals", "latency", "outcomes", "pace", "stalled", "touched"],
        ["braking", "following", "policies"],
        ["drives", "execution"],
        ["drift"],
        ["nearest_drive", "job"],
        ["estimate", "exported", "localised"],
        ["choice", "situation"],
        ["params"],
        ["inference", "messages"],
        ["accepting"],
        ["node"],
    ],
    "spatial_memory": [
        ["settings", "model"],
        ["drawing", "geometry"],
        ["index"],
        ["store"],
        ["embedded"],
        ["region"],
        ["qdrant"],
        ["factory", "params", "messages"],
        ["album", "answering"],
        ["changing", "looks"],
        ["keeping"],
        ["standing"],
        ["node"],
    ],
    "wm_core": [
        ["databases", "digests", "drawing", "errors", "moved", "se2", "se3", "standing_back", "words"],
        ["projection", "bounds", "limits"],
        ["timeline", "images", "sources", "memory"],
        ["alignment", "bags"],
    ],
    "world_model": [
        ["errors"],
        ["typed_config", "optional"],
        ["runtime"],
        ["models"],
        ["data"],
        ["export"],
        ["training"],
        ["evaluation"],
        ["commands"],
        ["cli"],
    ],
}
"""Package -> its folders and modules, the lowest first."""
ASIDE = {"world_model": {"extras": "evaluation"}}
"""Package -> folders that are imported within functions only -> the first room that they may not import from."""


def imports(path: Path, package: str) -> Iterator[tuple[str, bool]]:
    """Yields each folder or module of the package that a file imports, and whether it does so within a function."""
    tree = ast.parse(path.read_text())
    within = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == package else [node.module]
        else:
            continue
        for name in names:
            if name.startswith(f"{package}."):
                yield name.split(".")[1], id(node) in within


def files(package: str) -> Iterator[tuple[str, Path]]:
    """Yields the room and the path of every module but the package's own ``__init__``."""
    root = SOURCE / package / package
    for path in sorted(root.rglob("*.py")):
        room = path.relative_to(root).parts[0].removesuffix(".py")
        if room != "__init__":
            yield room, path


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_every_module_has_its_room(package):
    known = {room for floor in ROOMS[package] for room in floor} | set(ASIDE.get(package, {}))
    assert {room for room, _ in files(package)} == known


@pytest.mark.slow
@pytest.mark.parametrize("package", sorted(ROOMS))
def test_rooms_import_only_from_rooms_before_them(package):
    height = {room: number for number, floor in enumerate(ROOMS[package]) for room in floor}
    aside = ASIDE.get(package, {})
    for room, path in files(package):
        limit = height[aside[room]] if room in aside else height[room]
        for name, is_within in imports(path, package):
            if name != room:
                allowed = is_within if name in aside else height[name] < limit
                assert allowed, f"{path.relative_to(SOURCE)} imports {package}.{name}"
