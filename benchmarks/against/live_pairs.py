"""Live errors of this revision over other sides', in turns on the same recordings: ``live_offline --against``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.against.sides import Runner
from benchmarks.figures import ratio

OURS, WAITS = "ours", "waits"
"""This revision as it is, and with each state waiting for its measured pose."""
POSE_WAIT_S = 0.02
WORKER = "benchmarks.against.live_side"
HORIZONS = ("0.05", "1.0")
VISITS = ("revisit", "first")
Runs = Mapping[str, Sequence[Mapping[str, dict[str, Any]]]]


def turns(
    sides: Mapping[str, Runner], recordings: Mapping[str, Path], model_path: str, pairs: int
) -> dict[str, list[dict[str, dict[str, Any]]]]:
    """Return what each side's graph said of each recording, run by run: ``{RECORDING: [{SIDE: figures}]}``.

    Which side comes first changes from run to run, so that a slow drift of the machine favours none.

    Args:
        sides: ``ours`` and others; ``waits`` runs with ``pose_wait_s`` of 0.02.
        recordings: Name -> recording.
        model_path: Artifact.
        pairs: How often each runs.

    Raises:
        SideError: A side failed.
    """
    found: dict[str, list[dict[str, dict[str, Any]]]] = {name: [] for name in recordings}
    names = list(sides)
    for pair in range(pairs):
        for recording, path in recordings.items():
            first = pair % len(names)
            run = {}
            for side in (*names[first:], *names[:first]):
                waiting = ("--pose-wait-s", POSE_WAIT_S) if side == WAITS else ()
                run[side] = sides[side].run(WORKER, path, model_path, *waiting)
                print(f"run {pair + 1} of {pairs}, {recording}, {side}: {in_short(run[side])}", file=sys.stderr)
            found[recording].append(run)
    return found


def in_short(figures: Mapping[str, Any]) -> str:
    """Return a run's revisit error a second ahead and its frames, in words."""
    seen = figures["prediction_error"]["1.0"]["revisit"]
    missed = figures["frames_sent"] - figures["frames_encoded"]
    return f"revisits {seen['ours']} (n {seen['n']}), {missed} of {figures['frames_sent']} frames missed"


def ratios(runs: Runs) -> dict[str, Any]:
    """Return ours over each other side, ``{RECORDING: {SIDE: {HORIZON: {VISIT: median and interval}}}}``.

    Raises:
        ValueError: A side judged no forecast.
    """
    others = [side for side in next(iter(runs.values()))[0] if side != OURS]
    return {
        recording: {
            side: {horizon: {visit: _ratio(each, side, horizon, visit) for visit in VISITS} for horizon in HORIZONS}
            for side in others
        }
        for recording, each in runs.items()
    }


def _ratio(runs: Sequence[Mapping[str, dict[str, Any]]], side: str, horizon: str, visit: str) -> dict[str, float]:
    pairs = [[run[name]["prediction_error"][horizon][visit] for name in (OURS, side)] for run in runs]
    return ratio(pairs, "ours")


def report(found: Mapping[str, Any]) -> str:
    """Return ratios as a table."""
    lines = [f"{'live error, ours / theirs':52}{'median':>8}{'low':>8}{'high':>8}"]
    for recording, by_side in found.items():
        for side, by_horizon in by_side.items():
            for horizon, by_visit in by_horizon.items():
                for visit, values in by_visit.items():
                    figures = "".join(f"{values[key]:8.4f}" for key in ("median", "low", "high"))
                    lines.append(f"{recording:20}{side:12}{horizon + ' s':8}{visit:12}{figures}")
    return "\n".join(lines)
