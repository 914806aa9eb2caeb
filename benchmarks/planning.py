"""Does the memory help to get there? Closed loop in buildings seen once, goals as pictures."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from latent_planner.goals import GoalError, look_up
from latent_planner.ground import Ground, GroundSettings
from latent_planner.limits import Limits
from latent_planner.planner import Planner
from latent_planner.vehicle import Vehicle

from latent_publisher.encoder import Encoder
from wm_sim import DEFAULT_CHANGES, STILL, SimStep, Simulation, Task, make_building, make_task, simulate
from wm_sim.building import Building
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.motion_model import MotionModel

LAP_S, KEPT_EVERY, SIDE = 50.0, 4, 64
LIMITS = Limits(high=(1.2, 2.0))
Steer = Callable[[SimStep], np.ndarray]


@dataclass(frozen=True)
class Lap:
    """What the robot remembers of a building: poses [N, 3] and latents [N, D] of one lap."""

    pose_N3: np.ndarray
    latent_ND: np.ndarray


@dataclass(frozen=True)
class Drive:
    """How one drive ended."""

    has_succeeded: bool
    contacts: int
    time_s: float
    spl: float
    refused: str = ""


def remember(seed: int, encoder: Encoder, *, still: bool) -> Lap:
    """Return the memories of a first lap."""
    changes = STILL if still else DEFAULT_CHANGES
    steps = list(simulate(seed, LAP_S, image_size=(SIDE, SIDE), changes=changes))[::KEPT_EVERY]
    return Lap(np.array([step.pose for step in steps]), np.stack([encoder.encode(step.image_HWC) for step in steps]))


def planned(lap: Lap, goal_3: np.ndarray, vehicle: Vehicle) -> Steer:
    """Drive by the field over remembered ground."""
    field = Ground(lap.pose_N3, np.zeros(len(lap.pose_N3), int), GroundSettings()).field(goal_3[:2])
    planner = Planner(vehicle, LIMITS)
    planner.drive_to(goal_3, field)
    return lambda step: planner.decide(np.array(step.pose), float(step.motion_2[0])).command_A


def straight(lap: Lap, goal_3: np.ndarray, vehicle: Vehicle) -> Steer:
    """Drive straight at the goal, then turn as it asks for."""
    return lambda step: _towards(np.array(step.pose), goal_3, goal_3[:2])


def replayed(lap: Lap, goal_3: np.ndarray, vehicle: Vehicle) -> Steer:
    """Drive on as the remembered lap did, from the memory nearest to the robot."""

    def steer(step: SimStep) -> np.ndarray:
        pose_3 = np.array(step.pose)
        turn_N = np.abs(np.angle(np.exp(1j * (lap.pose_N3[:, 2] - pose_3[2]))))
        away_N = np.hypot(*(lap.pose_N3[:, :2] - pose_3[:2]).T) + 0.3 * turn_N
        at = min(int(away_N.argmin()) + 3, len(away_N) - 1)
        near = np.hypot(*(pose_3[:2] - goal_3[:2])) < 0.6
        return _towards(pose_3, goal_3, goal_3[:2] if near else lap.pose_N3[at, :2])

    return steer


METHODS: dict[str, Callable[[Lap, np.ndarray, Vehicle], Steer]] = {
    "memory": planned, "straight_line": straight, "nearest_drive": replayed,
}  # fmt: skip


def _towards(pose_3: np.ndarray, goal_3: np.ndarray, point_2: np.ndarray) -> np.ndarray:
    if math.dist(pose_3[:2], goal_3[:2]) < 0.25:
        turn = math.remainder(goal_3[2] - pose_3[2], 2 * math.pi)
        return np.array([0.0, 0.0 if abs(turn) < 0.2 else 2.0 * turn])
    bearing = math.remainder(math.atan2(point_2[1] - pose_3[1], point_2[0] - pose_3[0]) - pose_3[2], 2 * math.pi)
    return np.clip([1.2 if abs(bearing) < 0.5 else 0.0, 2.5 * bearing], LIMITS.low, LIMITS.high)


def drive(
    lap: Lap, building: Building, task: Task, method: str, tools: tuple[Encoder, Vehicle], *, still: bool
) -> Drive:
    """Return how one drive to the place of a picture ends."""
    encoder, vehicle = tools
    changes = STILL if still else DEFAULT_CHANGES
    run = Simulation(
        building.seed + 500, building_seed=building.seed, image_size=(SIDE, SIDE), changes=changes,
        driven_by="actions", task=task,
    )  # fmt: skip
    picture, _ = run.view(task.goal)
    vehicle.reset()
    try:
        steer = METHODS[method](lap, look_up(encoder.encode(picture), lap.latent_ND, lap.pose_N3).pose_3, vehicle)
    except (GoalError, ValueError) as error:
        return Drive(False, 0, 0.0, 0.0, getattr(error, "reason", "unknown ground"))
    step, driven_m = run.step(), 0.0
    while step.outcome and step.outcome.goes_on:
        before = step.true_pose
        step = run.step(steer(step))
        driven_m += math.dist(before[:2], step.true_pose[:2])
    success = bool(step.outcome and step.outcome.has_succeeded)
    spl = success * task.length_m / max(driven_m, task.length_m)
    return Drive(success, step.contact_count, step.stamp_s, spl)


def interval(success_BG: Sequence[Sequence[bool]], seed: int = 0) -> list[float]:
    """Return the 95 % interval of the share of successes, buildings drawn anew with replacement."""
    share_B = np.array([np.mean(drives) for drives in success_BG])
    drawn = np.random.default_rng(seed).integers(0, len(share_B), (2000, len(share_B)))
    return [round(float(value), 3) for value in np.percentile(share_B[drawn].mean(axis=1), [2.5, 97.5])]


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """Return success, path length, contacts and time of each task and method."""
    artifact = load_artifact(options.artifact)
    encoder = Encoder(artifact)
    vehicle = Vehicle(MotionModel.from_manifest(artifact.manifest.motion), artifact.manifest.step_s, 2)
    drives: dict[str, dict[str, list[list[Drive]]]] = {}
    for still in (True, False):
        kind = "reach_image" + ("" if still else ", with changes")
        drives[kind] = {method: [] for method in METHODS}
        for seed in range(options.first, options.first + options.buildings):
            building, lap = make_building(seed), remember(seed, encoder, still=still)
            tasks = [make_task("reach_image", building, 1000 * seed + goal) for goal in range(options.goals)]
            for method, found in drives[kind].items():
                found.append([drive(lap, building, task, method, (encoder, vehicle), still=still) for task in tasks])
    return {kind: {method: _summary(found) for method, found in methods.items()} for kind, methods in drives.items()}


def _summary(found: list[list[Drive]]) -> dict[str, Any]:
    everything = [each for drives in found for each in drives]
    done = [each for each in everything if each.has_succeeded]
    return {
        "success": round(len(done) / len(everything), 3),
        "interval": interval([[each.has_succeeded for each in drives] for drives in found]),
        "spl": round(float(np.mean([each.spl for each in everything])), 3),
        "collisions": sum(each.contacts for each in everything),
        "time_s": round(float(np.median([each.time_s for each in done])), 2) if done else None,
        "refused": sum(bool(each.refused) for each in everything),
        "n": len(everything),
    }


def main() -> None:
    """Evaluate and print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", default="artifact://tiny")
    parser.add_argument("--first", type=int, default=9300, help="seed of the first building")
    parser.add_argument("--buildings", type=int, default=10)
    parser.add_argument("--goals", type=int, default=20, help="goals in each building")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = evaluate(options)
    print(json.dumps(found, indent=2))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
