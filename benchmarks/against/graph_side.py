"""One run of one side's graph, in that side's environment: drives it, prints ages and processor time as JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory

from benchmarks.against.sides import require_own
from benchmarks.driver import SIZES, Driver, StartError, drive, own_domain_id, ros
from benchmarks.figures import summary
from benchmarks.processes import Processes

SIMULATOR = "simulator"
FORMS = ("separate", "composed")
NODES = ("latent_publisher", "transition_predictor", "spatial_memory", "world_action")
ROBOT_PACKAGES = ("wm_sim_ros", "wm_sim")


@dataclass(frozen=True)
class Run:
    """What to measure.

    Attributes:
        form: ``separate``: a process per node; ``composed``: one for all.
        size: Of the camera's picture, or ``simulator``: the side's own simulated robot.
        seconds: How long frames count [s].
        warm_up_s: For so long before, they do not [s].
        seed: Of the pictures, or of the simulated building and drive.
    """

    form: str
    size: str
    seconds: float
    warm_up_s: float
    seed: int


def executable(package: str, name: str) -> list[str]:
    """Return the command that ``ros2 run PACKAGE NAME`` would start, in this interpreter.

    Raises:
        StartError: This side has none.
    """
    try:
        path = Path(get_package_prefix(package)) / "lib" / package / name
    except PackageNotFoundError as error:
        raise StartError(f"no package {package} here") from error
    if not path.exists():
        raise StartError(f"no executable {path}")
    return [sys.executable, str(path)]


def shipped(node: str) -> list[str]:
    """Return the arguments that give a node the parameter file shipped for it, if there is one.

    A shipped file has the last word over the environment, so the artifact that the environment names follows the file
    again, where that sets one: a node that knows no ``model_path`` would refuse it.
    """
    path = Path(get_package_share_directory("wm_bringup")) / "config" / f"{node}.yaml"
    if not path.is_file():
        return []
    model = os.environ.get("WM_CHECKPOINT_PATH", "")
    nodes = yaml.safe_load(path.read_text(encoding="utf-8")).values()
    sets_model = any("model_path" in of_node["ros__parameters"] for of_node in nodes)
    return ["--params-file", str(path), *(["-p", f"model_path:={model}"] if model and sets_model else [])]


def graph_commands(form: str, scratch: Path, **memory: object) -> dict[str, list[str]]:
    """Return the graph's processes, with a memory of their own, ``scratch/memory.sqlite3``.

    Args:
        form: One of ``FORMS``.
        scratch: A folder of this run alone.
        **memory: Parameters of the memory.

    Raises:
        StartError: This side has no such executable.
    """
    parameters = {"db_path": str(scratch / "memory.sqlite3"), **memory}
    if form == "composed":
        config = scratch / "bench.yaml"
        config.write_text(json.dumps({"spatial_memory": {"ros__parameters": parameters}}))
        return {"world_model": [*executable("wm_bringup", "world_model"), "--params-file", str(config)]}
    commands = {node: [*executable(node, f"{node}_node"), "--ros-args", *shipped(node)] for node in NODES}
    for name, value in parameters.items():
        commands["spatial_memory"] += ["-p", f"{name}:={value}"]
    return commands


def robot_command(seed: int) -> list[str]:
    """Return the command of this side's simulated robot.

    Raises:
        StartError: This side has none.
    """
    for package in ROBOT_PACKAGES:
        try:
            command = executable(package, "wm_sim_node")
        except StartError:
            continue
        given = ["-p", f"seed:={seed}", "-p", "wait_for_camera_subscriber:=true"]
        return [*command, "--ros-args", *shipped("wm_sim"), *given]
    raise StartError(f"no wm_sim_node in any of {ROBOT_PACKAGES}")


def is_up(driver: Driver) -> bool:
    """Whether every node of the graph is there."""
    services = [name for name, _ in driver.get_service_names_and_types()]
    return (
        driver.is_heard()
        and driver.count_publishers("/latent_next") > 0
        and driver.count_publishers("/visual_history") > 0
        and any(name.startswith("/spatial_memory/query") for name in services)
    )


def ages(run: Run, domain_id: int) -> tuple[list[float], list[float], float, str]:
    """Return ages of /latent and /latent_next [ms], the nodes' processor time [% of one core], and whose latents.

    Raises:
        StartError: Something did not come up, or ended.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="bench_against_")))
        stack.enter_context(ros(domain_id))
        driver = Driver(SIZES.get(run.size), run.seed)
        stack.callback(driver.destroy_node)
        # The robot's processor time is not the graph's.
        robot = {"robot": robot_command(run.seed)} if run.size == SIMULATOR else {}
        parts = [stack.enter_context(Processes(each, scratch)) for each in (graph_commands(run.form, scratch), robot)]
        began_s: list[float] = []

        def is_ready() -> bool:
            for part in parts:
                if (trouble := part.trouble()) is not None:
                    raise StartError(trouble)
            return is_up(driver)

        def start() -> None:
            began_s.append(parts[0].cpu_s())

        drive(driver, run.seconds, is_ready, run.warm_up_s, start)
        cpu_s = parts[0].cpu_s() - began_s[0]
        if not is_ready():
            raise StartError("a node was gone at the end")
        found = driver.latent_ages_ms(), driver.next_ages_ms()
    # Half a second of the end, in which the last frames come back, counts for both sides alike.
    return *found, round(100.0 * cpu_s / (run.seconds + 0.5), 2), " ".join(sorted(driver.encoder_ids))


def measure(run: Run) -> dict[str, object]:
    """Return the figures of a run.

    Raises:
        StartError: Something did not come up, or ended.
        ValueError: Nothing came back.
    """
    latents, nexts, percent, encoder_id = ages(run, own_domain_id())
    found = {"latent_age_ms": summary(latents), "latent_next_age_ms": summary(nexts), "cpu_percent": percent}
    return {**found, "encoder_id": encoder_id}


def main() -> None:
    """Measure what the one argument, the JSON of a ``Run``, says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="JSON")
    run = Run(**json.loads(parser.parse_args().run))
    require_own(get_package_prefix("wm_bringup"))
    try:
        result = measure(run)
    except (StartError, ValueError) as error:
        raise SystemExit(f"{run.form}, {run.size}: {error}") from error
    print(json.dumps(result))


if __name__ == "__main__":
    main()
