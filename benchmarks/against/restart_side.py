"""One kill of one node of one side's graph, in that side's environment: prints what it took to serve again as JSON."""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, time_ns
from typing import Any

from ament_index_python.packages import get_package_prefix
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from benchmarks.against.graph_side import graph_commands
from benchmarks.against.sides import require_own
from benchmarks.driver import RATE_HZ, SIZES, STREAM, Driver, StartError, own_domain_id, ros, stamp_ns
from benchmarks.processes import Processes
from wm_interfaces.msg import LatentPrediction

NODES = ("latent_publisher", "transition_predictor")
LONGEST_S = 120.0
# So many predictions with memories before the kill: nothing of the start is under way any more.
SETTLED = 60


class Listener:
    """Notes predictions that asked for memories and had them, or needed none.

    Args:
        node: That subscribes.
    """

    def __init__(self, node: Node) -> None:
        self.count, self.newest_ns, self.heard_s = 0, 0, 0.0
        node.create_subscription(LatentPrediction, "/latent_next/state", self._on_prediction, STREAM)

    def _on_prediction(self, msg: Any) -> None:
        if not msg.degraded:
            self.count += 1
            self.newest_ns, self.heard_s = stamp_ns(msg.header.stamp), monotonic()


class Camera:
    """Sends frames at their rate for as long as somebody waits for something.

    Args:
        driver: Who sends.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver, self._index, self._begin_s = driver, 0, monotonic()
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(driver)

    def turn(self) -> None:
        """Send what is due, hear what has come."""
        if monotonic() - self._begin_s >= self._index / RATE_HZ:
            self._driver.send(self._index)
            self._index += 1
        self._executor.spin_once(timeout_sec=0.01)

    def close(self) -> None:
        """Send no more."""
        self._executor.shutdown()


def restarted(name: str) -> dict[str, float]:
    """Return what it took from SIGKILL to the next undegraded prediction for a frame sent after it.

    ``again_s``, and ``cpu_s``, the processor time of the new process by then; it is started at once, as ``respawn``
    does.

    Args:
        name: Of the node that is killed.

    Raises:
        StartError: A process ended, or nothing came.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="bench_restart_")))
        stack.enter_context(ros(own_domain_id()))
        driver = Driver(SIZES["160x120"], 0)
        stack.callback(driver.destroy_node)
        listener, camera = Listener(driver), Camera(driver)
        commands = graph_commands("separate", scratch)
        killed = stack.enter_context(Processes({name: commands[name]}, scratch))
        others = {other: command for other, command in commands.items() if other != name}
        rest = stack.enter_context(Processes(others, scratch))
        _wait(camera, lambda: listener.count >= SETTLED, (killed, rest))
        killed.kill(name)
        begin_s, begin_ns = monotonic(), time_ns()
        again = stack.enter_context(Processes({name: commands[name]}, scratch))
        _wait(camera, lambda: listener.newest_ns > begin_ns, (again, rest))
        figures = {"again_s": listener.heard_s - begin_s, "cpu_s": again.cpu_s()}
        camera.close()
        return figures


def _wait(camera: Camera, is_done: Any, parts: tuple[Processes, ...]) -> None:
    deadline_s = monotonic() + LONGEST_S
    while not is_done():
        for part in parts:
            if (trouble := part.trouble()) is not None:
                raise StartError(trouble)
        if monotonic() > deadline_s:
            raise StartError(f"no undegraded prediction within {LONGEST_S:.0f} s")
        camera.turn()


def main() -> None:
    """Kill one node and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("node", choices=NODES)
    options = parser.parse_args()
    require_own(get_package_prefix("wm_bringup"))
    try:
        print(json.dumps(restarted(options.node)))
    except StartError as error:
        raise SystemExit(f"{options.node}: {error}") from error


if __name__ == "__main__":
    main()
