#!/usr/bin/env python3
"""Hold every ``package.xml`` and ``setup.py`` to the file ``VERSION``; with a version, write that one everywhere."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACES = {
    "package.xml": re.compile(r"(?<=<version>)[^<]*(?=</version>)"),
    "setup.py": re.compile(r'(?<=\bversion=")[^"]*(?=")'),
}
FORM = re.compile(r"\d+\.\d+\.\d+")


def wrong(root: Path) -> list[str]:
    """Return a line for each file that gives another version than ``VERSION``, or not exactly one.

    Args:
        root: The repository.
    """
    version = (root / "VERSION").read_text().strip()
    found = []
    for name, place in PLACES.items():
        for path in sorted(root.glob(f"src/*/{name}")):
            given = place.findall(path.read_text())
            if given != [version]:
                found.append(f"{path.relative_to(root)} says {', '.join(given) or 'nothing'}, VERSION says {version}")
    return found


def write(root: Path, version: str) -> None:
    """Write a version into ``VERSION`` and wherever it has to stand.

    Raises:
        ValueError: It is not of the form MAJOR.MINOR.PATCH.
    """
    if not FORM.fullmatch(version):
        raise ValueError(f"version {version!r}, expected MAJOR.MINOR.PATCH")
    (root / "VERSION").write_text(version + "\n")
    for name, place in PLACES.items():
        for path in root.glob(f"src/*/{name}"):
            path.write_text(place.sub(version, path.read_text()))


def main() -> None:
    """Compare, or write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", nargs="?", help="version to write everywhere; default: only compare")
    arguments = parser.parse_args()
    if arguments.version:
        write(ROOT, arguments.version)
    if found := wrong(ROOT):
        raise SystemExit("\n".join(found))
    print(f"version {(ROOT / 'VERSION').read_text().strip()} everywhere")


if __name__ == "__main__":
    main()
