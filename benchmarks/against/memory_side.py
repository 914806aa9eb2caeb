"""One side's spatial memory, in that side's environment and by its public names: fills it or measures it.

Records and queries are made from names and positions that every revision has; the world comes from files, so that both
sides remember the same numbers.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import spatial_memory as sm
from benchmarks import memory_world as mw
from benchmarks.against.sides import require_own

STEP_NS = 100_000_000
CHUNK = 1_000
INSERTS = 300
ROUNDS = 10
BATCHES = 5
STORE = "memory.sqlite3"


def open_memory(folder: Path, size: int) -> Any:
    """Return the memory in a folder, with cells as its radius asks for and room for more than its size."""
    grid = sm.CellGrid(sm.LocalMap(), sm.resolution_for(mw.RADIUS_M))
    return sm.CellMemory(sm.Store(folder / STORE), grid, capacity=size + 100_000)


def record(stamp_ns: int, latent_D: np.ndarray, place: tuple[float, float, float], successors: tuple[Any, ...]) -> Any:
    """Return a record at x, y [m] and yaw [rad]."""
    x, y, yaw = place
    names = {field.name for field in dataclasses.fields(sm.MemoryRecord)}
    fields: dict[str, Any] = {"yaw" if "yaw" in names else "heading": yaw}
    fields |= {"session": "bench", "encoder_id": "bench", "successors": successors, "surprise": 0.5}
    fields |= {"action_A": np.array([0.5, 0.1], np.float32), "previous_action_A": np.array([0.5, 0.1], np.float32)}
    return sm.MemoryRecord(stamp_ns=stamp_ns, latent_D=latent_D, x=x, y=y, **fields)


def fill(world: mw.World, folder: Path) -> None:
    """Write a whole world to a new store, each record with both successors."""
    count = len(world.x_N)
    memory = open_memory(folder, count)
    for start in range(0, count, CHUNK):
        memory.insert([state(world, at) for at in range(start, min(count, start + CHUNK))])
    memory.flush()
    memory.close()


def state(world: mw.World, at: int) -> Any:
    """Return one state of a world as a record, with both successors."""
    followed = ((0.1, world.successor_ND[at]), (1.0, world.later_ND[at]))
    successors = tuple(sm.Successor(horizon_s, horizon_s, world.latent_ND[next_]) for horizon_s, next_ in followed)
    place = (float(world.x_N[at]), float(world.y_N[at]), float(world.yaw_N[at]))
    return record((at + 1) * STEP_NS, world.latent_ND[at], place, successors)


def query(queries: mw.Queries, at: int) -> Any:
    """Return one query as a predictor asks it: nearest by latent within the radius, successors included."""
    place = sm.Place(float(queries.x_Q[at]), float(queries.y_Q[at]), 0.0, float(queries.yaw_Q[at]))
    return sm.Query(k=mw.K, place=place, radius_m=mw.RADIUS_M, rank_by="latent", latent_D=queries.latent_QD[at],
                    successors=True)  # fmt: skip


def measure(size: int, folder: Path, queries: mw.Queries, planner: mw.Queries) -> dict[str, float]:
    """Return what opening, asking and keeping cost.

    Times: of reading a store on disk [s]; the median of single queries [ms]; the median of batches of queries around
    one place [ms]; records kept one by one until they are durable, per record [ms]. Memory: of the whole process once
    it has answered [bytes].

    Args:
        size: States in the memory.
        folder: Where its store lies; records are added to it.
        queries: To ask one by one, with the truth.
        planner: To ask in one call.
    """
    begin = time.perf_counter()
    memory = open_memory(folder, size)
    startup_s = time.perf_counter() - begin
    asked = [query(queries, at) for at in range(len(queries.x_Q))]
    found, times_s = mw.timed(lambda at: [each.id for each in memory.query(asked[at]).records], len(asked))
    together = [query(planner, at) for at in range(len(planner.x_Q))]
    batch_s = [_seconds(lambda: memory.query_batch(together)) for _ in range(BATCHES)]
    rss_bytes = psutil.Process().memory_info().rss
    insert_s = _insert_s(memory, size)
    memory.close()
    return {
        "startup_s": startup_s,
        "query_p50_ms": float(np.median(times_s)) * 1e3,
        "batch_ms": float(np.median(batch_s)) * 1e3,
        "insert_ms": insert_s / INSERTS * 1e3,
        "rss_bytes": float(rss_bytes),
        "recall": mw.recall(found, queries.truth_QK),
    }


def _insert_s(memory: Any, size: int) -> float:
    """Return the median time of keeping ``INSERTS`` records one by one until they are durable [s]."""
    rng = np.random.default_rng(3)
    count = INSERTS * ROUNDS
    latent_ND = rng.standard_normal((count, mw.DIM), dtype=np.float32)
    xy_N2 = rng.uniform(-1, 1, (count, 2)).tolist()
    followed = (sm.Successor(0.1, 0.1, np.zeros(mw.DIM, np.float32)),)
    records = [
        record((size + at + 1) * STEP_NS, latent_ND[at], (x, y, 0.0), followed) for at, (x, y) in enumerate(xy_N2)
    ]

    def keep(some: list[Any]) -> None:
        for each in some:
            memory.insert([each])
        memory.flush()

    rounds = [records[start : start + INSERTS] for start in range(0, count, INSERTS)]
    return float(np.median([_seconds(partial(keep, some)) for some in rounds]))


def _seconds(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def main() -> None:
    """Fill a folder, or measure it and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("fill", "measure"))
    parser.add_argument("given", type=Path, help="folder of the world and the queries")
    parser.add_argument("folder", type=Path, help="of the store")
    options = parser.parse_args()
    require_own(sm.__file__)
    if options.what == "fill":
        world = mw.World(**mw.load(options.given / "world.npz"))
        options.folder.mkdir(parents=True)
        fill(world, options.folder)
        print(json.dumps({"count": len(world.x_N)}))
        return
    queries, planner = (mw.Queries(**mw.load(options.given / f"{name}.npz")) for name in ("queries", "planner"))
    size = int(mw.load(options.given / "size.npz")["size"])
    print(json.dumps(measure(size, options.folder, queries, planner)))


if __name__ == "__main__":
    main()
