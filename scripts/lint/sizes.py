#!/usr/bin/env python3
"""Print how long the functions and files of each package are, and fail where one is too long.

A function's length is counted from its ``def`` to its last line, docstring included, decorators not. Printed beside
it: the files above 400 lines. Tests are not counted.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 60
MOST_P90 = 22
LONG_FILE = 400


def function_lengths(path: Path) -> Iterator[tuple[int, str]]:
    """Yield length in lines and ``path:line name`` of each function and method of a file, nested ones included."""
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            yield node.end_lineno - node.lineno + 1, f"{shown}:{node.lineno} {node.name}"


def percentile_90(lengths: Sequence[int]) -> int:
    """Return the smallest length that at least nine in ten functions do not exceed; 0 of none."""
    return sorted(lengths)[-(-9 * len(lengths) // 10) - 1] if lengths else 0


def sources() -> dict[str, list[Path]]:
    """Return the Python files of each package, of the benchmarks and of the scripts."""
    found = {path.parent.name: path.parent / path.parent.name for path in sorted(ROOT.glob("src/*/package.xml"))}
    found |= {name: ROOT / name for name in ("benchmarks", "scripts")}
    return {name: files for name, folder in found.items() if (files := sorted(folder.rglob("*.py")))}


def main() -> None:
    """Print a line per package and the offenders; fail where a bound is broken."""
    every: list[tuple[int, str]] = []
    for package, files in sources().items():
        lengths = [each for path in files for each in function_lengths(path)]
        every += lengths
        p90 = percentile_90([length for length, _ in lengths])
        longest = max((length for length, _ in lengths), default=0)
        print(f"{package}: {len(files)} files, {len(lengths)} functions, p90 {p90} lines, longest {longest}")
        for path in files:
            if (count := len(path.read_text().splitlines())) > LONG_FILE:
                print(f"  {path.relative_to(ROOT)} has {count} lines")
    p90 = percentile_90([length for length, _ in every])
    too_long = sorted((each for each in every if each[0] > MOST_LINES), reverse=True)
    print(f"all: {len(every)} functions, p90 {p90} lines, {len(too_long)} of more than {MOST_LINES}")
    for length, where in too_long:
        print(f"  {where} has {length} lines")
    if too_long or p90 > MOST_P90:
        raise SystemExit(f"functions: none may have more than {MOST_LINES} lines, and p90 may be {MOST_P90} at most")


if __name__ == "__main__":
    main()
