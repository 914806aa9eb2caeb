"""The whole graph for hours, from a full memory on: ``scripts/bench soak --graph``.

Shape suffixes: N = records, D = latent size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, time_ns
from typing import Any

import numpy as np
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

from benchmarks.against.graph_side import graph_commands, is_up, robot_command
from benchmarks.driver import START_DEADLINE_S, Driver, StartError, ros
from benchmarks.growth import Sample, size_mb
from benchmarks.processes import Processes
from spatial_memory import CellGrid, CellMemory, LocalMap, MemoryRecord, Store, Successor, resolution_for
from wm_interfaces.srv import MemoryStats, SnapshotMemory, TransformMemory
from world_model.runtime.artifacts import load_artifact

SAMPLE_S, CLOSURE_S, SNAPSHOT_S = 2.0, 300.0, 900.0
WARM_UP_S = 120.0
RECORD_S, RADIUS_M, CHUNK = 0.5, 5.0, 1_000


def fill(path: Path, capacity: int, seed: int) -> None:
    """Write a memory that holds as much as it may: of runs before this one, in the places that the robot drives."""
    rng = np.random.default_rng(seed)
    manifest = load_artifact("artifact://tiny").manifest
    memory = CellMemory(Store(path), CellGrid(LocalMap(), resolution_for(RADIUS_M)), capacity)
    begin_ns = time_ns() - round((capacity + 3600) * RECORD_S * 1e9)
    latent_ND = rng.normal(size=(capacity, manifest.z_dim)).astype(np.float32)
    x_N, y_N, yaw_N = rng.uniform(-1.0, 1.0, (3, capacity)) * [[RADIUS_M], [RADIUS_M], [math.pi]]

    def record(at: int) -> MemoryRecord:
        return MemoryRecord(
            stamp_ns=begin_ns + round(at * RECORD_S * 1e9),
            latent_D=latent_ND[at],
            x=float(x_N[at]),
            y=float(y_N[at]),
            yaw=float(yaw_N[at]),
            session="before",
            encoder_id=manifest.encoder_id,
            action_A=np.zeros(manifest.action_dim, np.float32),
            surprise=0.5,
            frame_id="map",
            successors=(Successor(RECORD_S, RECORD_S, latent_ND[at - 1]),),
        )

    for start in range(0, capacity, CHUNK):
        memory.insert([record(at) for at in range(start, min(capacity, start + CHUNK))])
    memory.close()


class Keeper(Node):
    """Does to the memory what goes on for as long as a robot drives: loop closures and snapshots."""

    def __init__(self) -> None:
        super().__init__("bench_soak")
        self._transform: Client[Any, Any] = self.create_client(TransformMemory, "/spatial_memory/transform")
        self._snapshot: Client[Any, Any] = self.create_client(SnapshotMemory, "/spatial_memory/snapshot")
        self._stats: Client[Any, Any] = self.create_client(MemoryStats, "/spatial_memory/stats")
        self._waiting: list[Future[Any]] = []
        self.closures = self.snapshots = 0
        self.refused: list[str] = []

    def close_loop(self) -> None:
        """Move all memories a little, there and back in turn."""
        request = TransformMemory.Request()
        shift_m = 0.1 if self.closures % 2 == 0 else -0.1
        request.transform.translation.x, request.transform.translation.y = shift_m, -shift_m
        request.transform.rotation.w = 1.0
        self.closures += 1
        self._ask(self._transform, request)

    def snapshot(self) -> None:
        """Write a snapshot over the one before."""
        self.snapshots += 1
        self._ask(self._snapshot, SnapshotMemory.Request(path="soak"))

    def count(self) -> Future[Any]:
        """Ask how many memories are held."""
        return self._stats.call_async(MemoryStats.Request())

    def _ask(self, client: Client[Any, Any], request: Any) -> None:
        future = client.call_async(request)
        future.add_done_callback(self._on_answer)
        self._waiting.append(future)

    def _on_answer(self, future: Future[Any]) -> None:
        self._waiting.remove(future)
        answer = future.result()
        if answer is None or not answer.success:
            self.refused.append("no answer" if answer is None else answer.message)

    @property
    def unanswered(self) -> int:
        """How many requests have no answer yet."""
        return len(self._waiting)


def every(period_s: float) -> Iterator[bool]:
    """Yield whether a period has passed since it last did."""
    due_s = monotonic() + period_s
    while True:
        is_due = monotonic() >= due_s
        due_s += period_s if is_due else 0.0
        yield is_due


def measure(
    hours: float, capacity: int, form: str, domain_id: int, seed: int = 0, warm_up_s: float = WARM_UP_S
) -> tuple[list[Sample], dict[str, list[float]], dict[str, Any]]:
    """Return samples, the ages of ``/latent`` and ``/latent_next`` in the order they came [ms], and what was done.

    Args:
        hours: How long it counts, from ``warm_up_s`` after the graph is up [h].
        capacity: Of its memory, which is full when the graph starts.
        form: As for ``graph_commands``.
        domain_id: DDS domain.
        seed: Of the simulated building and drive, and of what the memory held before.
        warm_up_s: For so long it does not count: the first hundred predictions load what they need [s].

    Raises:
        StartError: A process did not come up, or ended.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="bench_soak_")))
        store = scratch / "store"
        store.mkdir()
        fill(store / "memory.sqlite3", capacity, seed)
        stack.enter_context(ros(domain_id))
        driver, keeper = Driver(None, 0), Keeper()
        executor = SingleThreadedExecutor()
        for node in (driver, keeper):
            stack.callback(node.destroy_node)
            executor.add_node(node)
        graph = stack.enter_context(Processes(graph_commands(form, store, capacity=capacity), scratch))
        robot = stack.enter_context(Processes({"robot": robot_command(seed)}, scratch))

        def spin(until: Callable[[], bool]) -> None:
            while not until():
                executor.spin_once(timeout_sec=0.05)
                trouble = graph.trouble() or robot.trouble()
                if trouble is not None:
                    raise StartError(trouble)

        deadline_s = monotonic() + START_DEADLINE_S
        spin(lambda: is_up(driver) or monotonic() > deadline_s)
        begin_s = monotonic()
        spin(lambda: monotonic() > begin_s + warm_up_s)
        driver.start_counting()
        samples = _counted(hours, spin, keeper, graph, store)
        held = keeper.count()
        spin(lambda: held.done() or monotonic() > begin_s + warm_up_s + hours * 3600 + START_DEADLINE_S)
        ages = {"latent": driver.latent_ages_ms(), "latent_next": driver.next_ages_ms()}
        done = {"closures": keeper.closures, "snapshots": keeper.snapshots, "refused": keeper.refused,
                "unanswered": keeper.unanswered,
                "held": _held(held)}  # fmt: skip
        executor.shutdown()
    return samples, ages, done


def _held(answered: Future[Any]) -> int | None:
    """Return how many memories are held, None where nobody said."""
    answer = answered.result() if answered.done() else None
    return None if answer is None else int(answer.memory_count)


def _counted(
    hours: float, spin: Callable[[Callable[[], bool]], None], keeper: Keeper, graph: Processes, store: Path
) -> list[Sample]:
    """Let it run, keep house, and return what was measured."""
    samples: list[Sample] = []
    begin_s = monotonic()
    sampling, closing, saving = every(SAMPLE_S), every(CLOSURE_S), every(SNAPSHOT_S)

    def turn() -> bool:
        if next(closing):
            keeper.close_loop()
        if next(saving):
            keeper.snapshot()
        if next(sampling):
            elapsed_h = (monotonic() - begin_s) / 3600
            samples.append(Sample(elapsed_h, graph.rss_bytes() / 1e6, size_mb(store), graph.shared_bytes() / 1e6))
        return monotonic() >= begin_s + hours * 3600

    spin(turn)
    return samples
