"""From the kill of latent_publisher or transition_predictor to the next undegraded /latent_next."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.against import sides
from benchmarks.against.restart_side import NODES
from benchmarks.figures import SIDES, interleave, of_sides, seconds_head, seconds_rows

WORKER = "benchmarks.against.restart_side"
FIGURE = "again_s"


def compare(both: Mapping[str, sides.Runner], pairs: int) -> dict[str, Any]:
    """Return ``{NODE: figures}``: seconds of each side, their ratio, and every run's; processor time under ``cpu``.

    Args:
        both: ``ours``, and ``theirs`` where there is something to compare with.
        pairs: How many kills of each node on each side.

    Raises:
        SideError: A side failed.
    """

    def run(side: str, node: str, pair: int) -> dict[str, Any]:
        figures = both[side].run(WORKER, node)
        print(f"kill {pair + 1} of {pairs}, {node}, {side}: {figures[FIGURE]:.2f} s", file=sys.stderr)
        return figures

    if len(both) == len(SIDES):
        runs = interleave(pairs, NODES, run)
    else:
        runs = {node: [[run("ours", node, pair)] for pair in range(pairs)] for node in NODES}
    names = list(both)
    return {
        node: of_sides(runs[node], names, FIGURE, "s") | {"cpu": of_sides(runs[node], names, "cpu_s", "s")}
        for node in NODES
    }


def report(found: Mapping[str, Any]) -> str:
    """Return the figures as a table."""
    rows = (seconds_rows(f"{node:22}", figures) for node, figures in found.items())
    return "\n".join([seconds_head(f"{'killed':22}"), *chain.from_iterable(rows)])


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="scripts/bench restart", description=__doc__.split("\n", 1)[0])
    sides.add_arguments(parser)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    try:
        found = compare(sides.opened(options), options.pairs)
    except sides.SideError as error:
        raise SystemExit(f"bench: {error}") from error
    print(report(found))
    sides.write(options, {"restart": found})


if __name__ == "__main__":
    main()
