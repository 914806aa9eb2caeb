"""Every backend, and the twin that it is held to."""

from __future__ import annotations

import os
import socket
import uuid
import warnings
from collections.abc import Iterator

import pytest

from spatial_memory import (
    CellMemory,
    Memory,
    Store,
)
from wm_core.memory.reference import BruteMemory

from .conftest import World

HOST, PORT = os.environ.get("QDRANT_HOST") or "localhost", int(os.environ.get("QDRANT_PORT") or 6333)


def server_answers() -> bool:
    try:
        socket.create_connection((HOST, PORT), timeout=0.5).close()
    except OSError:
        return False
    return True


def local_client():
    qdrant = pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return qdrant.QdrantClient(":memory:")


@pytest.fixture(params=["brute", "embedded", "faiss", "qdrant-local", "qdrant-server"])
def memory(request, grid, tmp_path) -> Iterator[Memory]:
    if request.param == "brute":
        made: Memory = BruteMemory(grid)
    elif request.param == "embedded":
        made = CellMemory(Store(tmp_path / "memory.sqlite3"), grid)
    elif request.param == "faiss":
        flat = pytest.importorskip("spatial_memory.index.flat", reason="faiss-cpu is not installed")
        made = CellMemory(Store(tmp_path / "memory.sqlite3"), grid, backend=flat.FAISS)
    else:
        pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")
        from spatial_memory.qdrant.memory import QdrantMemory
        from spatial_memory.qdrant.server import connect

        local = request.param == "qdrant-local"
        if not local and not server_answers():
            pytest.skip(f"no Qdrant server answers at {HOST}:{PORT}")
        client = local_client() if local else connect(HOST, PORT, os.environ.get("QDRANT_API_KEY", ""), tls=False)
        name = f"test-{uuid.uuid4().hex}"
        made = QdrantMemory(client, grid, "r2", name, str(tmp_path / "outbox"), 0.01, indexed=not local)
    yield made
    if request.param.startswith("qdrant"):
        for each in client.get_collections().collections:
            if each.name.startswith(name):
                client.delete_collection(each.name)
    made.close()


@pytest.fixture
def twin(grid) -> BruteMemory:
    return BruteMemory(grid)


def fill(memory: Memory, twin: BruteMemory, world: World, count: int = 150) -> list[int]:
    """Give both the same records under the same ids."""
    records = [world.record(id=1000 + at) for at in range(count)]
    assert memory.insert(records) == twin.insert(records)
    memory.flush()
    return [record.id for record in records]
