#!/usr/bin/env python3
"""Print the order of the folders inside each package, lowest first, and fail where two import one another.

The hall, which is the files directly in the package's folder, is one more folder: ``.``. The package's ``__init__``,
which names what others may use, is left out.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from import_chains import SOURCE, import_graph, module_names


def folder_imports(root: Path) -> dict[str, set[str]]:
    """Return which folders of a package each of its folders imports from.

    Args:
        root: The package's folder.
    """
    files = module_names(root)
    folder = {name: str(path.parent.relative_to(root)) for name, path in files.items() if name != root.name}
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
        if len(imports) < 2:
            continue
        try:
            print(f"{package}: {' < '.join(TopologicalSorter(imports).static_order())}")
        except CycleError as error:
            circles.append(f"{package}: {' > '.join(error.args[1])}")
    if circles:
        raise SystemExit("folders that import one another: " + "; ".join(circles))


if __name__ == "__main__":
    main()
