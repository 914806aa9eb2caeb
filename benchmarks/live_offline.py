"""Prediction errors that the graph reports on a recording, beside those of evaluation on the same recording."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.against import live_pairs, sides
from benchmarks.figures import machine
from benchmarks.simulated_bag import record

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
# What the graph calls a predictor, and what evaluation calls it.
PREDICTORS = {"ours": "ours", "without_memory": "ours, memory emptied", "persistence": "persistence"}
STEPS = {"0.05": "1", "1.0": "20"}
ALLOWED = 0.1
SIMULATED_S = 60.0
SEED = 9506
"""Of the simulator's recording, as the demo's: a short ring, of which the robot has seen all after half a minute."""


def compare(live: dict[str, Any], offline: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row per time ahead, kind of visit and predictor: both errors (NMSE), frames judged, and their ratio.

    Args:
        live: The graph's summary.
        offline: What evaluation wrote; the graph holds the last action, so that part of it is read.
    """
    held = offline["details"]["held"]["latent"]
    rows = []
    for seconds, step in STEPS.items():
        for visit in ("revisit", "first"):
            seen = live["prediction_error"][seconds][visit]
            for ours, theirs in PREDICTORS.items():
                expected = held[theirs][step][visit]
                if seen[ours] is None or expected["mean"] is None:
                    continue
                row = {"seconds": float(seconds), "visit": visit, "predictor": ours, "live": seen[ours]}
                row |= {"offline": expected["mean"], "live_frames": seen["n"], "offline_frames": expected["n"]}
                rows.append(row | {"ratio": seen[ours] / expected["mean"]})
    return rows


def run(bag: Path, artifact: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the graph and evaluation say of a recording.

    Raises:
        subprocess.CalledProcessError: One of them failed; it has said why.
    """
    out, numbers = folder / "demo", folder / "offline.json"
    # The graph judges its own run; frames it loses on a busy machine are in its summary, and do not end this.
    subprocess.run([SCRIPTS / "demo", "--bag", bag, "--out", out, "--model-path", artifact], check=False)
    subprocess.run([SCRIPTS / "evaluate", artifact, bag, "--json", numbers], check=True, stdout=subprocess.DEVNULL)
    return json.loads((out / "summary.json").read_text()), json.loads(numbers.read_text())


def recordings_of(names: list[str], folder: Path) -> dict[str, Path]:
    """Return each recording by its name; ``sim`` and ``sim:SEED`` are made.

    Args:
        names: As the command line has them.
        folder: Where recordings are made.
    """
    found = {}
    for name in names:
        kind, _, seed = name.partition(":")
        if kind == "sim":
            found[name] = record(folder / name.replace(":", "-"), SIMULATED_S, int(seed or SEED))
        else:
            found[name] = Path(name).resolve()
    return found


def compare_one(bag: Path, artifact: str, folder: Path) -> dict[str, Any]:
    """Return live and offline errors of a recording, and print them."""
    live, offline = run(bag, artifact, folder)
    rows = compare(live, offline)
    for row in rows:
        print(
            "{seconds:4.2f} s  {visit:8s}{predictor:15s} live {live:.5f} offline {offline:.5f} x {ratio:.3f}".format(
                **row
            )
        )
    named = ("frames_sent", "frames_encoded", "degraded_predictions")
    return {"artifact": artifact, **{name: live[name] for name in named}, "rows": rows}


def compare_sides(options: argparse.Namespace, recordings: Mapping[str, Path]) -> dict[str, Any]:
    """Return live errors of this revision over others', and print them.

    Raises:
        SideError: A side could not be made ready, or failed.
    """
    names = options.against.split(",")
    both = sides.ours()
    for name in names:
        both[name] = both["ours"] if name == live_pairs.WAITS else sides.both(name, options.cache)["theirs"]
    runs = live_pairs.turns(both, recordings, options.model_path, options.pairs)
    found = live_pairs.ratios(runs)
    print(live_pairs.report(found))
    return {"artifact": options.model_path, "ratios": found, "runs": runs, "machine": machine()}


def main() -> int:
    """Run and compare; 1 when live and offline differ by more than a tenth on revisits."""
    parser = argparse.ArgumentParser(prog="scripts/bench live_offline", description=__doc__)
    parser.add_argument("recording", nargs="+", help="with images, poses and actions; sim[:SEED]: a simulated robot's")
    parser.add_argument("--model-path", default="artifact://tiny")
    parser.add_argument("--json", type=Path, help="write the figures here")
    sides.add_arguments(parser)
    options = parser.parse_args()
    with TemporaryDirectory(prefix="bench_live_offline_") as name:
        folder = Path(name)
        recordings = recordings_of(options.recording, folder)
        if options.against:
            result = compare_sides(options, recordings)
        else:
            result = {}
            for named, bag in recordings.items():
                print(named)
                (folder / str(len(result))).mkdir()
                result[named] = compare_one(bag, options.model_path, folder / str(len(result)))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    rows = [] if options.against else [row for each in result.values() for row in each["rows"]]
    far = [row for row in rows if row["visit"] == "revisit" and abs(row["ratio"] - 1.0) > ALLOWED]
    return 1 if far or not (rows or options.against) else 0


if __name__ == "__main__":
    sys.exit(main())
