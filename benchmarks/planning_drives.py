"""One drive in the simulator: a task, a way of doing it, and how it ended."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from latent_planner.goals import GoalError

from benchmarks.planning_methods import METHODS as PLAIN
from benchmarks.planning_methods import SIDE, STEP_S, Lap, Method, Robot, Sight
from benchmarks.planning_policies import POLICIES
from wm_sim import DEFAULT_CHANGES, STILL, Changes, Simulation, Task, make_building, make_task

METHODS: dict[str, type[Method]] = PLAIN | {each.name: each for each in POLICIES}
TASKS = ("reach_image", "follow_route", "return_to_start")
KINDS: dict[str, Changes] = {"still": STILL, "with changes": DEFAULT_CHANGES}
_ANOTHER_RUN, _TASKS_OF_A_BUILDING = 500, 1000


@dataclass(frozen=True, order=True)
class Job:
    """One drive that is to be made.

    Attributes:
        task: Name in ``TASKS``.
        kind: Name in ``KINDS``: what changes.
        method: Name in ``METHODS``.
        building: Seed of the building.
        goal: Number of the goal in it.
    """

    task: str
    kind: str
    method: str
    building: int
    goal: int


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
        length_m: Shortest way there.
        processor_s: Processor time of all of it, the simulator's included.
    """

    building: int
    goal: int
    has_succeeded: bool
    contacts: int
    time_s: float
    spl: float
    ended: str
    left_m: float
    length_m: float = 0.0
    processor_s: float = 0.0


def drive(robot: Robot, lap: Lap, job: Job) -> Drive:
    """Return how one drive ends; a contact ends it."""
    began_s = time.process_time()
    task = make_task(job.task, make_building(job.building), _TASKS_OF_A_BUILDING * job.building + job.goal)
    run = Simulation(
        job.building + _ANOTHER_RUN, building_seed=job.building, image_size=(SIDE, SIDE), changes=KINDS[job.kind],
        driven_by="actions", task=task,
    )  # fmt: skip
    pictures = [run.view(pose)[0] for pose in task.waypoints]
    try:
        method = METHODS[job.method](robot, lap, pictures, task.time_limit_s)
        success, contacts, time_s, driven_m, left_m = _driven(run, method.command, task)
        ended = "reached" if success else "contact" if contacts else "late"
    except GoalError as error:
        success, contacts, time_s, driven_m, ended = False, 0, 0.0, 0.0, error.reason
        left_m = math.dist(task.start[:2], task.goal[:2])
    spl = success * task.length_m / max(driven_m, task.length_m)
    spent_s = time.process_time() - began_s
    return Drive(
        job.building, job.goal, success, contacts, round(time_s, 2), round(spl, 3), ended, round(left_m, 2),
        round(task.length_m, 2), round(spent_s, 2),
    )  # fmt: skip


def _driven(
    run: Simulation, command: Callable[[Sight], np.ndarray], task: Task
) -> tuple[bool, int, float, float, float]:
    """Return success, contacts (1 at most), time [s], way driven [m] and what is left of it [m]."""
    count, driven_m, before, outcome = 0, 0.0, task.start, run.judge(0.0)
    while outcome is not None and outcome.goes_on and not run.robot.contact_count:
        now_s = count * STEP_S
        pose, _ = run.measure_pose(now_s)
        run.command(command(Sight(now_s, np.array(pose), run.motion[0], partial(_picture, run, now_s))))
        count += 1
        outcome = run.judge(count * STEP_S)
        here = run.robot.pose_at(count * STEP_S)
        driven_m, before = driven_m + math.dist(before[:2], here[:2]), here
    success = bool(outcome and outcome.has_succeeded)
    left_m = math.dist(before[:2], task.goal[:2])
    return success, min(run.robot.contact_count, 1), count * STEP_S, driven_m, left_m


def _picture(run: Simulation, time_s: float) -> np.ndarray:
    return run.frame(time_s)[0]
