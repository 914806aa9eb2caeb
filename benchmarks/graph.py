"""Ages of /latent and /latent_next against the bare model and the bare DDS hops, in one run."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic_ns
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Float32MultiArray

from benchmarks import graph_kill
from benchmarks.against import graph_pairs, graph_side, sides
from benchmarks.bare import forward_ms, transition_ms
from benchmarks.driver import (
    SENSOR,
    SIZES,
    STREAM,
    Driver,
    StartError,
    drive,
    own_domain_id,
    ros,
    stamp_ns,
    vector_msg,
)
from benchmarks.figures import machine, summary
from benchmarks.processes import module_command
from wm_bringup.configuration import NODES, ros_arguments
from wm_demo.graph import Graph, executable

FORMS = ("separate", "composed")
_SIMULATED = "160x120"
_WARM_UP_S = 5.0


class Echo(Node):
    """The other end of the bare hops: notes each image's age and answers with 32 floats."""

    def __init__(self) -> None:
        super().__init__("bench_echo")
        self._floats = self.create_publisher(Float32MultiArray, "/bench/floats", STREAM)
        self.create_subscription(Image, "/camera/image_raw", self._on_image, SENSOR)

    def _on_image(self, msg: Image) -> None:
        received = monotonic_ns()
        values = np.zeros(32, np.float32)
        # Two steady times travel bit by bit in the floats' bytes: the image's receipt and this publication.
        values[:4] = np.frombuffer(np.array([stamp_ns(msg.header.stamp), received], np.int64).tobytes(), np.float32)
        values[4:6] = np.frombuffer(np.array([monotonic_ns()], np.int64).tobytes(), np.float32)
        self._floats.publish(vector_msg(values, "z"))


def bare_hops(size: tuple[int, int], seconds: float, domain_id: int, seed: int) -> tuple[list[float], list[float]]:
    """Returns ages [ms] of the image at the other process, and of 32 floats that come back."""
    images_ms: list[float] = []
    floats_ms: list[float] = []
    with ros(domain_id):
        driver = Driver(size, seed)

        def on_floats(msg: Float32MultiArray) -> None:
            received = monotonic_ns()
            raw = np.asarray(msg.data, np.float32).tobytes()
            stamp, image_received, sent = np.frombuffer(raw[:24], np.int64).tolist()
            if stamp in driver.sent:
                images_ms.append((image_received - driver.sent[stamp]) * 1e-6)
                floats_ms.append((received - sent) * 1e-6)

        driver.create_subscription(Float32MultiArray, "/bench/floats", on_floats, STREAM)
        echo = subprocess.Popen(module_command("benchmarks.graph", "--echo"), stdin=subprocess.DEVNULL)
        try:
            drive(driver, seconds, driver.is_heard)
        finally:
            echo.terminate()
            echo.wait(timeout=10)
            driver.destroy_node()
    return images_ms, floats_ms


def graph_ages(
    form: str, size: tuple[int, int], seconds: float, domain_id: int, seed: int
) -> tuple[list[float], list[float], float]:
    """Returns ages [ms] of /latent and /latent_next, and the nodes' processor time [% of one core]."""
    with TemporaryDirectory(prefix="bench_graph_") as folder, ros(domain_id):
        scratch = Path(folder)
        options = {"db_path": str(scratch / "memory.sqlite3")}
        if form == "composed":
            config = scratch / "bench.yaml"
            config.write_text(json.dumps({"spatial_memory": {"ros__parameters": options}}))
            commands = {"world_model": [*executable("wm_bringup", "world_model"), "--params-file", str(config)]}
        else:
            commands = {
                name: [
                    *executable(name, f"{name}_node"),
                    *ros_arguments(scratch, nodes=[name], options=options if name == "spatial_memory" else None),
                ]
                for name in NODES
            }
        driver = Driver(size, seed)
        graph = Graph(commands, scratch)
        try:
            episode_graph(driver, graph, seconds)
            cpu_percent = graph.cpu_percent()
        finally:
            graph.stop()
        ages = driver.latent_ages_ms(), driver.next_ages_ms()
        driver.destroy_node()
    return *ages, cpu_percent


def simulator_ages(form: str, seconds: float, domain_id: int, seed: int) -> tuple[list[float], list[float], float]:
    """Returns the same while a simulated robot drives; its processor time is not counted."""
    run = graph_side.Run(form=form, size=graph_side.SIMULATOR, seconds=seconds, warm_up_s=_WARM_UP_S, seed=seed)
    latents_ms, nexts_ms, cpu_percent, _ = graph_side.ages(run, domain_id)
    return latents_ms, nexts_ms, cpu_percent


def episode_graph(driver: Driver, graph: Graph, seconds: float) -> None:
    """Episodes the graph once it listens, and measures its processor time meanwhile."""

    def is_ready() -> bool:
        if (trouble := graph.trouble()) is not None:
            raise StartError(trouble)
        heard = (
            driver.is_heard() and driver.count_publishers("/latent_next") and driver.count_publishers("/visual_history")
        )
        if heard:
            graph.start_measuring()
        return bool(heard)

    drive(driver, seconds, is_ready)


def measure(name: str, seconds: float, rounds: int, domain_id: int) -> dict[str, Any]:
    """Returns all figures for one image size; the parts take turns, so a change of the machine hits them all."""
    size = SIZES.get(name, SIZES[_SIMULATED])
    found: dict[str, list[float]] = {key: [] for key in ("forward", "transition", "image", "floats")}
    ages: dict[str, tuple[list[float], list[float], list[float]]] = {form: ([], [], []) for form in FORMS}
    for turn in range(rounds):
        found["forward"] += forward_ms(size)
        found["transition"] += transition_ms()
        images, floats = bare_hops(size, seconds / 2, domain_id, turn)
        found["image"] += images
        found["floats"] += floats
        for form in FORMS:
            ages_of = simulator_ages if name == graph_side.SIMULATOR else partial(graph_ages, size=size)
            latents, nexts, cpu_percent = ages_of(form=form, seconds=seconds, domain_id=domain_id, seed=turn)
            ages[form][0].extend(latents)
            ages[form][1].extend(nexts)
            ages[form][2].append(cpu_percent)
        print(f"{name}: round {turn + 1} of {rounds} done", file=sys.stderr)
    result: dict[str, Any] = {
        f"{key}_hop_ms" if key in ("image", "floats") else f"{key}_ms": summary(found[key]) for key in found
    }
    bound = sum(result[key]["p50"] for key in ("forward_ms", "image_hop_ms", "floats_hop_ms"))
    result["bound_ms"] = round(bound, 3)
    # What a prediction cannot do without: all that a latent needs, the transition, and one more hop of floats.
    bound_next = bound + result["transition_ms"]["p50"] + result["floats_hop_ms"]["p50"]
    result["bound_next_ms"] = round(bound_next, 3)
    for index, key in enumerate(("latent", "latent_next")):
        result[f"{key}_age_ms"] = {form: summary(ages[form][index]) for form in FORMS}
        result[f"ratio_{key}"] = {form: round(result[f"{key}_age_ms"][form]["p50"] / bound, 3) for form in FORMS}
    age_ms = result["latent_next_age_ms"]
    result["ratio_next_to_bound_next"] = {form: round(age_ms[form]["p50"] / bound_next, 3) for form in FORMS}
    result["cpu_percent"] = {form: [round(value, 1) for value in ages[form][2]] for form in FORMS}
    return result


def report(results: dict[str, Any]) -> str:
    """Returns the figures as a table."""
    head = "".join(f"{name:>11}" for name in ("forward", "transition", "image", "floats", "bound", "bound next"))
    lines = [f"{'':10}{head}   medians [ms]; ratio: age over bound"]
    for name, result in results.items():
        bare = [result[key]["p50"] for key in ("forward_ms", "transition_ms", "image_hop_ms", "floats_hop_ms")]
        bounds = [result["bound_ms"], result["bound_next_ms"]]
        lines.append(f"{name:10}" + "".join(f"{value:11.2f}" for value in [*bare, *bounds]))
        for form in FORMS:
            for key in ("latent", "latent_next"):
                age = result[f"{key}_age_ms"][form]
                ratio = result[f"ratio_{key}"][form]
                lines.append(f"    {form:9} /{key:12} p50 {age['p50']:7.2f}  p99 {age['p99']:7.2f}  ratio {ratio:5.2f}")
            lines.append(f"    {form:9} nodes' processor time {result['cpu_percent'][form]} % of one core")
    return "\n".join(lines)


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of every size, and print them as a table."""
    domain_id = own_domain_id()
    names = options.sizes.split(",") if options.sizes else [*graph_pairs.ALL_SIZES]
    if unknown := sorted(set(names) - set(graph_pairs.ALL_SIZES)):
        raise ValueError(f"sizes {unknown}, expected some of {list(graph_pairs.ALL_SIZES)}")
    results = {name: measure(name, options.seconds, options.rounds, domain_id) for name in names}
    print(report(results))
    return results


def compare_all(options: argparse.Namespace) -> dict[str, Any]:
    """Return the ratios of every size against another revision, and print them as a table."""
    names = options.sizes.split(",") if options.sizes else graph_pairs.ALL_SIZES
    both = sides.both(options.against, options.cache)
    found = graph_pairs.compare(both, names, options.pairs, options.seconds, options.warm_up)
    print(graph_pairs.report(found["ratios"]))
    return {"against": {"rev": sides.short(options.against), **found["ratios"]}, "against_runs": found["runs"]}


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="scripts/bench graph", description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of one measurement [s]")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured, without --against")
    parser.add_argument(
        "--sizes", help=f"comma-separated: {', '.join(graph_pairs.ALL_SIZES)} (the simulated robot; default: all)"
    )
    parser.add_argument("--warm-up", type=float, default=5.0, help="before a measurement counts, with --against [s]")
    parser.add_argument(
        "--kill-memory", type=float, metavar="S", help="kill the memory so long after the first window [s]"
    )
    parser.add_argument("--echo", action="store_true", help=argparse.SUPPRESS)
    sides.add_arguments(parser)
    options = parser.parse_args()
    if options.echo:
        rclpy.init(args=[])
        with suppress(KeyboardInterrupt, ExternalShutdownException):
            rclpy.spin(Echo())
        return
    try:
        if options.kill_memory is not None:
            found = graph_kill.measure(options.kill_memory, options.seconds, own_domain_id())
            print(graph_kill.report(found))
            results = {"kill_memory": found}
        else:
            results = compare_all(options) if options.against else measure_all(options)
    except (sides.SideError, StartError, ValueError) as error:
        raise SystemExit(f"bench: {error}") from error
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        everything = {**results, "machine": machine(), "ros_distro": os.environ.get("ROS_DISTRO", "")}
        options.json.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
