"""The nodes use of rclpy only what Humble's and Jazzy's have, or fall back; no processor is assumed.

``rclpy_names.json`` lists, by distribution and module, those names we import that its sources have (Humble: rclpy
3.3.15, Jazzy: 7.1.6). A name that is not listed is to be looked up there, and listed, or imported with a fallback.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KNOWN = json.loads((Path(__file__).parent / "rclpy_names.json").read_text())
FILES = sorted(path for path in (ROOT / "src").glob("*/*/**/*.py") if "test" not in path.parts)
# Classes that take no type in brackets before Kilted.
PLAIN = ("Publisher", "Subscription", "Client", "Service", "Future", "Task", "Parameter", "Waitable")


def outside_fallbacks(tree: ast.Module) -> Iterator[ast.ImportFrom]:
    """Yields the imports from rclpy that no ``except ImportError`` follows."""
    guarded = {id(node) for outer in ast.walk(tree) if isinstance(outer, ast.Try) for node in ast.walk(outer)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rclpy.") and id(node) not in guarded:
            yield node


def in_annotations(tree: ast.Module) -> set[int]:
    """Returns what is never computed: annotations, and what only type checkers read."""
    found: set[int] = set()
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = node.args
            every = [*arguments.args, *arguments.kwonlyargs, *arguments.posonlyargs, arguments.vararg, arguments.kwarg]
            parts = [node.returns, *(each.annotation for each in every if each)]
        elif isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            parts = list(node.body)
        found.update(id(inner) for part in parts if part for inner in ast.walk(part))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("distribution", sorted(KNOWN))
def test_what_is_imported_is_there(distribution):
    known = KNOWN[distribution]
    for path in FILES:
        for node in outside_fallbacks(ast.parse(path.read_text())):
            missing = {alias.name for alias in node.names} - set(known.get(node.module, ()))
            assert not missing, (
                f"{path.relative_to(ROOT)}:{node.lineno}: {distribution}'s {node.module} has no {missing}"
            )


@pytest.mark.slow
def test_no_class_is_given_a_type_that_only_kilted_takes():
    for path in FILES:
        tree = ast.parse(path.read_text())
        imported = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rclpy.")
            for alias in node.names
        }
        unread = in_annotations(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and id(node) not in unread:
                bad = node.value.id in imported and node.value.id in PLAIN
                assert not bad, f"{path.relative_to(ROOT)}:{node.lineno}: {node.value.id}[...] is computed"


def test_annotations_are_never_computed():
    for path in FILES:
        text = path.read_text()
        if "from rclpy" in text:
            assert "from __future__ import annotations" in text, path.relative_to(ROOT)


def test_the_compiled_part_asks_for_no_processor():
    source = (ROOT / "src/wm_core/wm_core/memory/_kernels.c").read_text()
    settings = (ROOT / "src/wm_core/setup.py").read_text()
    assert "-march" not in settings
    assert "-mavx" not in settings
    assert "immintrin.h" not in source
    for line in source.splitlines():
        if "target_clones" in line:
            assert "#if defined(__x86_64__)" in source
