"""Costs of the spatial memory, this revision over another: ``scripts/bench memory --against REV``."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import memory_world as mw
from benchmarks.against.sides import Runner
from benchmarks.figures import SIDES, interleave, ratio

WORKER = "benchmarks.against.memory_side"
RATIOS = {
    "query_p50_ratio": "query_p50_ms",
    "batch_ratio": "batch_ms",
    "insert_ratio": "insert_ms",
    "startup_ratio": "startup_s",
    "rss_ratio": "rss_bytes",
}
"""What is reported -> the figure it is made of."""
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def compare(sides: Mapping[str, Runner], sizes: Mapping[str, int], pairs: int, queries: int) -> dict[str, Any]:
    """Return ``{SIZE: {ratio: median and interval}}`` and, beside it, every run's figures.

    Each side fills a store of its own once per size; each run gets a copy of it.

    Args:
        sides: ``ours`` and ``theirs``.
        sizes: Name -> states in the memory.
        pairs: How many pairs of runs per size.
        queries: How many are asked one by one.

    Raises:
        SideError: A side failed.
        ValueError: A side has figures that cannot be divided by.
    """
    ratios, raw = {}, {}
    for name, size in sizes.items():
        with TemporaryDirectory(prefix="bench_against_") as temporary:
            runs = _runs(sides, name, size, pairs, queries, Path(temporary))
        ratios[name] = {key: ratio(runs, figure) for key, figure in RATIOS.items()}
        raw[name] = [dict(zip(SIDES, pair)) for pair in runs]
    return {"ratios": ratios, "runs": raw}


def _runs(
    sides: Mapping[str, Runner], name: str, size: int, pairs: int, queries: int, folder: Path
) -> Sequence[Sequence[dict[str, Any]]]:
    given = folder / "given"
    prepare(size, queries, given)
    for side in SIDES:
        sides[side].run(WORKER, "fill", given, folder / side, **ONE_THREAD)
        print(f"{name}, {side}: filled", file=sys.stderr)

    def run(side: str, case: str, pair: int) -> dict[str, Any]:
        copy = folder / f"{side}-run"
        shutil.copytree(folder / side, copy)
        os.sync()  # else the copy is written while the run waits for the same disk
        found = sides[side].run(WORKER, "measure", given, copy, **ONE_THREAD)
        shutil.rmtree(copy)
        print(f"pair {pair + 1} of {pairs}, {case}, {side}: done", file=sys.stderr)
        return found

    return interleave(pairs, [name], run)[name]


def prepare(size: int, count: int, folder: Path) -> None:
    """Write the world, the queries and the truth.

    Args:
        size: States in the world.
        count: How many queries all over it, and at most 256 around one place.
        folder: Where to; it must not exist.
    """
    folder.mkdir(parents=True)
    world = mw.make_world(size)
    np.savez(folder / "world.npz", **vars(world))
    np.savez(folder / "size.npz", size=size)
    np.savez(folder / "queries.npz", **vars(mw.make_queries(world, count)))
    np.savez(folder / "planner.npz", **vars(mw.make_queries(world, min(count, 256), seed=2, spread_m=1.0)))


def report(ratios: Mapping[str, Any]) -> str:
    """Return the ratios as a table."""
    lines = [f"{'ours / theirs':30}{'median':>8}{'low':>8}{'high':>8}"]
    for size, by_name in ratios.items():
        for name, values in by_name.items():
            figures = "".join(f"{values[key]:8.3f}" for key in ("median", "low", "high"))
            lines.append(f"{size:10}{name.removesuffix('_ratio'):20}{figures}")
    return "\n".join(lines)
