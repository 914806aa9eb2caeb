#!/usr/bin/env python3
"""Print the longest chain of imports inside each package, and how many files lie in its hall.

A chain goes from module to module by any import in the source: at the top of the file, inside a function, or only for
types. Modules that import one another in a circle count together, as one link of as many modules. With ``--most`` and
``--most-in-hall`` the command fails where a package has more. The hall is the
package's own folder, without those below.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"
Graph = Mapping[str, frozenset[str]]


def module_names(root: Path) -> dict[str, Path]:
    """Return the file of each module of a package by dotted name; a folder's ``__init__`` has the folder's name."""
    names = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


@cache
def imported_packages(path: Path) -> frozenset[str]:
    """Return the top-level names of all modules that a file imports, wherever in it, but for relative ones."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return frozenset(names)


def import_graph(root: Path) -> dict[str, frozenset[str]]:
    """Return which modules of a package each of its modules imports.

    Args:
        root: The package's folder.
    """
    names = module_names(root)
    return {
        name: frozenset(each for each in _imported(path, name, names) if each in names and each != name)
        for name, path in names.items()
    }


def _imported(path: Path, module: str, names: Mapping[str, Path]) -> Iterator[str]:
    """Yield the dotted names that a file imports from; of a folder that modules are imported from, those modules."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - max(0, node.level - 1)]
            base = ".".join([*(above if node.level else ()), *([node.module] if node.module else ())])
            whole = [f"{base}.{alias.name}" for alias in node.names]
            yield from (name if name in names else base for name in whole)


def _reachable(graph: Graph, start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for each in graph[waiting.pop()] - found:
            found.add(each)
            waiting.append(each)
    return found


def longest_chain(graph: Graph) -> list[str]:
    """Return the modules of the longest chain of imports, the importing ones first.

    Args:
        graph: As ``import_graph`` returned it.
    """
    reached = {name: _reachable(graph, name) for name in graph}
    circle = {name: frozenset({name} | {each for each in reached[name] if name in reached[each]}) for name in graph}

    @cache
    def longest(modules: frozenset[str]) -> tuple[str, ...]:
        below = {circle[each] for name in modules for each in graph[name]} - {modules}
        chains: list[tuple[str, ...]] = [(), *map(longest, below)]
        return (*sorted(modules), *max(chains, key=len))

    chains: list[tuple[str, ...]] = [(), *map(longest, circle.values())]
    best: tuple[str, ...] = max(chains, key=len)
    return list(best)


def main() -> None:
    """Print one line per package, and fail where a chain is too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="*", help="names of packages; default: all")
    parser.add_argument("--most", type=int, help="most modules that a chain may have")
    parser.add_argument("--most-in-hall", type=int, help="most files that a hall may have")
    arguments = parser.parse_args()
    packages = arguments.packages or sorted(path.parent.name for path in SOURCE.glob("*/package.xml"))
    too_much = []
    for package in packages:
        root = SOURCE / package / package
        if not root.is_dir():
            continue
        chain = longest_chain(import_graph(root))
        short = [name.removeprefix(f"{package}.") for name in chain]
        hall = len(list(root.glob("*.py")))
        print(f"{package}: {len(chain)} modules, {hall} in its hall: {' > '.join(short)}")
        if arguments.most is not None and len(chain) > arguments.most:
            too_much.append(f"{package}'s chain has {len(chain)} modules, at most {arguments.most} are allowed")
        if arguments.most_in_hall is not None and hall > arguments.most_in_hall:
            too_much.append(f"{package}'s hall has {hall} files, at most {arguments.most_in_hall} are allowed")
    if too_much:
        raise SystemExit("; ".join(too_much))


if __name__ == "__main__":
    main()
