"""Spatial memory: latency, recall, size and start-up against its peers and the memory bandwidth.

scripts/bench memory [--sizes 10k,100k,1m,10m] [--json PATH] [--plot PATH] [--against REV]

One thread. Every system gets the same trajectory and the same queries (k = 8 by latent within 5 m) in a process of its
own; a peer whose package is not installed is skipped by name. Ours is measured at the public call, with complete
records, their successors included, from a store on disk.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import memory_world as mw
from benchmarks.against import memory_pairs, sides
from benchmarks.memory_peers import PEERS
from benchmarks.processes import module_command

THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
QUIET = {"RUST_LOG": "error", "LANCE_LOG": "off"}
QUERIES = 500
BATCH = 256
LONGEST_S = 3600


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all systems at all sizes and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10k,100k,1m", help="of the memory, such as 10k,100k,1m,10m")
    parser.add_argument("--peer-limit", default="1m", help="largest memory that peers are asked to build")
    parser.add_argument("--skip", default="", help="peers to leave out, such as qdrant_edge,hnswlib")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--plot", type=Path, default=Path("out/bench/memory.png"), help="where the picture goes")
    parser.add_argument("--folder", type=Path, help="keep stores here instead of in a temporary folder")
    parser.add_argument("--worker", nargs=3, metavar=("NAME", "SIZE", "FOLDER"), help=argparse.SUPPRESS)
    sides.add_arguments(parser)
    options = parser.parse_args(arguments)
    if options.worker:
        name, size, folder = options.worker
        print(json.dumps(work(name, int(size), Path(folder))))
        return 0
    if options.against:
        write(options.json, {**compare_all(options), "setting": setting()})
        return 0
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for size in map(parse_size, options.sizes.split(",")):
            results[str(size)] = measure(size, folder, parse_size(options.peer_limit), options.skip.split(","))
            report(size, results[str(size)])
    write(options.json, {**results, "setting": setting()})
    plot(results, options.plot)
    return 0


def write(path: Path | None, figures: dict[str, Any]) -> None:
    """Write figures where asked."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=1))


def compare_all(options: argparse.Namespace) -> dict[str, Any]:
    """Return the ratios of every size against another revision, and print them as a table."""
    sizes = {name.strip(): parse_size(name) for name in options.sizes.split(",")}
    try:
        both = sides.both(options.against, options.cache)
        found = memory_pairs.compare(both, sizes, options.pairs, QUERIES)
    except (sides.SideError, ValueError) as error:
        raise SystemExit(f"bench: {error}") from error
    print(memory_pairs.report(found["ratios"]))
    return {"against": {"rev": sides.short(options.against), **found["ratios"]}, "against_runs": found["runs"]}


def parse_size(text: str) -> int:
    """Return 1000000 for ``1m``."""
    factor = {"k": 1_000, "m": 1_000_000}.get(text.strip().lower()[-1:], 1)
    return int(float(text.strip().lower().rstrip("km")) * factor)


def setting() -> dict[str, str]:
    """Return where and when this ran."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load_average": f"{os.getloadavg()[0]:.1f}",
        "world": f"seed 0, {mw.NEAR} states within {mw.RADIUS_M} m, k = {mw.K}, D = {mw.DIM}, {QUERIES} queries",
    }


def measure(size: int, folder: Path, peer_limit: int, skip: Sequence[str]) -> dict[str, Any]:
    """Return the figures of every system at one size."""
    results = {**run_worker("prepare", size, folder), **run_worker("ours", size, folder)}
    if importlib.util.find_spec("rclpy") and importlib.util.find_spec("wm_interfaces"):
        results["ours"]["ros_round_trip"] = run_worker("ros", size, folder)
    else:
        print("skipped: ros_round_trip (rclpy or wm_interfaces is not installed)")
    for name, (module, _) in PEERS.items():
        if importlib.util.find_spec(module) is None:
            print(f"skipped: {name} ({module} is not installed)")
        elif size > peer_limit or name in skip:
            print(f"skipped: {name} at {size} (as asked)", flush=True)
        else:
            results[name] = run_worker(name, size, folder)
    bandwidth = mw.read_bandwidth()
    results["bandwidth_gb_s"] = round(bandwidth / 1e9, 2)
    results["bandwidth_bound_ms"] = round(results["candidates"] * mw.DIM * 4 / bandwidth * 1e3, 4)
    return results


def run_worker(name: str, size: int, folder: Path) -> dict[str, Any]:
    """Run one system in a process of its own and return what it printed."""
    command = module_command("benchmarks.memory", "--worker", name, size, folder)
    environment = {**os.environ, **THREADS, **QUIET}
    try:
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, text=True, check=False, timeout=LONGEST_S
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not finished after {LONGEST_S} s"}
    if done.returncode != 0:
        return {"failed": f"exit code {done.returncode}"}
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed


def work(name: str, size: int, folder: Path) -> dict[str, Any]:
    """Do one system's part."""
    if name == "prepare":
        return prepare(size, folder)
    queries = load_queries(folder / f"queries-{size}.npz")
    if name == "ours":
        from benchmarks.memory_ours import ours

        return ours(size, folder / f"memory-{size}.sqlite3", queries, load_queries(folder / f"planner-{size}.npz"))
    if name == "ros":
        from benchmarks.memory_ours import ros_round_trip

        return ros_round_trip(folder / f"memory-{size}.sqlite3", queries)
    return peer(name, mw.make_world(size), queries)


def prepare(size: int, folder: Path) -> dict[str, Any]:
    """Write the store, the queries and the truth."""
    from benchmarks.memory_ours import fill

    world = mw.make_world(size)
    path = folder / f"memory-{size}.sqlite3"
    filled: dict[str, Any] = {}
    if not path.exists():
        begin = time.perf_counter()
        fill(path, world)
        filled = {"bulk_write_per_s": round(size / (time.perf_counter() - begin))}
    queries = mw.make_queries(world, QUERIES)
    np.savez(folder / f"queries-{size}.npz", **vars(queries))
    np.savez(folder / f"planner-{size}.npz", **vars(mw.make_queries(world, BATCH, seed=2, spread_m=1.0)))
    return {"candidates": round(float(queries.candidates_Q.mean())), **filled}


def load_queries(path: Path) -> mw.Queries:
    """Return queries that ``prepare`` wrote."""
    return mw.Queries(**mw.load(path))


def peer(name: str, world: mw.World, queries: mw.Queries) -> dict[str, Any]:
    """Build and ask one peer; slow ones are asked less often."""
    begin = time.perf_counter()
    system = PEERS[name][1](world, queries)
    ask = next(system)
    build_s = time.perf_counter() - begin
    begin = time.perf_counter()
    ask(0)
    count = int(np.clip(30.0 / max(1e-6, time.perf_counter() - begin), 50, len(queries.x_Q)))
    found, times = mw.timed(ask, count)
    next(system, None)
    return {**mw.percentiles(times), "recall": mw.recall(found, queries.truth_QK), "build_s": round(build_s, 1)}


def report(size: int, results: dict[str, Any]) -> None:
    """Print one size's table."""
    bound = results["bandwidth_bound_ms"]
    print(f"\n{size} states, {results['candidates']} candidates, bandwidth bound {bound} ms "
          f"({results['bandwidth_gb_s']} GB/s)")  # fmt: skip
    for name in ("ours", *PEERS):
        row = results.get(name)
        if row and "p50_ms" in row:
            print(f"  {name:22} p50 {row['p50_ms']:8.3f} ms  p99 {row['p99_ms']:8.3f} ms  recall {row['recall']:.4f}")
        elif row:
            print(f"  {name:22} {row}")
    rest = {key: value for key, value in results["ours"].items() if key not in ("p50_ms", "p99_ms", "recall")}
    print(f"  ours, more: {json.dumps(rest)}")


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw median latency over size for every system, with the bound."""
    if importlib.util.find_spec("matplotlib") is None:
        print("skipped: plot (matplotlib is not installed)")
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8.5, 4.5))
    for name in ("ours", *PEERS):
        points = [(int(size), row[name]) for size, row in results.items() if "p50_ms" in row.get(name, {})]
        if points:
            recalls = min(row["recall"] for _, row in points)
            label = name if recalls > 0.99999 else f"{name} (recall {recalls:.4f})"
            axes.plot([size for size, _ in points], [row["p50_ms"] for _, row in points], marker="o", label=label)
    sizes = sorted(map(int, results))
    axes.plot(sizes, [results[str(size)]["bandwidth_bound_ms"] for size in sizes], "k--", label="bandwidth bound")
    axes.set(xscale="log", yscale="log", xlabel="states in memory", ylabel="median query [ms]",
             title=f"k = {mw.K} nearest by latent within {mw.RADIUS_M:.0f} m, one thread")  # fmt: skip
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    print(f"plot: {path}")


if __name__ == "__main__":
    raise SystemExit(main())
