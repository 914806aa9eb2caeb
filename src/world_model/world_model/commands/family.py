"""``wm family``: a larger model on simulated worlds, within so many minutes, and what it is worth on held-out ones.

A killed run goes on where it was when the same is asked for again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from world_model.commands.common import add_set, add_workers, config_path, described, guarded, reporting
from world_model.evaluation.family import REPORT_NAME, STRIP_NAME, on_device, train_family
from world_model.evaluation.family_report import STATED
from world_model.training.config import load_config
from world_model.typed_config import parse_overrides


def main(arguments: Sequence[str] | None = None, prog: str = "wm-family") -> int:
    """Run the command line and return its exit code: 0, or 2 when something asked for is wrong or there is no GPU."""
    parser = argparse.ArgumentParser(prog=prog, description=described(__doc__))
    parser.add_argument("name", help="configuration that ships (compact, base), or a YAML file")
    parser.add_argument("out", type=Path, nargs="?", help="folder of the run (default: out/family/NAME)")
    parser.add_argument("--minutes", type=float, default=8.0, help="time for everything (default: 8)")
    add_workers(parser, os.cpu_count() or 1, "processes, threads (default: cores)")
    parser.add_argument("--device", default="auto", help="auto, cuda or cpu (default: a GPU where there is one)")
    parser.add_argument("--recordings", type=Path, nargs="+", default=[], metavar="BAG", help="learn from these too")
    add_set(parser)
    options = parser.parse_args(arguments)
    return guarded(prog, lambda: _train(options))


def _train(options: argparse.Namespace) -> None:
    overrides = {"minutes": options.minutes} | parse_overrides(options.set)
    config = on_device(load_config(config_path(options.name), overrides), options.device)
    out = options.out or Path("out/family") / config.name
    with reporting() as report:
        result = train_family(config, out, recordings=options.recordings, workers=options.workers, report=report)
    console = Console(highlight=False, soft_wrap=True)
    for line in (*lines_of(result), f"{out / REPORT_NAME}, {out / STRIP_NAME}, {out / 'artifact'}"):
        console.print(line, markup=False)


def lines_of(result: Mapping[str, Any]) -> list[str]:
    """Return a run's figures in a few lines."""
    stage, learned = result["stages"]["pictures"], result["data"]["learned"]
    lines = [
        f"{result['name']} on {result['machine']}: {result['seconds']['all']:.0f} s, {learned['episodes']} drives, "
        f"{stage['steps']} steps of pictures, {stage['pictures_per_s']:.0f} pictures/s",
    ]
    for group in ("worlds", "recordings"):
        if group in result:
            psnr = result[group]["psnr_db"]
            ahead = {name: cell["all"]["mean"] for name, cell in psnr["ahead"]["20 steps"].items()}
            stated = STATED.get(str(result["name"]))
            beside = f" (others state {stated} for this size)" if stated else ""
            lines += [f"{group}: PSNR of held-out pictures, decoded: {psnr['truth, decoded']['mean']} dB{beside}"]
            lines += [f"  1 s ahead, {name}: {value} dB" for name, value in ahead.items()]
    return lines


if __name__ == "__main__":
    sys.exit(main())
