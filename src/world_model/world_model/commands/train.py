"""``wm train``: from a converted set to an artifact, or to what a package above this one trains.

Such a package names its configurations by entry points ``NAME = module:train`` in the group ``wm.train``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from world_model.commands.common import CONFIGS, add_set, add_workers, config_path, described, guarded, reporting
from world_model.export.graphs import try_runtimes
from world_model.export.torchscript import carry_slow_branch, load_slow_branch
from world_model.training.config import load_config
from world_model.training.pipeline import run_training
from world_model.training.prior_stage import run_prior
from world_model.typed_config import parse_override, parse_overrides

__all__ = ["CONFIGS", "every_stage", "main", "parse_override"]


def main(arguments: Sequence[str] | None = None, prog: str = "wm-train") -> int:
    """Run the command line and return its exit code: 0, or 2 when something asked for is wrong."""
    parser = argparse.ArgumentParser(prog=prog, description=described(__doc__))
    parser.add_argument("data", type=Path, help="converted set, as wm data makes it")
    parser.add_argument("out", type=Path, help="folder of the run; a killed run goes on from what is there")
    parser.add_argument("--config", default="tiny", help="YAML file, or the name of one that ships (default: tiny)")
    add_set(parser)
    parser.add_argument("--slow-branch", metavar="ARTIFACT", help="add the slow branch of this one, as artifact://tiny")
    add_workers(parser, 2, "processes that prepare the data (default: %(default)s)")
    parser.add_argument(
        "--steps", type=int, help="so many steps in every stage, without warm-up: to see whether it runs"
    )
    options = parser.parse_args(arguments)
    added = {each.name: each for each in entry_points(group="wm.train")}
    if options.config in added:
        return guarded(prog, lambda: added[options.config].load()(options))
    return guarded(prog, lambda: _train(options))


def every_stage(steps: int) -> dict[str, object]:
    """Return the overrides that give every stage so many steps, and none to warm up."""
    loops = {
        f"{stage}.{key}": value
        for stage in ("pictures", "optimiser")
        for key, value in (("steps", steps), ("warm_up", 0))
    }
    return {"encoder_steps": steps, "path_steps": max(steps, 11), "view_steps": max(steps, 11), **loops}


def _train(options: argparse.Namespace) -> None:
    overrides = {} if options.steps is None else every_stage(options.steps)
    config = load_config(config_path(options.config), overrides | parse_overrides(options.set))
    if config.features:
        with reporting() as report:
            run_prior(config, options.data, options.out, report)
        return
    if options.slow_branch:  # before the minutes or hours that training takes
        load_slow_branch(options.slow_branch)
    with reporting() as report:
        run_training(config, options.data, options.out, workers=options.workers, report=report)
        if options.slow_branch:
            carry_slow_branch(options.slow_branch, options.out / "artifact")
        try_runtimes(options.out / "artifact", report.say)


if __name__ == "__main__":
    sys.exit(main())
