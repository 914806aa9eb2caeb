"""What planning costs: a decision of model-predictive control, the field of a goal, looking a goal up."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from latent_planner.goals import look_up
from latent_planner.ground import Ground, GroundSettings
from latent_planner.limits import Limits
from latent_planner.mppi import MppiSettings
from latent_planner.planner import Planner
from latent_planner.vehicle import Vehicle

from wm_sim import simulate
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.motion_model import MotionModel

LAPS, MEMORIES, LOOKED_UP, LATENT = 10, 20_000, 100_000, 32


def spent_ms(work: Callable[[], object], times: int) -> float:
    """Return the median time of some repetitions [ms], after one that is not counted."""
    work()
    taken = []
    for _ in range(times):
        begin_s = time.perf_counter()
        work()
        taken.append((time.perf_counter() - begin_s) * 1e3)
    return round(float(np.median(taken)), 3)


def memories(seed: int) -> np.ndarray:
    """Return poses [N, 3] of ``MEMORIES`` memories: laps of one building, each with errors of its own."""
    lap_N3 = np.array([step.pose for step in simulate(seed, 100.0, image_size=(8, 8))])
    rng = np.random.default_rng(seed)
    laps = [lap_N3 + rng.normal(0.0, (0.05, 0.05, 0.02)) for _ in range(MEMORIES // len(lap_N3) + 1)]
    return np.concatenate(laps)[:MEMORIES]


def main() -> None:
    """Measure and print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=50)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    pose_N3 = memories(options.seed)
    session_N = np.arange(len(pose_N3)) // 2000
    goal_3 = pose_N3[700]
    ground = Ground(pose_N3, session_N, GroundSettings())
    artifact = load_artifact("artifact://tiny")
    vehicle = Vehicle(MotionModel.from_manifest(artifact.manifest.motion), artifact.manifest.step_s, 2)
    planner = Planner(vehicle, Limits(), mppi=MppiSettings(plans=1000, steps=56))
    planner.drive_to(goal_3, ground.field(goal_3[:2]))
    rng = np.random.default_rng(options.seed)
    look_ND = rng.normal(size=(LOOKED_UP, LATENT)).astype(np.float32)
    place_N3 = np.column_stack([rng.uniform(0.0, 100.0, (LOOKED_UP, 2)), rng.uniform(-3.0, 3.0, LOOKED_UP)])
    found = {
        "mppi_ms": spent_ms(lambda: planner.decide(pose_N3[0], 0.5), options.repeat),
        "field_ms": spent_ms(
            lambda: Ground(pose_N3, session_N, GroundSettings()).field(goal_3[:2]), options.repeat // 5
        ),
        "goal_lookup_ms": spent_ms(lambda: look_up(look_ND[17], look_ND, place_N3), options.repeat // 5),
        "config": {
            "plans": 1000, "steps": 56, "memories": MEMORIES, "looked_up": LOOKED_UP, "latent": LATENT,
            "seed": options.seed,
        },
    }  # fmt: skip
    print(json.dumps(found, indent=2))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
