"""Lookups by pose in a window on the memory, as a planner makes them by the thousand: processor time of one call.

scripts/bench lookups [--places 2560] [--records 10k] [--seed 0] [--rounds 50] [--json PATH]

The 8 records nearest in pose to each place, by radius, yaw and age at once, compiled and portable in turns. However
many records there are, about as many lie around each place.

Shape suffixes: N = records, G = lookups, 3 = (x, y, yaw), 4 = quaternion x, y, z, w, A = action size, D = latent size.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import machine, summary
from benchmarks.memory import parse_size
from wm_core.memory.array_search import Nearest
from wm_core.memory.journal import Area, WindowUpdate
from wm_core.memory.kernels import load
from wm_core.memory.packed import Packed, Successors
from wm_core.memory.rows import Rows
from wm_core.memory.window import Window

K = 8
RADIUS_M = 1.0
YAW_TOLERANCE_RAD = math.pi / 3
DIM, ACTION_DIM = 32, 2
CANDIDATES = 70
"""About so many records pass all filters of a lookup."""
OLD_SHARE = 0.9
"""Of the records are old enough."""
PERIOD_NS = 100_000_000
WAYS = {"compiled": True, "portable": False}


@dataclass(frozen=True)
class Scene:
    """Records in a square, and places in it to look up."""

    packed: Packed
    side_m: float
    pose_G3: np.ndarray
    newest_G: np.ndarray

    def window(self, *, compiled: bool) -> Window:
        """Return a window that holds all records of an area in which every place's disc lies."""
        area = Area(self.side_m / 2, self.side_m / 2, self.side_m + 2 * RADIUS_M)
        newest_ns, window = int(self.packed.rows.stamp_N.max()), Window(compiled=compiled)
        update = WindowUpdate(1, 1, True, "first", area, newest_ns, None, True, self.packed, np.empty(0, np.int64))
        window.apply(update, area)
        return window

    def look_up(self, window: Window) -> Nearest:
        """Return the records nearest to each place."""
        return window.nearest_poses(
            self.pose_G3, K, radius_m=RADIUS_M, yaw_tolerance_rad=YAW_TOLERANCE_RAD, newest_G=self.newest_G
        )


def make_scene(records: int, places: int, seed: int) -> Scene:
    """Return records and places, both uniform in the square and in yaw."""
    rng = np.random.default_rng(seed)
    alike = OLD_SHARE * YAW_TOLERANCE_RAD / math.pi
    side_m = math.sqrt(records * alike * math.pi * RADIUS_M**2 / CANDIDATES)
    x_N, y_N = rng.uniform(0.0, side_m, (2, records))
    yaw_N = rng.uniform(-math.pi, math.pi, records)
    action_NA = rng.uniform(-1.0, 1.0, (records, ACTION_DIM)).astype(np.float32)
    rows = Rows(
        id_N=rng.permutation(records) + 1, stamp_N=np.arange(records) * PERIOD_NS, x_N=x_N, y_N=y_N,
        z_N=np.zeros(records), yaw_N=yaw_N.astype(np.float32), session_N=np.zeros(records, np.int32),
        surprise_N=np.full(records, np.nan, np.float32), action_NA=action_NA, previous_action_NA=action_NA,
        cell_N=np.zeros(records, np.uint64), latent_ND=rng.standard_normal((records, DIM), np.float32),
    )  # fmt: skip
    flat_N = np.zeros(records)
    quaternion_N4 = np.stack((flat_N, flat_N, np.sin(yaw_N / 2), np.cos(yaw_N / 2)), axis=1)
    packed = Packed("bench", "map", ("only",), rows, quaternion_N4, Successors.none(records, DIM))
    pose_G3 = np.column_stack(
        (rng.uniform(RADIUS_M, side_m - RADIUS_M, (places, 2)), rng.uniform(-math.pi, math.pi, places))
    )
    return Scene(packed, side_m, pose_G3, np.full(places, int(OLD_SHARE * records) * PERIOD_NS))


def measure(scene: Scene, rounds: int) -> dict[str, Any]:
    """Return processor times of all lookups in one call [ms], and how many candidates one lookup has."""
    windows = {name: scene.window(compiled=way) for name, way in WAYS.items() if not way or load() is not None}
    spent_ms: dict[str, list[float]] = {name: [] for name in windows}
    found = {name: scene.look_up(window) for name, window in windows.items()}
    for _ in range(rounds):
        for name, window in windows.items():
            begin_s = time.process_time()
            scene.look_up(window)
            spent_ms[name].append((time.process_time() - begin_s) * 1e3)
    figures: dict[str, Any] = {f"{name}_cpu_ms": summary(values) for name, values in spent_ms.items()}
    return figures | {"candidates_mean": round(float(found["portable"].candidate_count_G.mean()), 1)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="scripts/bench lookups", description=__doc__.splitlines()[0])
    parser.add_argument("--places", type=int, default=2560, help="to look up in one call")
    parser.add_argument("--records", type=parse_size, default="10k", help="in the window, such as 10k")
    parser.add_argument("--seed", type=int, default=0, help="of records and places")
    parser.add_argument("--rounds", type=int, default=50, help="calls of each way, taking turns")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args(arguments)
    asked = {name: getattr(options, name) for name in ("places", "records", "seed", "rounds")}
    scene = make_scene(options.records, options.places, options.seed)
    settings = {"k": K, "radius_m": RADIUS_M, "yaw_tolerance_rad": round(YAW_TOLERANCE_RAD, 4)}
    found = {**asked, **settings, **measure(scene, options.rounds), "machine": machine()}
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
