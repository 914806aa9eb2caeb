"""Does the memory help to get there? Closed loop in buildings seen once, goals as pictures."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.options import output, real, whole
from benchmarks.planning_drives import KINDS, METHODS, TASKS
from benchmarks.planning_figures import summarised
from benchmarks.planning_methods import METHODS as WITHOUT_POLICIES
from benchmarks.planning_policies import POLICIES
from benchmarks.planning_store import Store, StoreError, by_task
from benchmarks.planning_work import Asked, learn, ordered, work
from policy_runner.exported import ExportedPolicy
from policy_runner.nearest_drive import NearestDriveSettings

FIRST_OF_ALL = ("memory", "memory_off", "cloned", "straight_line")
_TOLD_EVERY_S = 20.0


def opened(options: argparse.Namespace, folder: Path) -> tuple[Asked, Store]:
    """Return what the robot is made of, and the store with the drives that are there already.

    Raises:
        ValueError: An artifact, a policy or a store is none, or a store holds drives made under other conditions.
        OSError: The store cannot be written.
    """
    asked = Asked(options.artifact, options.look, options.training_drives, folder, tuple(_policies(options)))
    store = Store(folder, asked.about())
    for other in options.merge:
        print(f"{other}: {store.take(other)} new drives", file=sys.stderr)
    return asked, store


def evaluate(options: argparse.Namespace, asked: Asked, store: Store) -> None:
    """Drive what is asked for and not yet in the store, as far as time allows."""
    until_s = math.inf if options.within is None else time.time() + options.within
    buildings = range(options.first, options.first + options.buildings)
    jobs = ordered(options.methods, options.tasks, options.kinds, buildings, options.goals, FIRST_OF_ALL)
    jobs = jobs[options.shard[0] :: options.shard[1]]
    if time.time() < until_s:
        learn(asked, store, options.jobs)
    told_s = time.monotonic()
    for count, (job, _) in enumerate(work(asked, store, jobs, options.jobs, until_s), start=1):
        if time.monotonic() - told_s > _TOLD_EVERY_S:
            told_s = time.monotonic()
            print(f"{count} drives, the last: {job}", file=sys.stderr, flush=True)


def figures(store: Store, options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the figures of what was asked for, and every drive, by task and method."""
    buildings = range(options.first, options.first + options.buildings)
    wanted = set(ordered(options.methods, options.tasks, options.kinds, buildings, options.goals, FIRST_OF_ALL))
    found = by_task({job: drive for job, drive in store.drives().items() if job in wanted}, METHODS)
    raw = {task: {name: [asdict(each) for each in done] for name, done in ways.items()} for task, ways in found.items()}
    return summarised(found), raw


def _policies(options: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    for name in (each.name for each in POLICIES):
        folder = getattr(options, name)
        if folder is not None:
            # Read here, before what is learned first takes its time.
            ExportedPolicy(folder, 2, NearestDriveSettings())
            yield name, folder.resolve()
        elif name in options.methods:
            raise StoreError(f"method {name} needs --{name.replace('_', '-')} FOLDER, as 'wm train' leaves it")


def _shard(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise argparse.ArgumentTypeError(f"shard is '{text}', expected NUMBER/COUNT such as 0/4")
    return int(number), int(count)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", default="artifact://tiny")
    parser.add_argument("--look", default="artifact://generic", help="whose features tell places apart; '': latents")
    parser.add_argument("--first", type=whole(0), default=9300, help="seed of the first building")
    parser.add_argument("--buildings", type=whole(1), default=10)
    parser.add_argument("--goals", type=whole(1), default=20, help="goals in each building")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(WITHOUT_POLICIES))
    parser.add_argument("--training-drives", type=whole(0), default=12, help="for what learns by imitation")
    for each in POLICIES:
        option = f"--{each.name.replace('_', '-')}"
        parser.add_argument(option, type=Path, help=f"exported policy that method {each.name} drives with")
    parser.add_argument("--jobs", type=whole(1), default=1, help="processes that drive at a time")
    parser.add_argument("--shard", type=_shard, default=(0, 1), help="NUMBER/COUNT: every COUNTth drive from NUMBER on")
    parser.add_argument("--within", type=real(0.0), help="begin no drive after so many seconds; 0: only sum up")
    parser.add_argument("--store", type=Path, help="folder of every drive; a run that was stopped goes on from there")
    parser.add_argument("--merge", type=Path, nargs="+", default=[], help="take in the drives of these stores")
    parser.add_argument("--json", type=output)
    parser.add_argument("--raw", type=output, help="every drive")
    return parser


def main() -> int:
    """Evaluate and print, and write where asked; return the exit code."""
    options = _parser().parse_args()
    with TemporaryDirectory() as folder:
        try:
            asked, store = opened(options, options.store or Path(folder))
        except (ValueError, OSError) as error:
            print(f"scripts/evaluate planning: {error}", file=sys.stderr)
            return 2
        evaluate(options, asked, store)
        found, raw = figures(store, options)
    for path, values, indent in ((options.json, found, 2), (options.raw, raw, None)):
        if path:
            path.write_text(json.dumps(values, indent=indent) + "\n")
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
