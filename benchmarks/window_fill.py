"""What filling a window through ROS takes, per memory beside the record form of a query.

scripts/bench window_fill [--records 8000] [--times 20] [--json PATH]

A memory in a process of its own holds records of the artifact's encoder, each with both successors. In turns: all of
them as one message of packed arrays, taken into a window; and one query of 20 records with successors as messages.
"""

from __future__ import annotations

import argparse
import json
import math
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter
from typing import Any

import numpy as np
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from benchmarks.against.graph_side import graph_commands
from benchmarks.against.start_side import fill
from benchmarks.driver import START_DEADLINE_S, StartError, own_domain_id, ros
from benchmarks.figures import machine, summary
from benchmarks.memory import parse_size
from benchmarks.processes import Processes
from wm_core.memory.journal import Area
from wm_core.memory.window import Window
from wm_interfaces.msg import MemoryQuery
from wm_interfaces.srv import MemoryWindow, QueryMemory
from wm_ros.memory_arrays import ask_to_request, update_from_response

K = 20
AREA = Area(0.0, 0.0, 10_000.0)
RADIUS_M = 25.0


class Asker(Node):
    """Asks a memory, one question at a time."""

    def __init__(self) -> None:
        super().__init__("bench_asker")
        self._windows: Client[MemoryWindow.Request, MemoryWindow.Response] = self.create_client(
            MemoryWindow, "spatial_memory/window"
        )
        self._queries: Client[QueryMemory.Request, QueryMemory.Response] = self.create_client(
            QueryMemory, "spatial_memory/query"
        )
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self._place = (0.0, 0.0)

    def wait(self, processes: Processes, count: int) -> None:
        """Wait until the memory holds what it is to.

        Raises:
            StartError: It ended, or is not there in time.
        """
        deadline_s = monotonic() + START_DEADLINE_S
        while not (self._windows.service_is_ready() and self._queries.service_is_ready() and self.window() == count):
            self._executor.spin_once(timeout_sec=0.05)
            if (trouble := processes.trouble()) is not None:
                raise StartError(trouble)
            if monotonic() > deadline_s:
                raise StartError(f"no {count} memories within {START_DEADLINE_S:.0f} s")

    def window(self) -> int:
        """Fill a window and return how many it holds."""
        window = Window()
        response = self._answer(self._windows, ask_to_request(window.ask(AREA)))
        if not response.success:
            return 0
        update = update_from_response(response, AREA)
        window.apply(update, AREA)
        rows = update.records.rows
        if len(rows):
            self._place = float(rows.x_N[0]), float(rows.y_N[0])
        return len(window)

    def query(self) -> int:
        """Ask for records around the first one and return how many came."""
        query = MemoryQuery(k=K, has_pose=True, radius_m=RADIUS_M, successors=True)
        query.pose.position.x, query.pose.position.y = self._place
        query.pose.orientation.w = 1.0
        return len(self._answer(self._queries, QueryMemory.Request(query=query)).matches.records)

    def _answer(self, client: Any, request: Any) -> Any:
        future = client.call_async(request)
        self._executor.spin_until_future_complete(future, timeout_sec=START_DEADLINE_S)
        if not future.done():
            raise StartError(f"{client.srv_name} does not answer")
        return future.result()

    def close(self) -> None:
        """Ask no more."""
        self._executor.shutdown()
        self.destroy_node()


def measure(count: int, times: int, domain_id: int) -> dict[str, Any]:
    """Return what both took [ms], and how many times less a memory costs in a window.

    Raises:
        StartError: The memory ended or does not answer.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="bench_fill_")))
        store = scratch / "store"
        fill(count, store)
        stack.enter_context(ros(domain_id))
        command = graph_commands("separate", store)["spatial_memory"]
        processes = stack.enter_context(Processes({"spatial_memory": command}, scratch))
        asker = Asker()
        stack.callback(asker.close)
        asker.wait(processes, count)
        took_ms: dict[str, list[float]] = {"window": [], "query": []}
        for _ in range(times):
            for name, expected in (("window", count), ("query", min(K, count))):
                begin_s = perf_counter()
                found = getattr(asker, name)()
                took_ms[name].append((perf_counter() - begin_s) * 1e3)
                if found != expected:
                    raise StartError(f"{name}: {found} records, expected {expected}")
    each = {name: float(np.median(took_ms[name])) / records for name, records in (("window", count), ("query", K))}
    return {
        "records": count,
        "window_ms": summary(took_ms["window"]),
        "query_ms": summary(took_ms["query"]),
        "per_record_ratio": round(each["query"] / each["window"], 1) if each["window"] else math.nan,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--records", type=parse_size, default=8000)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    try:
        found = measure(options.records, options.times, own_domain_id())
    except StartError as error:
        raise SystemExit(str(error)) from error
    print(f"a window of {found['records']}: {found['window_ms']['p50']:.1f} ms; a query of {K}: "
          f"{found['query_ms']['p50']:.2f} ms; {found['per_record_ratio']:g} times less per memory")  # fmt: skip
    if options.json is not None:
        options.json.write_text(json.dumps({"window_fill": found, "machine": machine()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
