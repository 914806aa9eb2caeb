"""Prediction errors that the graph reports on a recording, beside those of evaluation on the same recording."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
# What the graph calls a predictor, and what evaluation calls it.
PREDICTORS = {"ours": "ours", "without_memory": "ours, memory emptied", "persistence": "persistence"}
STEPS = {"0.05": "1", "1.0": "20"}
ALLOWED = 0.1


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


def run(bag: str, artifact: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the graph and evaluation say of a recording.

    Raises:
        subprocess.CalledProcessError: One of them failed; it has said why.
    """
    out, numbers = folder / "demo", folder / "offline.json"
    # The graph judges its own run; frames it loses on a busy machine are in its summary, and do not end this.
    subprocess.run([SCRIPTS / "demo", "--bag", bag, "--out", out, "--model-path", artifact], check=False)
    subprocess.run([SCRIPTS / "evaluate", artifact, bag, "--json", numbers], check=True, stdout=subprocess.DEVNULL)
    return json.loads((out / "summary.json").read_text()), json.loads(numbers.read_text())


def main() -> int:
    """Run both and compare; 1 when they differ by more than a tenth on revisits."""
    parser = argparse.ArgumentParser(prog="scripts/bench live_offline", description=__doc__)
    parser.add_argument("bag", help="recording with images, poses and actions")
    parser.add_argument("--model-path", default="artifact://tiny")
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="bench_live_offline_") as folder:
        live, offline = run(str(Path(options.bag).resolve()), options.model_path, Path(folder))
    rows = compare(live, offline)
    for row in rows:
        print(
            "{seconds:4.2f} s  {visit:8s}{predictor:15s} live {live:.5f} offline {offline:.5f} x {ratio:.3f}".format(
                **row
            )
        )
    if options.json:
        sent, encoded = live["frames_sent"], live["frames_encoded"]
        head = {"bag": options.bag, "artifact": options.model_path, "frames_sent": sent, "frames_encoded": encoded}
        head |= {"degraded_predictions": live["degraded_predictions"]}
        options.json.write_text(json.dumps({**head, "rows": rows}, indent=1))
    far = [row for row in rows if row["visit"] == "revisit" and abs(row["ratio"] - 1.0) > ALLOWED]
    return 1 if far or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
