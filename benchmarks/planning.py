"""Does the memory help to get there? Closed loop in buildings seen once, goals as pictures."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from latent_planner.goals import GoalError

from benchmarks.planning_learners import drives, train
from benchmarks.planning_methods import METHODS, SIDE, STEP_S, Eyes, Lap, Robot, Sight
from latent_publisher.encoder import Encoder
from wm_sim import DEFAULT_CHANGES, STILL, Changes, Simulation, Task, make_building, make_task
from world_model.runtime.artifacts import load_artifact

TASKS = ("reach_image", "follow_route", "return_to_start")
KINDS: dict[str, Changes] = {"still": STILL, "with changes": DEFAULT_CHANGES}


@dataclass(frozen=True)
class Drive:
    """How one drive ended.

    Attributes:
        building: Seed of the building.
        goal: Number of the goal in it.
        has_succeeded: Within 0.5 m and 30 degrees, stopped, in time, without contact.
        contacts: 1 where a contact ended it.
        time_s: How long it took.
        spl: Success weighed by the shortest way over the way driven.
        ended: ``reached``, ``contact``, ``late``, or why a picture was refused.
        left_m: From the goal at the end.
    """

    building: int
    goal: int
    has_succeeded: bool
    contacts: int
    time_s: float
    spl: float
    ended: str
    left_m: float


def drive(robot: Robot, lap: Lap, building: int, goal: int, task: Task, method: str, changes: Changes) -> Drive:
    """Return how one drive ends; a contact ends it."""
    run = Simulation(
        building + 500, building_seed=building, image_size=(SIDE, SIDE), changes=changes, driven_by="actions", task=task
    )
    pictures = [run.view(pose)[0] for pose in task.waypoints]
    try:
        driver = METHODS[method](robot, lap, pictures, task.time_limit_s)
        return _driven(run, driver.command, building, goal, task)
    except GoalError as error:
        return Drive(building, goal, False, 0, 0.0, 0.0, error.reason, math.dist(task.start[:2], task.goal[:2]))


def _driven(run: Simulation, command: Any, building: int, goal: int, task: Task) -> Drive:
    count, driven_m, before, outcome = 0, 0.0, task.start, run.judge(0.0)
    while outcome is not None and outcome.goes_on and not run.robot.contact_count:
        now_s = count * STEP_S
        pose, _ = run.measure_pose(now_s)
        run.command(command(Sight(now_s, np.array(pose), run.motion[0], partial(_picture, run, now_s))))
        count += 1
        outcome = run.judge(count * STEP_S)
        here = run.robot.pose_at(count * STEP_S)
        driven_m, before = driven_m + math.dist(before[:2], here[:2]), here
    success, contacts = bool(outcome and outcome.has_succeeded), min(run.robot.contact_count, 1)
    ended = "reached" if success else "contact" if contacts else "late"
    spl = success * task.length_m / max(driven_m, task.length_m)
    left_m = math.dist(before[:2], task.goal[:2])
    return Drive(building, goal, success, contacts, round(count * STEP_S, 2), round(spl, 3), ended, round(left_m, 2))


def _picture(run: Simulation, time_s: float) -> np.ndarray:
    return run.frame(time_s)[0]


def interval(value_B: np.ndarray, seed: int = 0) -> list[float]:
    """Return the 95 % interval of a mean over buildings, drawn anew with replacement."""
    drawn = np.random.default_rng(seed).integers(0, len(value_B), (2000, len(value_B)))
    return [round(float(value), 3) for value in np.percentile(value_B[drawn].mean(axis=1), [2.5, 97.5])]


def shares(found: Sequence[Drive]) -> np.ndarray:
    """Return the share of successes of each building, in the order of their seeds."""
    seeds = sorted({each.building for each in found})
    return np.array([np.mean([each.has_succeeded for each in found if each.building == seed]) for seed in seeds])


def summary(found: Sequence[Drive], memory: Sequence[Drive]) -> dict[str, Any]:
    """Return the figures of one method at one task, and how its success differs from planning with memory."""
    done = [each for each in found if each.has_succeeded]
    ended: dict[str, int] = {}
    for each in found:
        ended[each.ended] = ended.get(each.ended, 0) + 1
    less_B = shares(found) - shares(memory)
    return {
        "success": round(len(done) / len(found), 3),
        "spl": round(float(np.mean([each.spl for each in found])), 3),
        "collisions": sum(each.contacts for each in found),
        "time_s": round(float(np.median([each.time_s for each in done])), 2) if done else None,
        "n": len(found),
        "interval": interval(shares(found)),
        "less_than_memory": {"mean": round(float(less_B.mean()), 3), "interval": interval(less_B)},
        "ended": ended,
    }


def make_robot(options: argparse.Namespace) -> Robot:
    """Return the robot with its encoders and what was trained for comparison."""
    artifact = load_artifact(options.artifact)
    encoder = Encoder(artifact)
    looks = Encoder(load_artifact(options.look)) if options.look else None
    step_s = artifact.manifest.step_s
    data = drives(encoder, options.training_drives) if options.training_drives else []
    if not data:
        data = [(np.zeros((9, encoder.z_dim), np.float32), np.zeros((9, encoder.action_dim), np.float32))]
    learners = (train(data, step_s, reads_time=reads_time) for reads_time in (False, True))
    return Robot(artifact, Eyes(encoder, looks), *learners)


Found = dict[str, dict[str, list[Drive]]]
"""Drives by task and method."""


def evaluate(options: argparse.Namespace) -> Iterator[Found]:
    """Yield what was found so far, building by building."""
    robot = make_robot(options)
    found: Found = {}
    for seed in range(options.first, options.first + options.buildings):
        building = make_building(seed)
        for kind in options.kinds:
            lap = robot.eyes.remember(seed, KINDS[kind])
            for name in options.tasks:
                tasks = [make_task(name, building, 1000 * seed + goal) for goal in range(options.goals)]
                for method in options.methods:
                    done = [drive(robot, lap, seed, at, task, method, KINDS[kind]) for at, task in enumerate(tasks)]
                    found.setdefault(f"{name}, {kind}", {}).setdefault(method, []).extend(done)
        yield found


def summarised(found: Found) -> dict[str, Any]:
    """Return the figures of every task and method."""
    return {
        task: {method: summary(drives, next(iter(methods.values()))) for method, drives in methods.items()}
        for task, methods in found.items()
    }


def main() -> None:
    """Evaluate and print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", default="artifact://tiny")
    parser.add_argument("--look", default="artifact://generic", help="whose features tell places apart; '': latents")
    parser.add_argument("--first", type=int, default=9300, help="seed of the first building")
    parser.add_argument("--buildings", type=int, default=10)
    parser.add_argument("--goals", type=int, default=20, help="goals in each building")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--training-drives", type=int, default=12, help="for what learns by imitation")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--raw", type=Path, help="every drive")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, Any] = {}
    for found in evaluate(options):
        figures = summarised(found)
        if options.raw:
            raw = {task: {m: [asdict(each) for each in done] for m, done in ms.items()} for task, ms in found.items()}
            options.raw.write_text(json.dumps(raw) + "\n")
        if options.json:
            options.json.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
