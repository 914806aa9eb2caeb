"""The peers of ``scripts/bench memory``: each answers the same queries, exact in radius where it can.

Each function builds from a world, then yields the ids it finds for each query; building is timed by the caller.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import h3.api.numpy_int as h3
import numpy as np

from benchmarks import memory_world as mw
from spatial_memory import CellGrid, LocalMap, resolution_for

Answer = Callable[[int], list[int]]


class _Cells:
    """Which states lie in which cell, for peers that have no idea of place."""

    def __init__(self, world: mw.World) -> None:
        self.grid = CellGrid(LocalMap(), resolution_for(mw.RADIUS_M))
        self.cell_N = self.grid.cells_of(world.x_N, world.y_N).astype(np.int64)
        order = np.argsort(self.cell_N, kind="stable")
        cells, starts = np.unique(self.cell_N[order], return_index=True)
        self.states = dict(zip(cells.tolist(), np.split(order, starts[1:])))

    def near(self, x: float, y: float) -> list[int]:
        """Return the cells that a query's disc may touch."""
        cell = self.grid.cell_of(x, y)
        edge = 0.85 * h3.average_hexagon_edge_length(self.grid.resolution, "m")
        found: list[int] = h3.grid_disk(cell, int(np.ceil((mw.RADIUS_M / edge + 0.5) / 1.5))).tolist()
        return found

    def states_near(self, world: mw.World, x: float, y: float) -> np.ndarray:
        """Return the states within the radius."""
        parts = [self.states[cell] for cell in self.near(x, y) if cell in self.states]
        near: np.ndarray = np.concatenate(parts)
        inside: np.ndarray = near[(world.x_N[near] - x) ** 2 + (world.y_N[near] - y) ** 2 <= mw.RADIUS_M**2]
        return inside


def faiss_flat(world: mw.World, queries: mw.Queries) -> Iterator[Any]:
    """Faiss flat index with an ``IDSelectorBatch`` of what lies near."""
    return _faiss_flat(world, queries, "IDSelectorBatch")


def faiss_flat_array(world: mw.World, queries: mw.Queries) -> Iterator[Any]:
    """Faiss flat index with an ``IDSelectorArray``: it visits the ids listed instead of asking about every one."""
    return _faiss_flat(world, queries, "IDSelectorArray")


def _faiss_flat(world: mw.World, queries: mw.Queries, selector: str) -> Iterator[Any]:
    import faiss

    faiss.omp_set_num_threads(1)
    select: Any = getattr(faiss, selector)
    parameters: Any = faiss.SearchParameters
    cells = _Cells(world)
    index = faiss.IndexFlatL2(mw.DIM)
    index.add(world.latent_ND)

    def answer(at: int) -> list[int]:
        near = cells.states_near(world, queries.x_Q[at], queries.y_Q[at])
        params = parameters(sel=select(near))
        ids: list[int] = (index.search(queries.latent_QD[at : at + 1], mw.K, params=params)[1][0] + 1).tolist()
        return ids

    yield answer


def hnswlib_filtered(world: mw.World, queries: mw.Queries) -> Iterator[Any]:
    """Hnswlib with a Python filter: approximate, so its recall is below 1."""
    import hnswlib

    cells = _Cells(world)
    index = hnswlib.Index(space="l2", dim=mw.DIM)
    index.init_index(max_elements=len(world.x_N), ef_construction=100, M=16)
    index.set_num_threads(2)
    index.add_items(world.latent_ND)
    index.set_num_threads(1)
    index.set_ef(200)
    mask_N = np.zeros(len(world.x_N), bool)

    def answer(at: int) -> list[int]:
        near = cells.states_near(world, queries.x_Q[at], queries.y_Q[at])
        mask_N[near] = True
        try:
            labels, _ = index.knn_query(queries.latent_QD[at], k=mw.K, filter=lambda label: bool(mask_N[label]))
            ids: list[int] = (labels[0].astype(np.int64) + 1).tolist()
            return ids
        except RuntimeError:  # it found fewer than k
            return []
        finally:
            mask_N[near] = False

    yield answer


def qdrant_edge(world: mw.World, queries: mw.Queries) -> Iterator[Any]:
    """Embedded Qdrant, exact search, payload index on the H3 cell and on x and y.

    Without the HNSW graph, which an exact search does not use: building it takes most of the time of a million points.
    """
    import qdrant_edge as qe

    cells = _Cells(world)
    folder = tempfile.mkdtemp()
    config = qe.EdgeConfig(
        vectors=qe.EdgeVectorParams(size=mw.DIM, distance=qe.Distance.Euclid),
        hnsw_config=qe.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=10_000, payload_m=0),
        max_search_threads=1,
        wal_enabled=False,
    )
    shard = qe.EdgeShard.create(folder, config)
    operation = qe.UpdateOperation
    shard.update(operation.create_field_index("cell", qe.PayloadSchemaType.Integer))
    for name in ("x", "y"):
        shard.update(operation.create_field_index(name, qe.PayloadSchemaType.Float))
    columns = (cells.cell_N.tolist(), world.x_N.tolist(), world.y_N.tolist())
    for start in range(0, len(world.x_N), 5000):
        end = min(len(world.x_N), start + 5000)
        shard.update(
            operation.upsert_points(
                [
                    qe.Point(at + 1, world.latent_ND[at].tolist(),
                             {"cell": columns[0][at], "x": columns[1][at], "y": columns[2][at]})
                    for at in range(start, end)
                ]
            )
        )  # fmt: skip
    shard.optimize()

    def answer(at: int) -> list[int]:
        x, y = float(queries.x_Q[at]), float(queries.y_Q[at])
        must = [
            qe.FieldCondition(key="cell", match=qe.MatchAny(cells.near(x, y))),
            qe.FieldCondition(key="x", range=qe.RangeFloat(gte=x - mw.RADIUS_M, lte=x + mw.RADIUS_M)),
            qe.FieldCondition(key="y", range=qe.RangeFloat(gte=y - mw.RADIUS_M, lte=y + mw.RADIUS_M)),
        ]
        return _filtered(shard, qe, queries.latent_QD[at].tolist(), must, x, y)

    yield answer
    shard.close()
    shutil.rmtree(folder)


def _filtered(shard: Any, qe: Any, latent: list[float], must: list[Any], x: float, y: float) -> list[int]:
    """Ask for more until k of the answers lie within the circle: the filter itself knows boxes only."""
    limit = 2 * mw.K
    while True:
        points = shard.query(
            qe.QueryRequest(
                limit=limit, query=qe.Query.Nearest(latent), filter=qe.Filter(must=must),
                params=qe.SearchParams(exact=True), with_payload=["x", "y"],
            )
        )  # fmt: skip
        inside = [
            point.id for point in points
            if (point.payload["x"] - x) ** 2 + (point.payload["y"] - y) ** 2 <= mw.RADIUS_M**2
        ]  # fmt: skip
        if len(inside) >= mw.K or len(points) < limit:
            return inside[: mw.K]
        limit *= 2


def lancedb_prefilter(world: mw.World, queries: mw.Queries) -> Iterator[Any]:
    """LanceDB, brute-force search behind a prefilter on the indexed H3 cell and the exact circle."""
    import lancedb
    import pyarrow as pa

    cells = _Cells(world)
    folder = tempfile.mkdtemp()
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(world.latent_ND.reshape(-1)), mw.DIM)
    table = lancedb.connect(folder).create_table(
        "memory",
        pa.table({"id": np.arange(1, len(world.x_N) + 1), "cell": cells.cell_N, "x": world.x_N, "y": world.y_N,
                  "vector": vectors}),
    )  # fmt: skip
    table.create_scalar_index("cell", index_type="BTREE")

    def answer(at: int) -> list[int]:
        x, y = queries.x_Q[at], queries.y_Q[at]
        near = ",".join(map(str, cells.near(x, y)))
        where = f"cell IN ({near}) AND (x-({x}))*(x-({x}))+(y-({y}))*(y-({y})) <= {mw.RADIUS_M**2}"
        found = table.search(queries.latent_QD[at]).where(where, prefilter=True).limit(mw.K).select(["id"])
        ids: list[int] = found.to_arrow()["id"].to_pylist()
        return ids

    yield answer
    shutil.rmtree(folder)


PEERS: dict[str, tuple[str, Callable[[mw.World, mw.Queries], Iterator[Any]]]] = {
    "faiss_flat_selector": ("faiss", faiss_flat),
    "faiss_flat_array": ("faiss", faiss_flat_array),
    "qdrant_edge": ("qdrant_edge", qdrant_edge),
    "lancedb": ("lancedb", lancedb_prefilter),
    "hnswlib": ("hnswlib", hnswlib_filtered),
}
"""Name -> (module it needs, how it answers)."""
