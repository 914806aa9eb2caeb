"""``wm evaluate imagination``: how far ahead is what is imagined right? The actions that followed are known."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from world_model.commands.common import (
    add_camera_offset,
    add_workers,
    check_data_options,
    check_output,
    described,
    guarded,
)
from world_model.evaluation.imagination import draw, evaluate_imagination, table
from world_model.evaluation.options import EvaluationOptions
from world_model.evaluation.report import write_json
from world_model.runtime.artifacts import load_artifact


def main(arguments: Sequence[str] | None = None, prog: str = "wm evaluate imagination") -> int:
    """Run the command line and return its exit code: 0, or 2 when something asked for is wrong."""
    parser = argparse.ArgumentParser(prog=prog, description=described(__doc__))
    parser.add_argument("data", help="recording, converted set, or sim:SEEDS (sim:9000-9003,9010)")
    parser.add_argument("--artifact", default="artifact://tiny", help="whose imagination (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    parser.add_argument("--report", type=Path, help="write figures, a film strip and numbers into this folder")
    parser.add_argument("--still", action="store_true", help="simulated buildings do not change, poses are exact")
    parser.add_argument("--seconds", type=float, help="length of each simulated episode (default: 180)")
    parser.add_argument("--start-s", type=float, default=20.0, help="nothing is imagined before this [s]")
    parser.add_argument(
        "--every-s", type=float, default=0.5, help="time between two moments that are imagined from [s]"
    )
    add_workers(parser, 1)
    for topic in ("image", "pose", "action"):
        parser.add_argument(f"--{topic}-topic", help="of a recording; by default chosen by what it holds")
    add_camera_offset(parser)
    options = parser.parse_args(arguments)
    return guarded(prog, lambda: _evaluate(options))


def _evaluate(options: argparse.Namespace) -> None:
    console = Console(highlight=False, width=240)
    check_data_options(options)
    check_output(options.json, options.report and options.report / "numbers.json")
    seconds = EvaluationOptions.seconds if options.seconds is None else options.seconds
    asked = EvaluationOptions(
        data=options.data, still=options.still, seconds=seconds, start_s=options.start_s,
        workers=options.workers, image_topic=options.image_topic, pose_topic=options.pose_topic,
        action_topic=options.action_topic, camera_offset_s=options.camera_offset_s,
    )  # fmt: skip
    say = partial(console.print, markup=False)
    result, episodes, found = evaluate_imagination(options.artifact, asked, options.every_s, say)
    say("\nNMSE of the latent by time ahead, on revisits and first visits; the actions that followed are known:")
    say(table(result))
    for time, kinds in result["ratio"].items():
        cells = [f"{k} {c['ratio']:.3f} ({c['low']:.3f} to {c['high']:.3f})" for k, c in kinds.items() if c]
        say(f"with memory over the honest base, {time} s ahead: {', '.join(cells)}")
    for time, by_kind in result["psnr_db"].items():
        values = ", ".join(f"{name} {value:.1f}" for name, value in by_kind.items())
        say(f"PSNR [dB] {time} s ahead, revisits: {values or 'none'}")
    if options.report:
        artifact = load_artifact(options.artifact).with_actions(episodes[0].action_TA.shape[1])
        draw(options.report, result, artifact, episodes, found)
        write_json(result, options.report / "numbers.json")
    if options.json:
        write_json(result, options.json)
