"""What is said of measured values: median and tail of one run, ratios over pairs of runs.

Comparing two things needs pairs of runs next to each other in time: a machine that changes then changes both.
"""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

Case = TypeVar("Case", bound=Hashable)
Run = TypeVar("Run")
SIDES = ("ours", "theirs")
CONFIDENCE = 0.9


def summary(values_ms: Sequence[float]) -> dict[str, float]:
    """Return median, p99 and count.

    Raises:
        ValueError: There are no values.
    """
    if not values_ms:
        raise ValueError("nothing came back, expected at least one value")
    p50, p99 = np.percentile(np.asarray(values_ms), [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "n": len(values_ms)}


def order(pair: int) -> tuple[str, str]:
    """Return which side runs first; it alternates, so that a slow drift of the machine favours neither."""
    return SIDES if pair % 2 == 0 else (SIDES[1], SIDES[0])


def interleave(pairs: int, cases: Iterable[Case], run: Callable[[str, Case, int], Run]) -> dict[Case, list[list[Run]]]:
    """Run every case on both sides in turn and return each case's pairs, ours first in each.

    Args:
        pairs: How many pairs of runs per case.
        cases: What to compare.
        run: Side, case and number of the pair -> what was measured. The number serves as seed.
    """
    found: dict[Case, list[list[Run]]] = {case: [] for case in cases}
    for pair in range(pairs):
        for case, runs in found.items():
            both = {side: run(side, case, pair) for side in order(pair)}
            runs.append([both[side] for side in SIDES])
    return found


def ratio(pairs: Sequence[Sequence[Mapping[str, float]]], key: str) -> dict[str, float]:
    """Return median and interval of one figure's ratio, ours over theirs, over the pairs: above 1, ours has more.

    Raises:
        ValueError: There are no pairs, or one of the other side's figures is not positive.
    """
    values = []
    for ours, theirs in pairs:
        if not theirs[key] > 0:
            raise ValueError(f"{key} is {theirs[key]}, expected a positive figure to divide by")
        values.append(ours[key] / theirs[key])
    low, high = interval(values)
    return {"median": round(float(np.median(values)), 4), "low": round(low, 4), "high": round(high, 4)}


def of_sides(
    runs: Sequence[Sequence[Mapping[str, float]]], names: Sequence[str], key: str, unit: str
) -> dict[str, Any]:
    """Return each side's median of one figure (``ours_UNIT``), their ratio if there are two, and every run's.

    Args:
        runs: Of each pair one mapping of figures per side.
        names: Of the sides, in that order.
        key: Of the figure.
        unit: For the names of what is returned.
    """
    values = {name: [pair[at][key] for pair in runs] for at, name in enumerate(names)}
    figures: dict[str, Any] = {f"{name}_{unit}": round(float(np.median(each)), 3) for name, each in values.items()}
    if len(names) == len(SIDES):
        figures["ratio"] = ratio(runs, key)
    return figures | {f"runs_{unit}": {name: [round(value, 3) for value in each] for name, each in values.items()}}


def seconds_head(label: str) -> str:
    """Return the head of a table of ``seconds_rows``."""
    return f"{label}{'':5}{'ours [s]':>10}{'theirs [s]':>12}{'ratio':>8}"


def seconds_rows(label: str, figures: Mapping[str, Any]) -> list[str]:
    """Return two rows of a table: wall time, and processor time (``cpu``), both as ``of_sides`` gives them."""
    rows = []
    for kind, each in (("wall", figures), ("cpu", figures["cpu"])):
        theirs = f"{each['theirs_s']:12.2f}" if "theirs_s" in each else f"{'':12}"
        over = f"{each['ratio']['median']:8.3f}" if "ratio" in each else ""
        rows.append(f"{label}{kind:5}{each['ours_s']:10.2f}{theirs}{over}")
    return rows


def interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return an interval that holds the true median with at least this probability, whatever the distribution.

    The narrowest pair of order statistics that does; smallest and largest where there are too few values for any:
    up to four. Five give 94 %.

    Raises:
        ValueError: There are no values.

    Source: the sign test: how many of n values lie below the median is binomial (n, 1/2).
    """
    if not values:
        raise ValueError("no values, expected at least one")
    ranked, count = sorted(values), len(values)
    outside, inner = 1, 0
    # With `inner` values left out at each end, the median lies outside with twice the binomial's lower tail.
    while 2 * outside / 2**count <= 1 - confidence:
        inner += 1
        outside += math.comb(count, inner)
    left_out = max(0, inner - 1)
    return ranked[left_out], ranked[count - 1 - left_out]


def machine() -> dict[str, object]:
    """Return on what this runs."""
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "load_average": round(os.getloadavg()[0], 1),
    }
