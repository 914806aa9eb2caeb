"""What features cost a memory: RAM, disk, looking through all of it, and a change of basis meanwhile asked."""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from spatial_memory import CellGrid, CellMemory, LocalMap, Place, Query, Store, Successor, resolution_for
from spatial_memory.embedded.table import Catalogue
from spatial_memory.store.extras import PUT_EXTRA, Extra, pack_extra
from spatial_memory.store.schema import (
    PUT_META,
    PUT_RECORD,
    PUT_SESSION,
    PUT_SUCCESSOR,
    checksummed,
    pack_successor,
    to_tuples,
)
from wm_core.memory.place_search import Sought, recognise_in
from wm_core.memory.rows import Rows
from wm_core.projection import FeatureSpace, Projection

DIM, CHUNK = 32, 20_000
SPREAD_M = 150.0


def projection(feature_dim: int, seed: int) -> Projection:
    """Return any projection of such features."""
    rng = np.random.default_rng(seed)
    space = FeatureSpace("bench", feature_dim, 2, 0.05, 0)
    return Projection(space, np.zeros(feature_dim), rng.normal(size=(DIM, feature_dim)) / np.sqrt(feature_dim))


def fill(path: Path, size: int, feature_dim: int, grid: CellGrid, basis: Projection) -> None:
    """Write records with features to a new store, each with both successors."""
    Store(path).close()
    rng = np.random.default_rng(0)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    words = Catalogue(basis.encoder_id, DIM, 2, size + 1, {}, "map", "bench", feature_dim).meta(grid)
    connection.executemany(PUT_META, [checksummed(key, str(value)) for key, value in words.items()])
    connection.execute(PUT_SESSION, checksummed(1, "bench"))
    for start in range(0, size, CHUNK):
        part_N = np.arange(start, min(size, start + CHUNK))
        count = len(part_N)
        x_N, y_N = rng.uniform(-SPREAD_M, SPREAD_M, (2, count))
        feature_3NF = rng.integers(-128, 128, (3, count, feature_dim), dtype=np.int8)
        latent_3ND = [basis.project(feature_NF) for feature_NF in feature_3NF]
        action_NA = np.tile(np.array([0.5, 0.1], np.float32), (count, 1))
        rows = Rows(
            part_N + 1, part_N * 100_000_000, x_N, y_N, np.zeros(count), rng.uniform(-3, 3, count).astype(np.float32),
            np.ones(count, np.int32), np.full(count, 0.5, np.float32), action_NA, action_NA, grid.cells_of(x_N, y_N),
            latent_3ND[0],
        )  # fmt: skip
        connection.executemany(PUT_RECORD, to_tuples(rows))
        for at, key in enumerate((part_N + 1).tolist()):
            horizons = ((1, 0.05), (2, 1.0))
            followed = [pack_successor(key, Successor(h, h, latent_3ND[i][at])) for i, h in horizons]
            connection.execute(PUT_SUCCESSOR, (key, b"".join(followed)))
            items = [Extra(0.0, None, feature_3NF[0][at]), *(Extra(h, None, feature_3NF[i][at]) for i, h in horizons)]
            connection.execute(PUT_EXTRA, (key, b"".join(pack_extra(key, item) for item in items)))
    connection.execute("COMMIT")
    connection.close()


def spent_ms(work: Any, times: int) -> dict[str, float]:
    """Return median and worst of some repetitions [ms]."""
    taken = []
    for at in range(times):
        begin = time.perf_counter()
        work(at)
        taken.append((time.perf_counter() - begin) * 1e3)
    return {"p50_ms": round(float(np.median(taken)), 2), "max_ms": round(max(taken), 2)}


def near(rng: np.random.Generator) -> Query:
    """Return a query as a predictor asks it."""
    x, y = rng.uniform(-0.9 * SPREAD_M, 0.9 * SPREAD_M, 2).tolist()
    return Query(k=8, place=Place(x, y), radius_m=2.0, rank_by="pose", successors=True)


def change(memory: CellMemory, basis: Projection) -> dict[str, float]:
    """Change the basis and ask meanwhile, as a predictor does at 20 Hz."""
    rng, waits = np.random.default_rng(2), []
    begin = time.perf_counter()
    thread = threading.Thread(target=memory.reproject, args=(basis,))
    thread.start()
    while thread.is_alive():
        asked = time.perf_counter()
        memory.query(near(rng))
        waits.append((time.perf_counter() - asked) * 1e3)
        time.sleep(0.05)
    thread.join()
    took_s = time.perf_counter() - begin
    p50, p99, worst = np.percentile(waits, [50, 99, 100])
    return {"took_s": round(took_s, 2), "query_p50_ms": round(float(p50), 2), "query_p99_ms": round(float(p99), 2),
            "query_max_ms": round(float(worst), 2)}  # fmt: skip


def measure(size: int, feature_dim: int, path: Path) -> dict[str, Any]:
    """Return what a memory of some size costs."""
    grid, first, second = (
        CellGrid(LocalMap(), resolution_for(2.0)),
        projection(feature_dim, 1),
        projection(feature_dim, 2),
    )
    fill(path, size, feature_dim, grid, first)
    process = psutil.Process()
    before, begin = process.memory_info().rss, time.perf_counter()
    memory = CellMemory(Store(path), grid, capacity=size + 100_000)
    result: dict[str, Any] = {"size": size, "feature_dim": feature_dim}
    result["startup_s"] = round(time.perf_counter() - begin, 2)
    result["rss_bytes_per_record"] = round((process.memory_info().rss - before) / size, 1)
    result["ram_bytes_per_record"] = round(memory.stats().ram_bytes / size, 1)
    result["disk_bytes_per_record"] = round(memory.stats().disk_bytes / size, 1)
    rng = np.random.default_rng(1)
    asked_F = rng.integers(-128, 128, (64, feature_dim), dtype=np.int8)
    result["look_all"] = spent_ms(lambda at: memory.query(Query(k=8, feature_F=asked_F[at], rank_by="latent")), 30)
    result["look_in_parts"] = spent_ms(
        lambda at: memory.query_look(Query(k=64, feature_F=asked_F[at], rank_by="latent")), 30
    )
    sought = [Sought(feature_F) for feature_F in asked_F]
    result["recognise"] = spent_ms(lambda at: recognise_in(memory, sought[at], None, "", 1.0, grid.map), 30)
    result["query"] = spent_ms(lambda _: memory.query(near(rng)), 300)
    result["change_of_basis"] = change(memory, second)
    result["query_after"] = spent_ms(lambda _: memory.query(near(rng)), 300)
    memory.close()
    begin = time.perf_counter()
    CellMemory(Store(path), grid, capacity=size + 100_000).close()
    result["startup_after_change_s"] = round(time.perf_counter() - begin, 2)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--feature-dim", type=int, default=448)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options.size, options.feature_dim, Path(folder) / "memory.sqlite3")
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
