"""``wm data``: recordings or simulated runs into a converted set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from wm_core.errors import CoreError
from world_model.data.bags import BagOptions, read_bag
from world_model.data.episodes import DatasetManifest, EpisodeWriter
from world_model.data.simulated import SimulatedRun, generate, parse_seeds

__all__ = ["main", "parse_seeds"]


def main(arguments: Sequence[str] | None = None, prog: str = "wm-data") -> int:
    """Run the command line and return its exit code: 0, or 2 when something asked for is wrong."""
    options = _parser(prog).parse_args(arguments)
    try:
        with _progress() as bar:
            if options.source == "sim":
                _simulate(options, bar)
            else:
                _convert(options, bar)
    except CoreError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"{prog}: {error}", markup=False)
        return 2
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    sources = parser.add_subparsers(dest="source", required=True)
    sim = sources.add_parser("sim", help="simulated episodes; more may be added to a set, done ones are skipped")
    sim.add_argument("out", type=Path)
    sim.add_argument("--seeds", required=True, help="buildings, e.g. 1000-1031,1048")
    sim.add_argument("--seconds", type=float, default=120.0, help="length of each episode")
    sim.add_argument("--still", action="store_true", help="nothing changes in the buildings, poses are exact")
    sim.add_argument("--image-size", type=int, default=64)
    sim.add_argument("--depth", action="store_true")
    sim.add_argument("--proprioception", action="store_true")
    sim.add_argument("--workers", type=int, default=2)
    sim.add_argument("--valid-share", type=float, default=0.0, help="share of the buildings held out for validation")
    sim.add_argument("--test-share", type=float, default=0.0, help="share of the buildings held out for test")
    bag = sources.add_parser("bag", help="recordings: rosbag2 folders, sqlite3 or mcap")
    bag.add_argument("bags", type=Path, nargs="+")
    bag.add_argument("out", type=Path)
    defaults = BagOptions()
    bag.add_argument("--image-topic", default=defaults.image_topic)
    bag.add_argument("--pose-topic", default=defaults.pose_topic)
    bag.add_argument("--action-topic", default=defaults.action_topic)
    bag.add_argument("--rate-hz", type=float, default=defaults.rate_hz)
    bag.add_argument("--image-size", type=int, default=defaults.image_size)
    bag.add_argument("--from-s", type=float, default=0.0, help="leave out what comes before")
    bag.add_argument("--to-s", type=float, default=float("inf"), help="leave out what comes after")
    bag.add_argument("--split", choices=("train", "valid", "test"), default="train")
    return parser


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))


def _advance(bar: Progress, task: TaskID, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total)


def _simulate(options: argparse.Namespace, bar: Progress) -> None:
    runs = [
        SimulatedRun(
            seed=seed,
            duration_s=options.seconds,
            still=options.still,
            exact_pose=options.still,
            image_size=options.image_size,
            depth=options.depth,
            proprioception=options.proprioception,
        )
        for seed in parse_seeds(options.seeds)
    ]
    task = bar.add_task("drives", total=len(runs))
    generate(
        options.out,
        runs,
        workers=options.workers,
        valid_share=options.valid_share,
        test_share=options.test_share,
        progress=partial(_advance, bar, task),
    )


def _convert(options: argparse.Namespace, bar: Progress) -> None:
    bag_options = BagOptions(
        image_topic=options.image_topic,
        pose_topic=options.pose_topic,
        action_topic=options.action_topic,
        rate_hz=options.rate_hz,
        image_size=options.image_size,
    )
    writer: EpisodeWriter | None = None
    for path in options.bags:
        name = path.resolve().name if path.resolve().name != "bag" else path.resolve().parent.name
        if writer is not None and writer.has(name):
            continue
        task = bar.add_task(name, total=None)
        episode = read_bag(path, bag_options, name=name, progress=partial(_advance, bar, task)).cut(
            options.from_s, options.to_s
        )
        if writer is None:
            manifest = DatasetManifest(
                image_size=options.image_size,
                step_s=1.0 / options.rate_hz,
                action_dim=episode.action_TA.shape[1],
                source={"kind": "bag", "from_s": options.from_s, "to_s": min(options.to_s, 1e9)},
            )
            writer = EpisodeWriter(options.out, manifest)
        writer.write(episode, options.split)


if __name__ == "__main__":
    sys.exit(main())
