"""``wm memory``: copies, checks and mends the file of a memory, and carries parts of it to other robots."""

from __future__ import annotations

import argparse
import contextlib
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from spatial_memory.region.export import export_region
from spatial_memory.region.merge import import_region
from spatial_memory.store.names import check_beside
from spatial_memory.store.recovery import recover, replace_by, start_anew
from spatial_memory.store.snapshots import copy_to
from spatial_memory.store.verify import verified
from wm_core.databases import open_database
from wm_core.memory.errors import SpatialMemoryError, StoreError
from wm_core.words import counted

EXIT_REFUSED = 2


def backup(path: Path, target: Path) -> int:
    """Write one whole, checked copy of a file, also while a node uses it, and return how many records it holds.

    Copying the file by other means loses what its log holds, or catches it half written.

    Raises:
        StoreError: The file cannot be read, is damaged, or the copy cannot be written.
    """
    path = path.expanduser().resolve()
    check_beside(target.name)
    verified(path)
    try:
        with contextlib.closing(open_database(f"{path.as_uri()}?mode=ro", uri=True)) as source:
            copy_to(source, target.expanduser())
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    return verified(target).records


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("backup", help="write a whole, checked copy; a node may be using the file")
    one.add_argument("path", type=Path, help="the memory's file")
    one.add_argument("target", type=Path, help="the copy; only one of a memory is replaced")
    one = commands.add_parser("verify", help="check every row of a memory, backup or snapshot; it is only read")
    one.add_argument("path", type=Path)
    one = commands.add_parser("mend", help="let a memory start again that was refused; what is there is put aside")
    one.add_argument("path", type=Path, help="the memory's file; no node may be using it")
    ways = one.add_mutually_exclusive_group()
    ways.add_argument("--from", dest="source", type=Path, help="put this backup or snapshot in its place")
    ways.add_argument("--empty", action="store_true", help="give up what it held")
    one = commands.add_parser("export-region", help="write what lies in an area to a file for other robots")
    one.add_argument("path", type=Path, help="the memory's file; a node may be using it")
    one.add_argument("target", type=Path, help="the region; only one is replaced")
    one.add_argument("--area", type=float, nargs=4, default=(), metavar=("X0", "Y0", "X1", "Y1"),
                     help="least x and y, most x and y [m]; everything without it")  # fmt: skip
    one.add_argument("--session", default="", help="only records of this session")
    one = commands.add_parser("import-region", help="add another robot's region; once more adds nothing")
    one.add_argument("path", type=Path, help="the memory's file; no node may be using it; it may be new")
    one.add_argument("source", type=Path, help="the region")
    return parser


def _export(options: argparse.Namespace) -> str:
    region, size = export_region(options.path, options.target, options.area, options.session)
    how = "" if region.has_latents else ", latents follow from features"
    held = f"{counted(len(region), 'record')} in {counted(len(region.manifest.sessions), 'session')}"
    return (f"{options.target}: {held}, "
            f"{size / 1e6:.1f} MB, {size / len(region):.0f} bytes each{how}")  # fmt: skip


def _import(options: argparse.Namespace) -> str:
    merged = import_region(options.source, options.path)
    how = ", projected for this memory's encoder" if merged.is_projected else ""
    return (
        f"{options.path}: added {counted(merged.added, 'record')} of {options.source}, {merged.known} were known{how}"
    )


def _mend(options: argparse.Namespace) -> str:
    path = options.path.expanduser().resolve()
    if options.empty:
        start_anew(path)
        return f"{path}: the next start begins with an empty memory"
    if options.source is not None:
        return f"{path}: {counted(replace_by(path, options.source), 'record')} of {options.source}"
    return f"{path}: kept {counted(recover(path), 'record')}"


def main(arguments: Sequence[str] | None = None, prog: str = "wm memory") -> int:
    """Run the command line and return its exit code: 0, or 2 with one line that says what is wrong."""
    options = _parser(prog).parse_args(arguments)
    try:
        if options.command == "backup":
            text = f"{options.target}: {counted(backup(options.path, options.target), 'record')}"
        elif options.command == "verify":
            found = verified(options.path)
            text = (f"{options.path}: {counted(found.records, 'record')} in {counted(found.sessions, 'session')}, "
                    f"encoder {found.encoder_id or 'open'}, transaction {found.number}: whole")  # fmt: skip
        else:
            text = {"mend": _mend, "export-region": _export, "import-region": _import}[options.command](options)
    except (SpatialMemoryError, OSError, sqlite3.Error) as error:
        print(f"{prog}: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_REFUSED
    print(text)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
