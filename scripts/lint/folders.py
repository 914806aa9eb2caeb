#!/usr/bin/env python3
"""Print the order of the folders inside each package, lowest first, and fail where two import one another.

A module directly in the package's folder is a room of its own. The package's ``__init__``, which names what others may
use, is left out.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from import_chains import SOURCE, import_graph, module_names


def _room(path: Path) -> str:
    """Returns the folder that a module lies in; a module that lies in none is a room of its own."""
    return str(path.parent) if path.parent.parts else path.stem


def folder_imports(root: Path) -> dict[str, set[str]]:
    """Return which folders of a package, and modules beside them, each of its folders and such modules imports from.

    Args:
        root: The package's folder.
    """
    files = module_names(root)
    folder = {name: _room(path.relative_to(root)) for name, path in files.items() if name != root.name}
    found: dict[str, set[str]] = {each: set() for each in folder.values()}
    for name, imported in import_graph(root).items():
        if name in folder:
            found[folder[name]] |= {folder[each] for each in imported if each in folder} - {folder[name]}
    return found


def main() -> None:
    """Print one line per package that has folders, and fail where imports run both ways."""
    circles = []
    for path in sorted(SOURCE.glob("*/package.xml")):
        package = path.parent.name
        imports = folder_imports(path.parent / package)
        try:
            order = list(TopologicalSorter(imports).static_order())
            if any((path.parent / package / room).is_dir() for room in order):
                print(f"{package}: {' < '.join(order)}")
        except CycleError as error:
            circles.append(f"{package}: {' > '.join(error.args[1])}")
    if circles:
        raise SystemExit("folders that import one another: " + "; ".join(circles))


if __name__ == "__main__":
    main()
