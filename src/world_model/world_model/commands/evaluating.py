"""What ``wm evaluate`` does once it is known that it can: evaluate each artifact, show and write what came out."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from typing import Any

from rich.console import Console

from world_model.evaluation.ablation import ablation_table
from world_model.evaluation.comparable import LEARNING_S
from world_model.evaluation.figures import write_report
from world_model.evaluation.options import EvaluationOptions
from world_model.evaluation.report import evaluate, own_table, table, write_json

# What both kinds of future are called in tables and in what is comparable.
FUTURES = {"recorded": "known", "held": "held"}


def evaluate_all(options: argparse.Namespace, asked: EvaluationOptions) -> None:
    """Evaluate every artifact as asked, show the figures, and write them where the command line says."""
    console = Console(highlight=False, width=240)
    every: dict[str, dict[str, Any]] = {}
    for model_path in dict.fromkeys(options.artifact):
        result, episodes, forecasts = evaluate(model_path, asked, say=partial(console.print, markup=False))
        if options.report:
            write_report(options.report, result, model_path, episodes, forecasts)
        if len(options.artifact) > 1:
            console.print(f"\n{model_path}", markup=False)
        _show(console, asked, result, model_path)
        every[model_path] = result
    if options.json:
        write_json(side_by_side(every), options.json)


def side_by_side(every: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what is written of some artifacts: all of a single one, of several what is comparable and what was run.

    Args:
        every: What ``evaluate`` returned, by artifact.
    """
    if len(every) == 1:
        return next(iter(every.values()))
    comparable = {model_path: result[model_path] for model_path, result in every.items()}
    return {**comparable, "about": {model_path: result["about"] for model_path, result in every.items()}}


def _show(console: Console, asked: EvaluationOptions, result: dict[str, Any], model_path: str) -> None:
    for future, meaning in (("recorded", "the actions that followed are known"), ("held", "the last action is held")):
        console.print(f"\nNMSE of the latent by steps ahead, on revisits and first visits; {meaning}:", markup=False)
        console.print(table(result, future, "latent"), markup=False)
        if "unit" in result["about"]["not_scored"]:
            learning = f"of all frames from {LEARNING_S:g} s after the first forecast came true on"
            console.print(f"\nThe same in the recording's own variance, {learning}:", markup=False)
            console.print(own_table(result[model_path]["latent_own"][FUTURES[future]]), markup=False)
    if asked.without:
        console.print("\nNMSE of the latent, ours over ours without a part:", markup=False)
        console.print(ablation_table(result, "latent"), markup=False)
    for reason in result["about"]["not_scored"].values():
        console.print(reason, markup=False)
    console.print(f"\n{cost_line(result['cost'])}", markup=False)


def cost_line(cost: dict[str, float]) -> str:
    """Return what one latent costs, in a line."""
    parts = ", ".join(f"{name.removesuffix('_ms')} {ms:.2f}" for name, ms in cost.items() if name.endswith("_ms"))
    return f"ms on one core, with {cost['memory_count']:.0f} memories: {parts}"
