"""Closed loop in latent space, to a picture two seconds of way ahead: all steps in one call, and one after another.

No pose of the goal is known, no field leads there: a search over the forecaster drives, and keeps to ground where the
robot has been. Both ways have the same goals, candidates, seeds and memories. A drive has succeeded when the robot is
near the goal and faces as it does at the end, after ``ALLOWED_S``, and has touched nothing.

Shape suffixes: B = plans, S = steps, A = action size, D = latent size, 3 = (x, y, yaw).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from latent_planner.costs import Cost, GoalLatent, Imagined, TotalCost
from latent_planner.ground import Ground
from latent_planner.ground_settings import GroundSettings
from latent_planner.imagination import Imagination, Standpoint
from latent_planner.limits import Limits
from latent_planner.optimisers import METHODS, Optimiser, SearchSettings
from latent_planner.vehicle import Vehicle

from benchmarks.planner_loop import StepByStep
from benchmarks.planner_world import drive, window_of
from benchmarks.planning_figures import interval
from latent_publisher.encoder import Encoder
from wm_core.memory.window import Window
from wm_sim import Simulation, Task
from world_model.runtime.artifacts import Artifact
from world_model.runtime.motion_model import MotionModel

WAYS = ("one_call", "steps")
# Fewer than a decision usually has: step by step they take long.
SEARCH = SearchSettings(plans=64, iterations=3, elites=8)
LIMITS = Limits(high=(1.2, 2.0))
STEP_S, HELD, AHEAD_S, ALLOWED_S, RUN = 0.05, 4, 2.0, 6.0, 900
NEAR_M, NEAR_RAD, FREE_M, BESIDE_WEIGHT = 0.5, math.radians(30.0), 0.15, 20.0
STARTS_S = (1.0, 4.0, 7.0)
_HOUR_NS = 3_600_000_000_000


class Beside:
    """How far each step leads from the ground beside the robot's own track [m]: a cost.

    Args:
        ground: Where the robot has been.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def __call__(self, imagined: Imagined) -> np.ndarray:
        """Return the costs, [B, S]."""
        beside_BS = self._ground.beside_m_YX[self._ground.cells(imagined.pose_BS3[..., :2])]
        return np.asarray(np.maximum(beside_BS - FREE_M, 0.0))


class Driver:
    """Drives a robot by searching over the forecaster.

    Args:
        artifact: Whose.
        window: The memories.
        method: Name of the search.
        way: ``one_call`` or ``steps``: how plans are forecast.
        ground: Where the robot has been.
    """

    def __init__(self, artifact: Artifact, window: Window, method: str, way: str, ground: Ground) -> None:
        manifest = artifact.manifest
        self._vehicle = Vehicle(MotionModel.from_manifest(manifest.motion), manifest.step_s, manifest.action_dim)
        self._imagination = Imagination(artifact, self._vehicle)
        self._stepwise = StepByStep(artifact, self._imagination, window) if way == "steps" else None
        self._window, self._beside = window, Beside(ground)
        self._search: Optimiser = METHODS[method](LIMITS, SEARCH, 0)
        self._variance_D = np.array(manifest.latent_variance)
        self._state_1C = self._imagination.transition.initial(1)
        self._told_A = np.zeros(2)

    def decide(self, time_s: float, pose_3: np.ndarray, latent_D: np.ndarray, goal_D: np.ndarray) -> np.ndarray:
        """Return the command for the next ``HELD`` steps."""
        stamp_ns = self._window.newest_ns + _HOUR_NS + int(time_s * 1e9)
        begun = Standpoint(stamp_ns, pose_3, latent_D, self._state_1C)
        self._imagination.begin(begun, self._window)
        terms: list[tuple[float, Cost]] = [(1.0, GoalLatent(goal_D, self._variance_D)), (BESIDE_WEIGHT, self._beside)]
        evaluate = self._costs(begun, TotalCost(terms, 0.99))
        command_A: np.ndarray = self._search.plan(evaluate, pose_3, self._told_A).plan_SA[0].astype(float)
        self._search.advance()
        self._note(latent_D, command_A)
        return command_A

    def _costs(self, begun: Standpoint, cost: TotalCost) -> Callable[[np.ndarray], np.ndarray]:
        def evaluate(plan_BSA: np.ndarray) -> np.ndarray:
            if self._stepwise is None:
                return cost(self._imagination.imagine(plan_BSA))
            pose_BS3 = self._imagination.rolled_out(plan_BSA)
            return cost(Imagined(plan_BSA, pose_BS3, self._stepwise.imagine(begun, plan_BSA)))

        return evaluate

    def _note(self, latent_D: np.ndarray, command_A: np.ndarray) -> None:
        """Take in what was seen and what is told."""
        latent_1D, action_1A = (torch.from_numpy(np.asarray(v, np.float32)[None]) for v in (latent_D, command_A))
        with torch.inference_mode():
            for _ in range(HELD):
                self._state_1C = self._imagination.transition.observe(latent_1D, action_1A, self._state_1C)
        for _ in range(HELD):
            self._vehicle.told(command_A)
        self._told_A = command_A


def driven(driver: Driver, encoder: Encoder, seed: int, task: Task) -> dict[str, Any]:
    """Return how one drive ends: success, contact or away, how far from the goal and what a decision took."""
    run = Simulation(seed + RUN, building_seed=seed, image_size=(64, 64), driven_by="actions", task=task)
    goal_D, taken_s = encoder.encode(run.view(task.goal)[0]), []
    command_A = np.zeros(2)
    for count in range(round(ALLOWED_S / STEP_S)):
        now_s = count * STEP_S
        pose, _ = run.measure_pose(now_s)
        if count % HELD == 0:
            latent_D = encoder.encode(run.frame(now_s)[0])
            begin_s = time.process_time()
            command_A = driver.decide(now_s, np.array(pose), latent_D, goal_D)
            taken_s.append(time.process_time() - begin_s)
        run.command(command_A)
        run.judge(now_s + STEP_S)
        if run.robot.contact_count:
            break
    x, y, yaw = run.robot.pose_at(now_s + STEP_S)
    left_m, turn = math.dist((x, y), task.goal[:2]), abs(math.remainder(yaw - task.goal[2], 2 * math.pi))
    is_there = left_m <= NEAR_M and turn <= NEAR_RAD and not run.robot.contact_count
    return {
        "building": seed, "success": is_there,
        "ended": "reached" if is_there else "contact" if run.robot.contact_count else "away",
        "left_m": round(left_m, 2), "way_m": round(task.length_m, 2),
        "decision_ms": round(float(np.median(taken_s)) * 1e3, 1),
    }  # fmt: skip


def tasks_of(seed: int) -> list[Task]:
    """Return starts and goals on a run that is not remembered, ``AHEAD_S`` of its way apart."""
    run = Simulation(seed + RUN + 1, building_seed=seed, image_size=(8, 8))
    pose_T = [run.step().true_pose for _ in range(round((max(STARTS_S) + AHEAD_S) / STEP_S) + 1)]
    ahead, tasks = round(AHEAD_S / STEP_S), []
    for start_s in STARTS_S:
        at = round(start_s / STEP_S)
        way_m = sum(math.dist(a[:2], b[:2]) for a, b in zip(pose_T[at : at + ahead], pose_T[at + 1 : at + ahead + 1]))
        tasks.append(Task("reach_image", pose_T[at], (pose_T[at + ahead],), way_m, ALLOWED_S))
    return tasks


def closed_loop(artifact: Artifact, seeds: range, methods: tuple[str, ...] = ("cem", "icem")) -> dict[str, Any]:
    """Return every drive in some buildings, and the share of successes each way, by method."""
    encoder, step_s = Encoder(artifact), artifact.manifest.step_s
    drives: dict[str, list[dict[str, Any]]] = {f"{method}, {way}": [] for method in methods for way in WAYS}
    for seed in seeds:
        runs = [drive(seed, number * 500, encoder, 50.0) for number in range(2)]
        window = window_of(runs, artifact.manifest.encoder_id, step_s)
        pose_N3 = np.concatenate([each.pose_T3 for each in runs])
        ground = Ground(pose_N3, np.repeat(range(len(runs)), [len(each.pose_T3) for each in runs]), GroundSettings())
        for task in tasks_of(seed):
            for method in methods:
                for way in WAYS:
                    driver = Driver(artifact, window, method, way, ground)
                    drives[f"{method}, {way}"].append(driven(driver, encoder, seed, task))
    return {**{name: _summary(found) for name, found in drives.items()}, "one_call_less_steps": _less(drives, methods),
            "drives": drives}  # fmt: skip


def _shares(found: list[dict[str, Any]]) -> np.ndarray:
    seeds = sorted({each["building"] for each in found})
    return np.array([np.mean([each["success"] for each in found if each["building"] == seed]) for seed in seeds])


def _summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    ended = {name: sum(each["ended"] == name for each in found) for name in ("reached", "contact", "away")}
    return {
        "success": round(float(np.mean([each["success"] for each in found])), 3), "interval": interval(_shares(found)),
        "n": len(found), "ended": ended, "left_m": round(float(np.median([each["left_m"] for each in found])), 2),
        "decision_ms": round(float(np.median([each["decision_ms"] for each in found])), 1),
    }  # fmt: skip


def _less(drives: dict[str, list[dict[str, Any]]], methods: tuple[str, ...]) -> dict[str, Any]:
    """Return the difference of successes, building by building."""
    found = {}
    for method in methods:
        less_B = _shares(drives[f"{method}, one_call"]) - _shares(drives[f"{method}, steps"])
        found[method] = {"mean": round(float(less_B.mean()), 3), "interval": interval(less_B)}
    return found
