"""Ages and processor time of the graph, this revision over another: ``scripts/bench graph --against REV``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.against.graph_side import FORMS, SIMULATOR, Run
from benchmarks.against.sides import Runner
from benchmarks.driver import SIZES
from benchmarks.figures import SIDES, interleave, ratio

ALL_SIZES = (SIMULATOR, *SIZES)
RATIOS = {
    "latent_age_p50_ratio": ("latent_age_ms", "p50"),
    "latent_next_age_p50_ratio": ("latent_next_age_ms", "p50"),
    "latent_next_age_p99_ratio": ("latent_next_age_ms", "p99"),
    "cpu_ratio": ("cpu_percent", ""),
}
"""What is reported -> where it stands in one run's figures."""


def compare(
    sides: Mapping[str, Runner], sizes: Sequence[str], pairs: int, seconds: float, warm_up_s: float
) -> dict[str, Any]:
    """Return ``{SIZE: {ratio: {form: median and interval}}}`` and, beside it, every run's figures.

    Args:
        sides: ``ours`` and ``theirs``.
        sizes: Of ``ALL_SIZES``.
        pairs: How many pairs of runs per size and form; a pair shares its seed.
        seconds: How long each run counts [s].
        warm_up_s: For so long before, it does not [s].

    Raises:
        SideError: A side failed.
        ValueError: A size is unknown, or a side has figures that cannot be divided by.
    """
    unknown = sorted(set(sizes) - set(ALL_SIZES))
    if unknown:
        raise ValueError(f"sizes {unknown}, expected some of {list(ALL_SIZES)}")

    def run(side: str, case: tuple[str, str], pair: int) -> dict[str, Any]:
        size, form = case
        wanted = Run(form=form, size=size, seconds=seconds, warm_up_s=warm_up_s, seed=pair)
        found = sides[side].run("benchmarks.against.graph_side", json.dumps(asdict(wanted)))
        print(f"pair {pair + 1} of {pairs}, {size}, {form}, {side}: done", file=sys.stderr)
        return found

    runs = interleave(pairs, [(size, form) for size in sizes for form in FORMS], run)
    flat = {case: [[flattened(each) for each in pair] for pair in found] for case, found in runs.items()}
    ratios = {
        size: {name: {form: ratio(flat[size, form], name) for form in FORMS} for name in RATIOS} for size in sizes
    }
    raw = {size: {form: [dict(zip(SIDES, pair)) for pair in runs[size, form]] for form in FORMS}
           for size in sizes}  # fmt: skip
    encoders = {side: sorted({str(pair[at].get("encoder_id", "")) for found in runs.values() for pair in found})
                for at, side in enumerate(SIDES)}  # fmt: skip
    if encoders["ours"] != encoders["theirs"]:
        print(f"the sides ran other models, their encoders are {encoders}: see WM_CHECKPOINT_PATH", file=sys.stderr)
    return {"ratios": ratios, "runs": raw, "encoders": encoders}


def flattened(run: Mapping[str, Any]) -> dict[str, float]:
    """Return one run's figures by the name of the ratio that they go into."""
    return {name: float(run[key][part] if part else run[key]) for name, (key, part) in RATIOS.items()}


def report(ratios: Mapping[str, Any]) -> str:
    """Return the ratios as a table."""
    lines = [f"{'ours / theirs':40}{'median':>8}{'low':>8}{'high':>8}"]
    for size, by_name in ratios.items():
        for name, by_form in by_name.items():
            for form, values in by_form.items():
                figures = "".join(f"{values[key]:8.3f}" for key in ("median", "low", "high"))
                lines.append(f"{size:11}{name.removesuffix('_ratio'):20}{form:9}{figures}")
    return "\n".join(lines)
