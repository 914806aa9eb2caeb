"""Hours of stamps through recorder, store, window and predictor, or of the whole graph: growth from a full memory on.

scripts/bench soak [--hours 24] [--capacity 20000] [--seed 0] [--json PATH]
scripts/bench soak --graph composed|separate [--hours 2] [--capacity 20000] [--seed 0] [--json PATH]

The first goes as fast as it can, without images and without ROS; the second lets the simulated robot drive in real
time. The memory is full before counting begins; from then on eviction, snapshots and loop closures (a transform there
and back) go on. Reported: where a linear fit of the resident memory begins and ends, and the share between; the largest
file (and shared memory); the 99th percentile, in the first and in the last quarter, of a step's time, or of the ages of
``/latent`` and ``/latent_next``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil

from benchmarks.against.graph_side import FORMS
from benchmarks.driver import own_domain_id
from benchmarks.figures import machine, summary
from benchmarks.growth import Sample, growth, quarters_p99, size_mb
from benchmarks.soak_graph import WARM_UP_S, measure
from spatial_memory import CellGrid, CellMemory, LocalMap, Place, Query, Rigid, Store
from wm_core.memory.journal import Area
from wm_core.memory.recorder import Recorder, State
from wm_core.memory.window import Window
from wm_core.se2 import Pose2
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.predictor import Observation, Predictor

STEP_NS = 50_000_000
SAMPLE_EVERY = 200
CLOSURE_EVERY, SNAPSHOT_EVERY = 12_000, 36_000
PREDICT_EVERY = 20
AREA_M = 5.0


def drive(number: int, rng: np.random.Generator) -> tuple[Place, np.ndarray]:
    """Return place and action of a robot that goes round in a building which it knows, and wanders a little."""
    angle = number * 0.05 / 20.0
    radius = 20.0 + 8.0 * math.sin(angle / 7.3)
    x, y = radius * math.cos(angle), radius * math.sin(angle)
    action_A = np.array([1.0, 0.05], np.float32) + rng.normal(0, 0.01, 2).astype(np.float32)
    return Place(x, y, 0.0, math.remainder(angle + math.pi / 2, 2 * math.pi)), action_A


def _around(place: Place) -> tuple[float, float, float]:
    """Return middle and radius of the area that is held at hand [m]; it moves now and then, as a robot's does."""
    return round(place.x / AREA_M) * AREA_M, round(place.y / AREA_M) * AREA_M, 2.0 * AREA_M


class Soak:
    """One robot's memory and predictor, driven by stamps.

    Args:
        folder: Where its file lies.
        capacity: Of its memory.
        seed: Of what it sees.
    """

    def __init__(self, folder: Path, capacity: int, seed: int) -> None:
        self._folder = folder
        self._rng = np.random.default_rng(seed)
        self._artifact = load_artifact("artifact://tiny")
        self._predictor = Predictor(self._artifact)
        self.memory = CellMemory(Store(folder / "memory.sqlite3"), CellGrid(LocalMap(), 15), capacity)
        self._recorder = Recorder(self.memory, "soak")
        self._window = Window()
        self._scene = self._rng.normal(size=(64, self._artifact.manifest.z_dim)).astype(np.float32)
        self.number = 0

    def step(self) -> float:
        """Take one state, as the graph does 20 times a second, and return how long that took [s]."""
        self.number += 1
        place, action_A = drive(self.number, self._rng)
        seen = int((math.atan2(place.y, place.x) / (2 * math.pi) % 1.0) * len(self._scene)) % len(self._scene)
        noise_D = np.asarray(self._rng.normal(0, 0.1, self._scene.shape[1]), np.float32)
        latent_D = self._scene[seen] + noise_D
        stamp_ns = self.number * STEP_NS
        begin_s = time.perf_counter()
        self._recorder.observe(State(stamp_ns, latent_D, self._artifact.manifest.encoder_id, place, action_A))
        pose = Pose2(place.x, place.y, place.z, place.yaw)
        self._predictor.observe(Observation(stamp_ns, latent_D, pose, action_A))
        if self.number % PREDICT_EVERY == 0:
            self._predictor.predict(None)
        area = Area(*_around(place))
        update = self.memory.window(self._window.ask(area))
        if update is not None:
            self._window.apply(update, area)
        self.memory.query_batch([Query(k=8, place=place, radius_m=2.0, latent_D=latent_D, successors=True)])
        took_s = time.perf_counter() - begin_s
        self._keep_house()
        return took_s

    def _keep_house(self) -> None:
        if self.number % CLOSURE_EVERY == 0:
            self.memory.transform(Rigid(0.1, -0.1, 0.0, 0.0))
            self.memory.transform(Rigid(-0.1, 0.1, 0.0, 0.0))
        if self.number % SNAPSHOT_EVERY == 0:
            self.memory.snapshot(self._folder / "snapshot")
            self._predictor.reset()


def soak(hours: float, capacity: int, seed: int) -> dict[str, Any]:
    """Return what hours of stamps cost once the memory is full."""
    steps, samples = round(hours * 3600e9 / STEP_NS), []
    took_s = np.zeros(steps)  # made at once: a list would grow with the time that is measured
    process = psutil.Process()
    with TemporaryDirectory(prefix="soak_") as folder:
        run = Soak(Path(folder), capacity, seed)
        while run.memory.stats().memory_count < capacity:
            run.step()
        filled = run.number
        for at in range(steps):
            took_s[at] = run.step()
            if at % SAMPLE_EVERY == 0:
                counted_h = (run.number - filled) * STEP_NS / 3600e9
                samples.append(Sample(counted_h, process.memory_info().rss / 1e6, size_mb(Path(folder))))
        run.memory.close()
    return {**figures_of(samples, took_s), "filled_after_steps": filled, "steps": steps}


def figures_of(samples: Sequence[Sample], took_s: np.ndarray) -> dict[str, Any]:
    """Return what samples and the times of all steps [s] come to."""
    return {**growth(samples), "step_p99_ms": quarters_p99(took_s * 1e3)}


def soak_graph(form: str, hours: float, capacity: int, seed: int, warm_up_s: float) -> dict[str, Any]:
    """Return what hours of the whole graph cost; see ``benchmarks.soak_graph.measure``."""
    samples, ages, done = measure(hours, capacity, form, own_domain_id(), seed, warm_up_s)
    shared_mb = [each.shared_mb for each in samples]
    return {
        **growth(samples),
        "shared_mb": {"start": round(shared_mb[0], 2), "max": round(max(shared_mb), 2)},
        "age_p99_ms": {name: quarters_p99(values_ms) for name, values_ms in ages.items()},
        "age_ms": {name: summary(values_ms) for name, values_ms in ages.items()},
        "warm_up_s": warm_up_s,
        **done,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and print the figures; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, help="from a full memory on: 24 of stamps, 2 of the graph")
    parser.add_argument("--graph", choices=FORMS, help="the whole graph, in one process or in one for each node")
    parser.add_argument("--warm-up", type=float, default=WARM_UP_S, help="of the graph, before it counts [s]")
    parser.add_argument("--capacity", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    hours = options.hours or (2.0 if options.graph else 24.0)
    given = (hours, options.capacity, options.seed)
    figures = soak_graph(options.graph, *given, options.warm_up) if options.graph else soak(*given)
    report = {"hours": hours, "capacity": options.capacity, "seed": options.seed, "graph": options.graph, **figures}
    print(json.dumps({name: value for name, value in report.items() if name != "samples"}))
    if options.json:
        options.json.write_text(json.dumps({**report, "machine": machine()}, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
