"""One start of one side's graph, in that side's environment: prints what the first /latent_next took as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from ament_index_python.packages import get_package_prefix
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Float32MultiArray

import spatial_memory as sm
from benchmarks import memory_world as mw
from benchmarks.against import memory_side
from benchmarks.against.graph_side import graph_commands
from benchmarks.against.sides import require_own
from benchmarks.driver import RATE_HZ, SIZES, STREAM, Driver, StartError, own_domain_id, ros
from benchmarks.processes import Processes

LONGEST_S = 600.0
CHUNK = 1_000


def encoder_id() -> str:
    """Return the encoder of the artifact that ships with this side.

    Raises:
        StartError: It is not found.
    """
    spec = importlib.util.find_spec("world_model")
    for location in (spec.submodule_search_locations or []) if spec is not None else []:
        for manifest in sorted(Path(location).resolve().rglob("tiny/manifest.json")):
            return str(json.loads(manifest.read_text())["encoder_id"])
    raise StartError("this side ships no artifact tiny")


def fill(count: int, folder: Path) -> None:
    """Write a store of so many records of the shipped artifact's encoder, each with both successors."""
    folder.mkdir(parents=True)
    if not count:
        return
    world, name = mw.make_world(count), encoder_id()
    memory = memory_side.open_memory(folder, count)
    for start in range(0, count, CHUNK):
        states = [memory_side.state(world, at) for at in range(start, min(count, start + CHUNK))]
        memory.insert([dataclasses.replace(state, encoder_id=name) for state in states])
    memory.flush()
    memory.close()


def first_prediction(form: str, store: Path) -> dict[str, float]:
    """Return what it took from the start of the processes to the first /latent_next at its receiver.

    ``first_prediction_s``, ``cpu_s`` (processor time of all of them by then) and ``rss_mb`` (their memory then). The
    camera runs already, as on a robot.

    Args:
        form: ``separate`` or ``composed``.
        store: Folder of the memory's file.

    Raises:
        StartError: A process ended, or nothing came.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="bench_start_")))
        stack.enter_context(ros(own_domain_id()))
        driver = Driver(SIZES["160x120"], 0)
        stack.callback(driver.destroy_node)
        heard_s: list[float] = []
        driver.create_subscription(Float32MultiArray, "/latent_next", lambda _: heard_s.append(monotonic()), STREAM)
        executor = SingleThreadedExecutor()
        executor.add_node(driver)
        begin_s, index = monotonic(), 0
        processes = stack.enter_context(Processes(graph_commands(form, store), scratch))
        while not heard_s:
            if (trouble := processes.trouble()) is not None:
                raise StartError(trouble)
            if monotonic() > begin_s + LONGEST_S:
                raise StartError(f"no /latent_next within {LONGEST_S:.0f} s")
            if monotonic() - begin_s >= index / RATE_HZ:
                driver.send(index)
                index += 1
            executor.spin_once(timeout_sec=0.01)
        cost = {"cpu_s": processes.cpu_s(), "rss_mb": processes.rss_bytes() / 1e6}
        executor.shutdown()
        return {"first_prediction_s": heard_s[0] - begin_s, **cost}


def main() -> None:
    """Fill a folder, or start from it and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("fill", "start"))
    parser.add_argument("given", help="how many records, or the form")
    parser.add_argument("folder", type=Path, help="of the store")
    options = parser.parse_args()
    require_own(get_package_prefix("wm_bringup"))
    require_own(sm.__file__)
    try:
        if options.what == "fill":
            fill(int(options.given), options.folder)
            print(json.dumps({"count": int(options.given)}))
        else:
            print(json.dumps(first_prediction(options.given, options.folder)))
    except StartError as error:
        raise SystemExit(f"{options.given}: {error}") from error


if __name__ == "__main__":
    main()
