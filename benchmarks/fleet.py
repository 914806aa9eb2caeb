"""What one robot's memory is worth to another: export, import, and the error at places the second never saw.

Robot 1 drives round a simulated building several times. What it remembers of it goes, as a region, into the empty
memory of robot 2. An hour later each drives round once more, with other people, light and noise: robot 1 comes back,
robot 2 is there for the first time. Whoever has the same memory and drives the same drive must do equally well.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from time import process_time
from typing import Any

import numpy as np

from latent_publisher.encoder import Encoder
from spatial_memory import CellGrid, CellMemory, LocalMap, Store
from spatial_memory.region.export import export_region
from spatial_memory.region.merge import import_region
from wm_api.memories import memories_of
from wm_core.memory.query import Place
from wm_core.memory.recorder import Recorder, State
from wm_core.se2 import Pose2, wrap_angle
from wm_sim import DEFAULT_CHANGES, STILL, SimStep, simulate
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.metrics import ErrorTracker
from world_model.runtime.prediction import Observation
from world_model.runtime.predictor import Predictor

HOUR_S = 3600.0
EXCLUDED_S, NEAR_M, NEAR_RAD = 20.0, 1.0, np.radians(30.0)


@dataclass(frozen=True)
class Scored:
    """A forecast whose time has come.

    Attributes:
        stamp_s: That time, since the drive began [s].
        error: NMSE 1 s ahead.
        without_memory: The same without memories.
        persistence: The same of "nothing changes".
        seen_by_itself: Whether this robot had been there before in this drive, 20 s or more ago.
    """

    stamp_s: float
    error: float
    without_memory: float
    persistence: float
    seen_by_itself: bool


class Robot:
    """Drives with a memory in a file.

    Args:
        artifact: Its models.
        path: Its memory.
        start_s: When it starts [s].
    """

    def __init__(self, artifact: Artifact, path: Path, start_s: float) -> None:
        manifest = artifact.manifest
        self._artifact, self._start_s = artifact, start_s
        self._encoder = Encoder(artifact)
        self._memory = CellMemory(Store(path), CellGrid(LocalMap(), 15))
        self._predictor = Predictor(artifact)
        self._tracker = ErrorTracker(np.asarray(manifest.latent_variance), manifest.step_s / 2)
        self._recorder = Recorder(
            self._memory,
            f"drive-{start_s:.0f}",
            horizons_s=(manifest.step_s, manifest.horizon_s),
            step_s=manifest.step_s,
        )
        self._trail: list[tuple[float, float, float, float]] = []

    def drive(self, steps: Iterator[SimStep]) -> list[Scored]:
        """Drive and return what was scored one horizon ahead."""
        scored: list[Scored] = []
        for step in steps:
            scored += self._step(step)
        self._memory.close()
        return scored

    def _step(self, step: SimStep) -> list[Scored]:
        manifest = self._artifact.manifest
        stamp_ns = round((self._start_s + step.stamp_s) * 1e9)
        x, y, yaw = step.pose
        latent_D = self._encoder.encode(step.image_HWC)
        observation = Observation(stamp_ns, latent_D, Pose2(x, y, 0.0, yaw), step.action_A)
        requests = self._predictor.observe(observation)
        judged = self._tracker.observe(observation)
        queries = [request.to_query(manifest.encoder_id) for request in requests]
        found = [memories_of(each) for each in self._memory.query_batch(queries)] if len(self._memory) else None
        self._tracker.expect(self._predictor.predict(found))
        state = State(stamp_ns, latent_D, manifest.encoder_id, Place(x, y, 0.0, yaw), step.action_A)
        self._recorder.observe(state)
        seen = self._was_here(step.stamp_s, step.true_pose)
        return [
            Scored(step.stamp_s, each.error, each.error_without_memory, each.error_persistence, seen)
            for each in judged
            if abs(each.forecast.horizon_s - manifest.horizon_s) < 1e-6
        ]

    def _was_here(self, stamp_s: float, pose: tuple[float, float, float]) -> bool:
        x, y, yaw = pose
        self._trail.append((stamp_s, x, y, yaw))
        trail_T4 = np.array(self._trail)
        old_T = trail_T4[:, 0] <= stamp_s - EXCLUDED_S
        near_T = np.hypot(trail_T4[:, 1] - x, trail_T4[:, 2] - y) <= NEAR_M
        turned = np.array([abs(wrap_angle(float(each))) for each in trail_T4[old_T & near_T, 3] - yaw])
        return bool((turned <= NEAR_RAD).any())


def mean(scored: Sequence[Scored], name: str) -> float:
    """Return the mean of one figure; NaN where nothing was scored."""
    values = [getattr(each, name) for each in scored if np.isfinite(getattr(each, name))]
    return float(np.mean(values)) if values else float("nan")


def measure(building: int, options: argparse.Namespace, artifact: Artifact, folder: Path) -> dict[str, Any]:
    """Return the figures of one building."""
    one, two, copy = folder / "one", folder / "two", folder / "copy"
    changes = STILL if options.still else DEFAULT_CHANGES

    def drive(path: Path, run: int, hour: int, seconds: float) -> list[Scored]:
        steps = simulate(1_000_000 + 10 * building + run, seconds, building_seed=building, changes=changes)
        return Robot(artifact, path, hour * HOUR_S).drive(steps)

    drive(one, 0, 1, options.seconds)
    begin_s = process_time()
    region, size = export_region(one, folder / "region")
    exported_s, begin_s = process_time() - begin_s, process_time()
    merged = import_region(folder / "region", two)
    imported_s = process_time() - begin_s
    copyfile(one, copy)
    # Not where either has been in this drive: what it knows of these places was remembered before.
    again, first, same = (
        [each for each in drive(path, run, 2, options.first) if not each.seen_by_itself]
        for path, run in ((one, 1), (two, 2), (copy, 2))
    )
    return {
        "building": building,
        "records": len(region),
        "bytes_each": size / len(region),
        "imported": merged.added,
        "export_s": exported_s,
        "import_s": imported_s,
        "robot_1_revisit": mean(again, "error"),
        "robot_2_first_visit": mean(first, "error"),
        "robot_2_without_memory": mean(first, "without_memory"),
        "robot_1_in_robot_2s_place": mean(same, "error"),
        "nothing_changes": mean(first, "persistence"),
        "ratio": mean(first, "error") / mean(again, "error"),
    }


def main() -> None:
    """Measure building by building; print a line each and write JSON."""
    parser = argparse.ArgumentParser(prog="scripts/bench fleet", description=__doc__)
    parser.add_argument("--artifact", default=os.environ.get("WM_CHECKPOINT_PATH", "") or "artifact://tiny")
    parser.add_argument("--buildings", type=int, default=5, help="how many")
    parser.add_argument("--first-building", type=int, default=9000, help="seed of the first; none was trained on")
    parser.add_argument("--seconds", type=float, default=150.0, help="how long robot 1 drives [s]")
    parser.add_argument("--first", type=float, default=60.0, help="how long each drives after that [s]")
    parser.add_argument("--still", action="store_true", help="nothing in the buildings changes")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    artifact = load_artifact(options.artifact)
    rows = []
    for building in range(options.first_building, options.first_building + options.buildings):
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            rows.append(measure(building, options, artifact, folder))
        print(json.dumps(rows[-1]), flush=True)
    names = ("robot_1_revisit", "robot_2_first_visit", "robot_2_without_memory", "robot_1_in_robot_2s_place")
    means = {name: float(np.mean([row[name] for row in rows])) for name in names}
    summary = {
        "artifact": artifact.manifest.name,
        "still": options.still,
        **means,
        "ratio": means[names[1]] / means[names[0]],
        "rows": rows,
    }
    print(json.dumps({key: value for key, value in summary.items() if key != "rows"}))
    if options.json:
        options.json.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
