"""Ages of the 20 Hz path with and without the slow branch, in interleaved pairs of runs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml

from benchmarks.driver import SIZES, Driver, StartError, drive, own_domain_id, ros
from benchmarks.figures import machine
from wm_bringup.configuration import NODES, ros_arguments
from wm_demo.graph import Graph, executable

FAST_NODES = tuple(node for node in NODES if node != "world_action")
FORMS = ("composed", "separate")


def commands(form: str, slow: bool, scratch: Path) -> dict[str, list[str]]:
    """Returns the processes of one run; the composed one without the slow branch differs by that node only."""
    options = {"db_path": str(scratch / "memory.sqlite3")}
    nodes = tuple(NODES) if slow else FAST_NODES
    if form == "separate":
        return {
            name: [
                *executable(name, f"{name}_node"),
                *ros_arguments(scratch, nodes=[name], options=options if name == "spatial_memory" else None),
            ]
            for name in nodes
        }
    memory = scratch / "memory.yaml"
    memory.write_text(yaml.safe_dump({"spatial_memory": {"ros__parameters": options}}))
    command = [*executable("wm_bringup", "world_model"), "--params-file", str(memory)]
    return {"world_model": command if slow else [*command, "--no-slow-branch"]}


def run(form: str, slow: bool, size: tuple[int, int], seconds: float, domain_id: int, seed: int) -> dict[str, Any]:
    """Returns the ages of /latent and /latent_next [ms] and the processor time [% of one core] of one run."""
    with TemporaryDirectory(prefix="bench_slow_branch_") as folder, ros(domain_id):
        scratch = Path(folder)
        driver = Driver(size, seed)
        graph = Graph(commands(form, slow, scratch), scratch)

        def is_ready() -> bool:
            if (trouble := graph.trouble()) is not None:
                raise StartError(trouble)
            wanted = ["/latent_next", *(["/visual_history"] if slow else [])]
            ready = driver.is_heard() and all(driver.count_publishers(topic) for topic in wanted)
            if ready:
                graph.start_measuring()
            return bool(ready)

        try:
            drive(driver, seconds, is_ready)
            cpu_percent = graph.cpu_percent()
        finally:
            graph.stop()
        ages = {"latent": driver.latent_ages_ms(), "latent_next": driver.next_ages_ms()}
        driver.destroy_node()
    return {**ages, "cpu_percent": cpu_percent}


def summary(form: str, size: str, runs: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """Returns medians and p99 of all runs together, without and with the slow branch, and how much they rise."""
    result: dict[str, Any] = {"form": form, "image": size, "pairs": len(runs)}
    for topic in ("latent", "latent_next"):
        rows: dict[str, Any] = {}
        for index, name in enumerate(("without", "with")):
            p50, p99 = np.percentile(np.concatenate([pair[index][topic] for pair in runs]), [50, 99])
            each = [round(float(np.median(pair[index][topic])), 3) for pair in runs]
            n = sum(len(pair[index][topic]) for pair in runs)
            rows[name] = {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "n": n, "p50_each": each}
        without, with_ = rows["without"], rows["with"]
        rows["rise_p50_percent"] = round(100 * (with_["p50"] / without["p50"] - 1), 2)
        rows["rise_p99_percent"] = round(100 * (with_["p99"] / without["p99"] - 1), 2)
        rows["rise_p99_ms"] = round(with_["p99"] - without["p99"], 3)
        result[topic] = rows
    for index, name in enumerate(("without", "with")):
        result[f"cpu_percent_{name}"] = [round(pair[index]["cpu_percent"], 1) for pair in runs]
    return result


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of one run [s]")
    parser.add_argument("--pairs", type=int, default=5, help="runs with and without, taking turns")
    parser.add_argument("--size", choices=SIZES, default="640x480", help="image size")
    parser.add_argument("--form", choices=FORMS, default="composed", help="one process or one per node")
    options = parser.parse_args()
    domain_id = own_domain_id()
    runs = []
    for pair in range(options.pairs):
        # Which comes first alternates, so a slow drift of the machine favours neither.
        order = (False, True) if pair % 2 == 0 else (True, False)
        found = {slow: run(options.form, slow, SIZES[options.size], options.seconds, domain_id, pair) for slow in order}
        runs.append((found[False], found[True]))
        medians = " / ".join(f"{np.median(found[slow]['latent_next']):.2f}" for slow in (False, True))
        print(f"pair {pair + 1} of {options.pairs}: /latent_next without / with {medians} ms", file=sys.stderr)
    result = summary(options.form, options.size, runs)
    result["machine"] = machine()
    result["seconds"] = options.seconds
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
