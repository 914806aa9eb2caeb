"""Our side of ``scripts/bench memory``."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks import memory_world as mw
from spatial_memory import (
    CellGrid,
    CellMemory,
    Forget,
    LocalMap,
    MemoryRecord,
    Place,
    Query,
    Store,
    Successor,
    resolution_for,
)
from spatial_memory.embedded.table import Catalogue
from spatial_memory.index.columns import Rows
from spatial_memory.store.schema import (
    PUT_META,
    PUT_RECORD,
    PUT_SESSION,
    PUT_SUCCESSOR,
    checksummed,
    pack_successor,
    to_tuples,
)

CHUNK = 100_000
STEP_NS = 100_000_000


def grid() -> CellGrid:
    """Return the cells that the radius asks for."""
    return CellGrid(LocalMap(), resolution_for(mw.RADIUS_M))


def fill(path: Path, world: mw.World) -> None:
    """Write a whole world to a new store, each record with both successors."""
    Store(path).close()
    cells = grid()
    count = len(world.x_N)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    words = Catalogue("bench", mw.DIM, 2, count + 1).meta(cells)
    connection.executemany(PUT_META, [checksummed(key, str(value)) for key, value in words.items()])
    connection.execute(PUT_SESSION, checksummed(1, "bench"))
    for start in range(0, count, CHUNK):
        part = np.arange(start, min(count, start + CHUNK))
        connection.executemany(PUT_RECORD, to_tuples(_rows(world, part, cells)))
        for key in (part + 1).tolist():
            followed = (0.1, world.successor_ND[key - 1]), (1.0, world.later_ND[key - 1])
            body = b"".join(
                pack_successor(key, Successor(horizon_s, horizon_s, world.latent_ND[at])) for horizon_s, at in followed
            )
            connection.execute(PUT_SUCCESSOR, (key, body))
    connection.execute("COMMIT")
    connection.close()


def _rows(world: mw.World, part: np.ndarray, cells: CellGrid) -> Rows:
    count = len(part)
    x_N, y_N = world.x_N[part], world.y_N[part]
    action_NA = np.tile(np.array([0.5, 0.1], np.float32), (count, 1))
    return Rows(
        part + 1, part * STEP_NS, x_N, y_N, np.zeros(count), world.yaw_N[part], np.ones(count, np.int32),
        np.full(count, 0.5, np.float32), action_NA, action_NA, cells.cells_of(x_N, y_N), world.latent_ND[part],
    )  # fmt: skip


def ask_of(queries: mw.Queries, at: int, **fields: Any) -> Query:
    """Return one query as a user asks it, successors included."""
    place = Place(float(queries.x_Q[at]), float(queries.y_Q[at]), 0.0, float(queries.yaw_Q[at]))
    values: dict[str, Any] = {"rank_by": "latent", "latent_D": queries.latent_QD[at], "successors": True, **fields}
    return Query(k=mw.K, place=place, radius_m=mw.RADIUS_M, **values)


def ours(size: int, path: Path, queries: mw.Queries, planner: mw.Queries) -> dict[str, Any]:
    """Open the store and measure."""
    process = psutil.Process()
    before = process.memory_info().rss
    begin = time.perf_counter()
    memory = CellMemory(Store(path), grid(), capacity=size + 100_000)
    startup_s = time.perf_counter() - begin
    rss = process.memory_info().rss - before

    def ask(at: int) -> list[int]:
        return [record.id for record in memory.query(ask_of(queries, at)).records]

    found, times = mw.timed(ask, len(queries.x_Q))
    checked = memory.query(ask_of(queries, 0)).records
    assert all(len(record.successors) == 2 and record.action_A.size for record in checked)
    result: dict[str, Any] = {**mw.percentiles(times), "recall": mw.recall(found, queries.truth_QK)}
    result |= {"startup_s": round(startup_s, 2), "rss_bytes_per_record": round(rss / size, 1)}
    result |= {"rss_bytes": process.memory_info().rss, "peak_rss_bytes": peak_rss()}
    result |= {"disk_bytes_per_record": round(memory.stats().disk_bytes / size, 1)}
    variants: dict[str, dict[str, Any]] = {
        "pose": {"rank_by": "pose", "latent_D": None},
        "latent_yaw_old": {"yaw_tolerance_rad": 0.52, "exclude_recent_s": 20.0},
        "both": {"rank_by": "both"},
    }
    result |= {f"query_{name}": _variant(memory, queries, fields) for name, fields in variants.items()}
    result["batch"] = {
        f"{where}_{rank}": _batch(memory, asked, {} if rank == "latent" else variants["pose"])
        for where, asked in (("planner", planner), ("scattered", queries))
        for rank in ("latent", "pose")
    }
    result["insert"] = _insert(memory, size)
    memory.close()
    return {"ours": result}


def peak_rss() -> int:
    """Return the most memory this process ever held [bytes]."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _variant(memory: CellMemory, queries: mw.Queries, fields: dict[str, Any]) -> dict[str, float]:
    """Return what other kinds of queries cost."""

    def ask(at: int) -> bool:
        return bool(memory.query(ask_of(queries, at, **fields)))

    return mw.percentiles(mw.timed(ask, 200)[1])


def _batch(memory: CellMemory, queries: mw.Queries, fields: dict[str, Any]) -> dict[str, float]:
    """Return what 256 queries cost in one call and one by one [ms], medians of a few."""
    asked = [ask_of(queries, at, **fields) for at in range(256)]
    batch, single = [], []
    for _ in range(5):
        begin = time.perf_counter()
        answers = memory.query_batch(asked)
        batch.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        alone = [memory.query(query) for query in asked]
        single.append(time.perf_counter() - begin)
    same = all([r.id for r in a.records] == [r.id for r in b.records] for a, b in zip(answers, alone))
    batch_ms, single_ms = float(np.median(batch)) * 1e3, float(np.median(single)) * 1e3
    return {"batch_ms": round(batch_ms, 2), "single_ms": round(single_ms, 2),
            "ratio": round(single_ms / batch_ms, 2), "same_answers": same}  # fmt: skip


def _insert(memory: CellMemory, size: int) -> dict[str, Any]:
    """Return insertions per second, one by one as the node does and in lists of 1000, and the time of a flush."""
    rng = np.random.default_rng(3)

    def record(number: int) -> MemoryRecord:
        return MemoryRecord(
            stamp_ns=(size + number) * STEP_NS, latent_D=rng.standard_normal(mw.DIM).astype(np.float32),
            x=float(rng.uniform(-1, 1)), y=float(rng.uniform(-1, 1)), session="bench", encoder_id="bench",
            action_A=np.zeros(2, np.float32),
            successors=(Successor(0.1, 0.1, np.zeros(mw.DIM, np.float32)),),
        )  # fmt: skip

    singles = [record(number) for number in range(3000)]
    times, ids = [], []
    for each in singles:
        begin = time.perf_counter()
        ids += memory.insert([each])
        times.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    memory.flush()
    flush_s = time.perf_counter() - begin
    lists = [[record(number) for number in range(1000)] for _ in range(20)]
    begin = time.perf_counter()
    for records in lists:
        ids += memory.insert(records)
    memory.flush()
    bulk_s = time.perf_counter() - begin
    memory.delete(Forget(ids=tuple(ids)))
    return {"single": mw.percentiles(times), "flush_ms": round(flush_s * 1e3, 1), "durable_per_s": round(20e3 / bulk_s)}


def ros_round_trip(path: Path, queries: mw.Queries) -> dict[str, Any]:
    """Return what a query costs through the ROS service, asked in the same process and executor."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node
    from rclpy.parameter import Parameter

    from spatial_memory.node import SpatialMemory
    from wm_interfaces.srv import QueryMemory, QueryMemoryBatch

    rclpy.init(args=[], domain_id=77)
    given = {"db_path": str(path), "usual_radius_m": mw.RADIUS_M, "capacity": 20_000_000}
    node = SpatialMemory(parameter_overrides=[Parameter(name, value=value) for name, value in given.items()])
    asker = Node("asker")
    client: Any = asker.create_client(QueryMemory, "/spatial_memory/query")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    executor.add_node(asker)
    client.wait_for_service()
    msgs = [_query_msg(queries, at) for at in range(len(queries.x_Q))]
    times, search = [], []
    for msg in msgs:
        begin = time.perf_counter()
        future = client.call_async(QueryMemory.Request(query=msg))
        executor.spin_until_future_complete(future)
        times.append(time.perf_counter() - begin)
        answer: Any = future.result()
        search.append(answer.search_ms / 1e3)
        assert len(answer.matches.records) == mw.K
    batch: Any = asker.create_client(QueryMemoryBatch, "/spatial_memory/query_batch")
    batch.wait_for_service()
    begin = time.perf_counter()
    executor.spin_until_future_complete(batch.call_async(QueryMemoryBatch.Request(queries=msgs[:256])))
    batch_ms = (time.perf_counter() - begin) * 1e3
    node.destroy_node()
    rclpy.try_shutdown()
    return {
        **mw.percentiles(times[20:]),
        "search": mw.percentiles(search[20:]),
        "batch_256_ms": round(batch_ms, 1),
        "single_256_ms": round(sum(times[:256]) * 1e3, 1),
    }


def _query_msg(queries: mw.Queries, at: int) -> Any:
    """Return a query as the service takes it."""
    from wm_core.se3 import quaternion_of
    from wm_interfaces.msg import MemoryQuery
    from wm_ros import floats

    msg = MemoryQuery(has_pose=True, radius_m=mw.RADIUS_M, k=mw.K, rank_by=MemoryQuery.RANK_LATENT, successors=True)
    msg.pose.position.x, msg.pose.position.y = float(queries.x_Q[at]), float(queries.y_Q[at])
    turn = msg.pose.orientation
    turn.x, turn.y, turn.z, turn.w = quaternion_of(float(queries.yaw_Q[at]))
    msg.latent = floats(queries.latent_QD[at])
    return msg
