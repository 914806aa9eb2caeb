"""``wm data``: recordings, video files, LeRobot data sets or simulated runs into a converted set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from wm_core.bags import Bag, find_bags
from wm_core.bags.survey import NONE, Wishes
from world_model.commands.common import add_camera_offset, add_pose_delay, add_workers, described, guarded, pose_delay_s
from world_model.commands.formats import Filler, add_parsers, add_sampling, convert_lerobot, convert_video
from world_model.data.account import Account, exit_code
from world_model.data.bags import BagOptions, Recording, read_recording
from world_model.data.inspection import inspect_bag
from world_model.data.simulated import SimulatedRun, generate, parse_seeds
from world_model.data.views import ALL, further_cameras, with_views

__all__ = ["main", "named_bags", "parse_seeds"]


def main(arguments: Sequence[str] | None = None, prog: str = "wm-data") -> int:
    """Run the command line and return its exit code.

    0; 1 when more than a tenth of a recording's frames were lost to faults, unless ``--allow-partial``, or an inspected
    one does not suffice to train; 2 when what was asked for is wrong, or nothing usable came or would come.
    """
    options = _parser(prog).parse_args(arguments)
    return guarded(prog, lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    """Make or inspect what was asked for and return the exit code."""
    with _progress() as bar:
        if options.source == "sim":
            _simulate(options, bar)
            return 0
        if options.source == "inspect":
            return _inspect(options, bar)
        convert = {"bag": _convert, "video": convert_video, "lerobot": convert_lerobot}[options.source]
        accounts = [account for each in _per_stream(options) for account in convert(each, bar)]
    _say(line for account in accounts for line in account.lines())
    return exit_code(accounts, options.allow_partial)


def _per_stream(options: argparse.Namespace) -> list[argparse.Namespace]:
    """Returns the options of each set that is to be made: one, or one for each stream."""
    if options.streams is None:
        return [options]
    rates = dict.fromkeys(options.streams)
    return [
        argparse.Namespace(**vars(options) | {"rate_hz": rate, "out": options.out / f"{rate:g}hz"}) for rate in rates
    ]


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=described(__doc__))
    sources = parser.add_subparsers(dest="source", required=True)
    sim = sources.add_parser("sim", help="simulated episodes; more may be added to a set, done ones are skipped")
    sim.add_argument("out", type=Path)
    sim.add_argument("--seeds", required=True, help="buildings, e.g. 1000-1031,1048")
    sim.add_argument("--seconds", type=float, default=120.0, help="length of each episode")
    sim.add_argument("--still", action="store_true", help="nothing changes in the buildings, poses are exact")
    sim.add_argument(
        "--randomise",
        action="store_true",
        help="another robot in each building: textures, camera, speeds, delays, meaning of actions, rates, pose errors",
    )
    sim.add_argument("--rate-hz", type=float, help="frames per second of random worlds; by default drawn too")
    sim.add_argument("--image-size", type=int, default=64)
    sim.add_argument("--depth", action="store_true")
    sim.add_argument("--proprioception", action="store_true")
    sim.add_argument("--tasks", action="store_true", help="do one task after the other; rewards and ends are stored")
    add_workers(sim, 2)
    sim.add_argument("--valid-share", type=float, default=0.0, help="share of the buildings held out for validation")
    sim.add_argument("--test-share", type=float, default=0.0, help="share of the buildings held out for test")
    add_pose_delay(sim)
    bag = sources.add_parser("bag", help="recordings: rosbag2 (sqlite3, mcap), ROS 1, or folders of them")
    bag.add_argument("bags", type=Path, nargs="+")
    bag.add_argument("out", type=Path)
    _add_topics(bag)
    add_camera_offset(bag)
    bag.add_argument(
        "--action-dim", type=int, metavar="N",
        help="values of an action (default: as many as the first has); of a Twist 3 are forward speed, speed to the "
        "left and yaw rate",
    )  # fmt: skip
    bag.add_argument("--views", nargs="+", default=[], metavar="TOPIC", help="further cameras of the robot, or all")
    bag.add_argument("--depth-topic", help="depth images to convert as well")
    bag.add_argument("--proprioception-topic", help="Float32MultiArray to convert as well")
    add_sampling(bag)
    bag.add_argument("--from-s", type=float, default=0.0, help="leave out what comes before")
    bag.add_argument("--to-s", type=float, default=float("inf"), help="leave out what comes after")
    add_parsers(sources)
    inspect = sources.add_parser("inspect", help="what a recording holds and what would feed what, without converting")
    inspect.add_argument("bags", type=Path, nargs="+")
    _add_topics(inspect)
    return parser


def _add_topics(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image-topic", help="camera; by default chosen by what the recording holds")
    parser.add_argument("--pose-topic", help="pose, /tf, or none")
    parser.add_argument("--action-topic", help="actions, or none")


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))


def _advance(bar: Progress, task: TaskID, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total)


def _simulate(options: argparse.Namespace, bar: Progress) -> None:
    delay_s = pose_delay_s(options)
    runs = [
        SimulatedRun(
            seed=seed,
            duration_s=options.seconds,
            still=options.still,
            exact_pose=options.still,
            image_size=options.image_size,
            depth=options.depth,
            proprioception=options.proprioception,
            tasks=options.tasks,
            pose_delay_s=delay_s,
            randomise=options.randomise,
            rate_hz=options.rate_hz,
        )
        for seed in parse_seeds(options.seeds)
    ]
    task = bar.add_task("episodes", total=len(runs))
    generate(
        options.out,
        runs,
        workers=options.workers,
        valid_share=options.valid_share,
        test_share=options.test_share,
        progress=partial(_advance, bar, task),
    )


def _convert(options: argparse.Namespace, bar: Progress) -> list[Account]:
    names = ("image_topic", "pose_topic", "action_topic", "depth_topic", "proprioception_topic", "action_dim")
    bag_options = BagOptions(
        **{name: getattr(options, name) for name in (*names, "rate_hz", "every", "image_size", "from_s", "to_s")},
        camera_offset_s=options.camera_offset_s,
        pose_delay_s=pose_delay_s(options),
    )
    filler = Filler(options, {"kind": "bag", "from_s": options.from_s, "to_s": min(options.to_s, 1e9)})
    for path, name in named_bags(options.bags).items():
        if not filler.has(name):
            task = bar.add_task(name, total=None)
            recording = read_recording(path, bag_options, name=name, progress=partial(_advance, bar, task))
            filler.add(name, _with_views(recording, path, bag_options, options.views))
    return filler.accounts


def _with_views(recording: Recording, path: Path, options: BagOptions, asked: Sequence[str]) -> Recording:
    """Returns a recording with its further cameras, each read by the same rules."""
    names = further_cameras(Bag(path), str(recording.account.camera.topic)) if ALL in asked else asked
    alone = replace(options, pose_topic=NONE, action_topic=NONE, depth_topic=None, proprioception_topic=None)
    views = {name: read_recording(path, replace(alone, image_topic=name)) for name in names}
    return with_views(recording, views) if views else recording


def named_bags(paths: Sequence[Path]) -> dict[Path, str]:
    """Return the recordings that some paths mean, each with a name of its own: as many folders as tell them apart.

    Raises:
        BagError: A path is not there, or holds no recording.
    """
    bags = list(dict.fromkeys(path.resolve() for path in find_bags(paths)))
    parts = {bag: [*bag.parts[1:-1], bag.name.split(".")[0] if bag.is_file() else bag.name] for bag in bags}
    # A folder that is called "bag" says nothing.
    depths = {bag: 2 if parts[bag][-1] == "bag" and len(parts[bag]) > 1 else 1 for bag in bags}
    names = {bag: parts[bag][-2 if depths[bag] == 2 else -1] for bag in bags}
    depth = 1
    while len(set(names.values())) < len(bags) and depth < max(map(len, parts.values())):
        depth += 1
        clashing = {name for name in names.values() if list(names.values()).count(name) > 1}
        names |= {bag: "-".join(parts[bag][-depth:]) for bag in bags if names[bag] in clashing}
    return names


def _inspect(options: argparse.Namespace, bar: Progress) -> int:
    """Say what recordings hold; 0 where each suffices, 2 where nothing usable would come of any, else 1."""
    reports = []
    for path in find_bags(options.bags):
        wishes, bag = Wishes(options.image_topic, options.pose_topic, options.action_topic), Bag(path)
        report = inspect_bag(bag, wishes, partial(_advance, bar, bar.add_task(path.name, total=None)))
        _say(report.lines)
        reports.append(report)
    if not any(report.is_usable for report in reports):
        return 2
    return 0 if all(report.suffices for report in reports) else 1


def _say(lines: Iterable[str]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        console.print(line, markup=False)


if __name__ == "__main__":
    sys.exit(main())
