"""Time from the start of the processes to the first /latent_next, with an empty and with a full memory.

Beside it the processor time that they took by then, which other work on the machine changes less, and their memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.against import sides
from benchmarks.against.graph_side import FORMS
from benchmarks.figures import SIDES, interleave, machine, ratio
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
    wall = _figure(runs, names, FIGURE, "s")
    return wall | {"cpu": _figure(runs, names, "cpu_s", "s"), "rss": _figure(runs, names, "rss_mb", "mb")}


def _figure(runs: Sequence[Sequence[Mapping[str, float]]], names: Sequence[str], key: str, unit: str) -> dict[str, Any]:
    """Return each side's median of one figure, their ratio, and every run's."""
    values = {name: [pair[at][key] for pair in runs] for at, name in enumerate(names)}
    figures: dict[str, Any] = {f"{name}_{unit}": round(float(np.median(each)), 3) for name, each in values.items()}
    if len(names) == len(SIDES):
        figures["ratio"] = ratio(runs, key)
    return figures | {f"runs_{unit}": {name: [round(value, 3) for value in each] for name, each in values.items()}}


def report(found: Mapping[str, Any]) -> str:
    """Return the figures as a table."""
    lines = [f"{'records':10}{'form':10}{'':5}{'ours [s]':>10}{'theirs [s]':>12}{'ratio':>8}"]
    for records, by_form in found.items():
        for form, figures in by_form.items():
            for kind, each in (("wall", figures), ("cpu", figures["cpu"])):
                theirs = f"{each['theirs_s']:12.2f}" if "theirs_s" in each else f"{'':12}"
                over = f"{each['ratio']['median']:8.3f}" if "ratio" in each else ""
                lines.append(f"{records:10}{form:10}{kind:5}{each['ours_s']:10.2f}{theirs}{over}")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="scripts/bench start", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--records", default="0,1m", help="in the memory, comma-separated, such as 0,10k,1m")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    sides.add_arguments(parser)
    options = parser.parse_args()
    open_sides = partial(sides.both, options.against, options.cache) if options.against else sides.ours
    try:
        found = compare(open_sides(), options.records.split(","), options.pairs)
    except (sides.SideError, ValueError) as error:
        raise SystemExit(f"bench: {error}") from error
    print(report(found))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        head = {"rev": sides.short(options.against)} if options.against else {}
        options.json.write_text(json.dumps({"start": found, **head, "machine": machine()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
