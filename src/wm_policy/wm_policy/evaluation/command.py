"""``scripts/evaluate policy DATA``: does memory help acting? Errors of where policies would go, and of baselines."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from wm_policy.evaluation.compare import PolicyEvaluation, compare, learn_from
from wm_policy.evaluation.scores import METRICS
from wm_policy.training.config import PolicyConfig
from world_model.commands.common import add_set, described, guarded
from world_model.errors import ConfigError
from world_model.typed_config import parse_overrides, read_config


def main(arguments: Sequence[str] | None = None, prog: str = "scripts/evaluate policy") -> int:
    """Run the command line and return its exit code: 0, or 2 when something asked for is wrong."""
    parser = argparse.ArgumentParser(prog=prog, description=described(__doc__))
    defaults = PolicyEvaluation(data="")
    parser.add_argument("data", nargs="+", help="recording, converted set, or sim:SEEDS; several are judged in turn")
    parser.add_argument("--json", type=Path, help="write all numbers here, those of each data set under its name")
    parser.add_argument("--train", default=defaults.train, help=f"learn from this (default: {defaults.train})")
    parser.add_argument("--seconds", type=float, default=defaults.seconds, help="length of each simulated episode")
    parser.add_argument("--seeds", type=int, default=defaults.seeds, help="runs of everything that is learned")
    parser.add_argument("--history", action="store_true", help="one more policy, which reads the visual history")
    parser.add_argument(
        "--imagined", type=int, default=0, help="more policies, which learn from so many imagined drives for each real"
    )
    parser.add_argument(
        "--imagined-filter", type=float, default=1.0, metavar="SHARE",
        help="and one that learns from this share of them: what is expected to be imagined best",
    )  # fmt: skip
    parser.add_argument("--run", type=Path, help="keep checkpoints here; a comparison that was killed goes on")
    add_set(parser)
    options = parser.parse_args(arguments)
    return guarded(prog, lambda: _evaluate(options))


def _evaluate(options: argparse.Namespace) -> None:
    console = Console(highlight=False, width=160)
    if options.imagined < 0 or not 0.0 < options.imagined_filter <= 1.0:
        raise ConfigError(
            f"--imagined is {options.imagined} and --imagined-filter {options.imagined_filter}, expected 0 or more and"
            " a share above 0"
        )
    config = read_config(PolicyConfig, None, parse_overrides(options.set))
    every: dict[str, Any] = {}
    say = partial(console.print, markup=False)
    with TemporaryDirectory() as folder:
        asked = PolicyEvaluation(
            data="", train=options.train, seconds=options.seconds, seeds=options.seeds, config=config,
            # Trained once, whatever it is judged on.
            run=options.run or Path(folder), history=options.history,
            imagined=options.imagined, imagined_keep=options.imagined_filter,
        )  # fmt: skip
        train = learn_from(asked, say)
        for data in options.data:
            every[data] = compare(replace(asked, data=data), train, say)
            console.print(table(data, every[data]))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(every, indent=1) + "\n")


def table(data: str, result: dict[str, Any]) -> Table:
    """Return the errors [m] by predictor, and what matters of the ratios."""
    made = Table(title=f"{data}: error in metres on the second lap, {result['samples']} samples")
    for column in ("", *METRICS):
        made.add_column(column, justify="right" if column else "left")
    for name in result[METRICS[0]]:
        made.add_row(name, *(_number(result[metric][name]) for metric in METRICS))
    for name in ("with_memory/without", "with_memory/hold_last_action", "with_imagined/with_memory"):
        cells = [result["intervals"][metric].get(name, {}) for metric in METRICS]
        made.add_row(name, *(f"{c['ratio']:.2f} ({c['low']:.2f}-{c['high']:.2f})" if c else "" for c in cells))
    return made


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
