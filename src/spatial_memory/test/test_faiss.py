"""The backend faiss: it opens the same files, asks Faiss, and loads it only where it is chosen."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from spatial_memory import (
    CellMemory,
    Place,
    Query,
    Store,
)
from spatial_memory.factory import open_memory
from spatial_memory.settings import MemorySettings

from .backends import fill, twin
from .conftest import World, assert_agree

__all__ = ["twin"]


def settings_of(backend: str, path: str) -> MemorySettings:
    return MemorySettings(path=path, backend=backend, capacity=1000, surprise_weight=1.0, commit_every_s=0.05,
                          on_corrupt="refuse", robot_id="r", qdrant_host="", qdrant_port=1, qdrant_api_key="",
                          qdrant_tls=False, qdrant_collection="c")  # fmt: skip


@pytest.mark.parametrize(("before", "after"), [("embedded", "faiss"), ("faiss", "embedded")])
def test_a_file_opens_unchanged_under_either_backend(grid, twin, tmp_path, before, after):
    pytest.importorskip("faiss", reason="faiss-cpu is not installed")
    world, path = World(31), str(tmp_path / "memory.sqlite3")
    memory = open_memory(settings_of(before, path), grid)
    fill(memory, twin, world)
    assert memory.stats().backend == before
    memory.close()
    content = (tmp_path / "memory.sqlite3").read_bytes()
    memory = open_memory(settings_of(after, path), grid)
    assert memory.stats().backend == after
    assert_agree(memory, twin, [world.query() for _ in range(40)])
    memory.close()
    assert (tmp_path / "memory.sqlite3").read_bytes() == content


@pytest.mark.parametrize("fields", [{}, {"metric": "cosine"}, {"rank_by": "both", "place": Place(0.0, 0.0)}])
def test_the_backend_faiss_asks_faiss(grid, fields):
    flat = pytest.importorskip("spatial_memory.index.flat", reason="faiss-cpu is not installed")
    memory = CellMemory(Store(), grid, backend=flat.FAISS)
    world = World(32, size_m=0.3)
    memory.insert([world.record(latent_D=world.rng.normal(size=6).astype(np.float32)) for _ in range(200)])
    query = Query(k=1, latent_D=np.ones(6), **{"rank_by": "latent", **fields})
    best = memory.query(query).records[0]
    # Only in Faiss the nearest is another one now.
    memory._search._latents.write(np.array([memory._index.slot_of(best.id)]), np.full((1, 6), -1e6, np.float32))
    assert memory.query(query).records[0].id != best.id


@pytest.mark.slow
def test_faiss_is_loaded_only_where_it_is_chosen():
    """It takes 66 MB."""
    script = """
import sys
import numpy as np
from spatial_memory import CellGrid, CellMemory, LocalMap, MemoryRecord, Place, Query, Store
from spatial_memory import factory, params
memory = CellMemory(Store(), CellGrid(LocalMap(), 15))
memory.insert([MemoryRecord(at, np.array([at, 1.0]), 0.1 * at, 0.0, encoder_id="e") for at in range(40)])
memory.query(Query(place=Place(0.0, 0.0), latent_D=np.ones(2), metric="cosine"))
assert memory.stats().backend == "embedded"
raise SystemExit("faiss" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
