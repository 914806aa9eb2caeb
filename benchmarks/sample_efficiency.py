"""Error against the number of training buildings, with and without memory; rows already in --json are kept."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from world_model.commands.train import CONFIGS
from world_model.data.simulated import SimulatedRun, generate
from world_model.evaluation.options import EvaluationOptions
from world_model.evaluation.report import evaluate
from world_model.training.config import load_config
from world_model.training.pipeline import run_training

FIRST_SEED = 1000
HORIZON = "20"
COLUMNS = {"with memory": "ours", "without": "without memory", "mean of 4 nearest": "mean of 4 nearest"}


def measure(buildings: int, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the errors 1 s ahead of a model all of which was trained on so many changing buildings."""
    seeds = range(FIRST_SEED, FIRST_SEED + buildings)
    generate(folder / "set", [SimulatedRun(seed=seed) for seed in seeds], workers=options.workers, valid_share=0.0)
    overrides = {
        "seed": options.seed,
        "path_steps": options.steps,
        "view_steps": 2 * options.steps,
        "optimiser.steps": options.steps,
        "optimiser.batch": 32,
    }
    run_training(load_config(CONFIGS / "tiny.yaml", overrides), folder / "set", folder / "run", workers=options.workers)
    data = EvaluationOptions(data=options.data, seconds=120.0, horizons=(1, 20), workers=options.workers)
    result, _, _ = evaluate(str(folder / "run" / "artifact"), data)
    row: dict[str, Any] = {"overrides": overrides, "data": options.data}
    for space in ("latent", "pixel_components"):
        by_name = result["details"]["recorded"][space]
        row[space] = {
            kind: {column: by_name[name][HORIZON][kind] for column, name in COLUMNS.items()}
            for kind in ("revisit", "first")
        }
    return row


def markdown(rows: dict[str, Any]) -> str:
    """Return the rows as a Markdown table, of latents, then of the fixed space, whose variance is each set's own."""
    lines = []
    for space in ("latent", "pixel_components"):
        head = [f"{kind}, {column}" for kind in ("revisit", "first") for column in COLUMNS]
        lines += [f"| buildings ({space}) | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
        for buildings, row in sorted(rows.items(), key=lambda item: int(item[0])):
            cells = [row[space][kind][column]["mean"] for kind in ("revisit", "first") for column in COLUMNS]
            lines.append(f"| {buildings} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Train and evaluate per number of buildings; write JSON after each and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--buildings", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument("--steps", type=int, default=1000, help="of the transition and the path; the views get twice")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", default="sim:9000-9003", help="as wm evaluate takes it; nothing trained on")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, default=Path("out/sample_efficiency.json"))
    options = parser.parse_args()
    rows: dict[str, Any] = json.loads(options.json.read_text()) if options.json.is_file() else {}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    for buildings in options.buildings:
        if str(buildings) not in rows:
            with tempfile.TemporaryDirectory() as folder:
                rows[str(buildings)] = measure(buildings, options, Path(folder))
            options.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(markdown(rows))


if __name__ == "__main__":
    main()
