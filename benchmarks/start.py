"""Time from the start of the processes to the first /latent_next, with an empty and with a full memory.

Beside it the processor time that they took by then, which other work on the machine changes less, and their memory.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.against import sides
from benchmarks.against.graph_side import FORMS
from benchmarks.figures import SIDES, interleave, of_sides, seconds_head, seconds_rows
from benchmarks.memory import parse_size

WORKER = "benchmarks.against.start_side"
FIGURE = "first_prediction_s"


def compare(both: Mapping[str, sides.Runner], sizes: Sequence[str], pairs: int) -> dict[str, Any]:
    """Return ``{RECORDS: {form: figures}}``: seconds of each side, their ratio, and every run's.

    Args:
        both: ``ours``, and ``theirs`` where there is something to compare with.
        sizes: Records in the memory, such as ``0`` and ``1m``.
        pairs: How many starts of each side and form.

    Raises:
        SideError: A side failed.
    """
    found: dict[str, Any] = {}
    for name in sizes:
        with TemporaryDirectory(prefix="bench_start_") as temporary:
            folder = Path(temporary)
            for side, runner in both.items():
                runner.run(WORKER, "fill", parse_size(name), folder / side)
                print(f"{name}, {side}: filled", file=sys.stderr)
            found[name] = _measured(both, pairs, folder)
    return found


def _measured(both: Mapping[str, sides.Runner], pairs: int, folder: Path) -> dict[str, Any]:
    def run(side: str, form: str, pair: int) -> dict[str, Any]:
        copy = folder / f"{side}-run"
        shutil.copytree(folder / side, copy)
        os.sync()  # else the copy is written while the run waits for the same disk
        figures = both[side].run(WORKER, "start", form, copy)
        shutil.rmtree(copy)
        print(f"start {pair + 1} of {pairs}, {form}, {side}: {figures[FIGURE]:.2f} s", file=sys.stderr)
        return figures

    if len(both) == len(SIDES):
        runs = interleave(pairs, FORMS, run)
    else:
        runs = {form: [[run("ours", form, pair)] for pair in range(pairs)] for form in FORMS}
    return {form: _figures(runs[form], list(both)) for form in FORMS}


def _figures(runs: Sequence[Sequence[Mapping[str, float]]], names: Sequence[str]) -> dict[str, Any]:
    wall = of_sides(runs, names, FIGURE, "s")
    return wall | {"cpu": of_sides(runs, names, "cpu_s", "s"), "rss": of_sides(runs, names, "rss_mb", "mb")}


def report(found: Mapping[str, Any]) -> str:
    """Return the figures as a table."""
    lines = [seconds_head(f"{'records':10}{'form':10}")]
    for records, by_form in found.items():
        for form, figures in by_form.items():
            lines += seconds_rows(f"{records:10}{form:10}", figures)
    return "\n".join(lines)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="scripts/bench start", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--records", default="0,1m", help="in the memory, comma-separated, such as 0,10k,1m")
    sides.add_arguments(parser)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    try:
        found = compare(sides.opened(options), options.records.split(","), options.pairs)
    except (sides.SideError, ValueError) as error:
        raise SystemExit(f"bench: {error}") from error
    print(report(found))
    sides.write(options, {"start": found})


if __name__ == "__main__":
    main()
