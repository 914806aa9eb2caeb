"""``wm-train``: from a converted set to an artifact."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from wm_core.errors import CoreError
from world_model.export.torchscript import carry_slow_branch
from world_model.training.config import load_config
from world_model.training.pipeline import run_training
from world_model.training.report import Report
from world_model.typed_config import parse_override, parse_overrides

__all__ = ["CONFIGS", "every_stage", "main", "parse_override", "report_on"]

CONFIGS = Path(__file__).parents[1] / "configs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, or 2 when something asked for is wrong."""
    parser = argparse.ArgumentParser(prog="wm-train", description=__doc__)
    parser.add_argument("data", type=Path, help="converted set, as wm-data makes it")
    parser.add_argument("out", type=Path, help="folder of the run; a killed run goes on from what is there")
    parser.add_argument("--config", default="tiny", help="YAML file, or the name of one that ships (default: tiny)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as optimiser.steps=100")
    parser.add_argument("--slow-branch", metavar="ARTIFACT", help="add the slow branch of this one, as artifact://tiny")
    parser.add_argument("--workers", type=int, default=2, help="processes that prepare the data")
    parser.add_argument(
        "--steps", type=int, help="so many steps in every stage, without warm-up: to see whether it runs"
    )
    options = parser.parse_args(arguments)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    path = Path(options.config)
    path = path if path.suffix else CONFIGS / f"{options.config}.yaml"
    try:
        overrides = {} if options.steps is None else every_stage(options.steps)
        config = load_config(path, overrides | parse_overrides(options.set))
        with Progress(*columns, console=Console(highlight=False)) as bar:
            run_training(config, options.data, options.out, workers=options.workers, report=report_on(bar))
        if options.slow_branch:
            carry_slow_branch(options.slow_branch, options.out / "artifact")
    except CoreError as error:
        Console(stderr=True, highlight=False).print(f"wm-train: {error}", markup=False)
        return 2
    return 0


def every_stage(steps: int) -> dict[str, object]:
    """Return the overrides that give every stage so many steps, and none to warm up."""
    loops = {
        f"{stage}.{key}": value
        for stage in ("pictures", "optimiser")
        for key, value in (("steps", steps), ("warm_up", 0))
    }
    return {"encoder_steps": steps, "path_steps": max(steps, 11), "view_steps": max(steps, 11), **loops}


def report_on(bar: Progress) -> Report:
    """Return a report that shows a bar per stage and prints lines above them."""
    tasks: dict[str, TaskID] = {}

    def advance(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, total=total)
        bar.update(tasks[stage], completed=done, total=total)

    return Report(lambda text: bar.console.print(text, markup=False), advance)


if __name__ == "__main__":
    sys.exit(main())
