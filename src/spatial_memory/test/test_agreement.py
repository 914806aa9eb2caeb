"""The fast memory and its brute-force twin answer alike, whatever was done to them before."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spatial_memory import CellGrid, CellMemory, Forget, LocalMap, MemoryRecord, Rigid, Store, Successor, Wgs84Map
from spatial_memory.index.compiled import EMBEDDED
from spatial_memory.index.portable import PORTABLE
from wm_core.memory.kernels import load
from wm_core.memory.record import LAST_FOLLOWED_ID, MAX_ID
from wm_core.memory.reference import BruteMemory

from .conftest import World, assert_agree

pytestmark = pytest.mark.slow

RANDOM = settings(deadline=None, max_examples=17, suppress_health_check=list(HealthCheck), print_blob=True)
STEPS = (
    "insert",
    "insert",
    "mixed",
    "query",
    "batch",
    "delete",
    "transform",
    "link",
    "surprise",
    "restart",
    "snapshot",
)


@pytest.fixture(params=["compiled", "portable", "faiss"])
def backend(request):
    """Every way to search records in memory, whatever the package was built with."""
    if request.param == "faiss":
        return pytest.importorskip("spatial_memory.index.flat", reason="faiss-cpu is not installed").FAISS
    if request.param == "compiled" and load() is None:
        pytest.skip("built without a C compiler")
    return EMBEDDED if request.param == "compiled" else PORTABLE


class Pair:
    """Both memories, and one history of both."""

    def __init__(self, seed: int, folder: Path, capacity: int, resolution: int, backend) -> None:
        self.backend = backend
        self.world = World(seed)
        self.rng = np.random.default_rng(seed + 1)
        self.grid = CellGrid(LocalMap(), resolution)
        self.path = folder / "memory.sqlite3"
        self.capacity = capacity
        self.twin = BruteMemory(self.grid, capacity)
        self.memory = self.open()
        self.ids: list[int] = []

    def open(self) -> CellMemory:
        return CellMemory(Store(self.path), self.grid, self.capacity, backend=self.backend)

    def insert(self) -> None:
        records = self.world.records(int(self.rng.integers(1, 60)))
        self.note(records)
        ids = self.memory.insert(records)
        assert ids == self.twin.insert(records)
        self.ids += ids

    def note(self, records: list[MemoryRecord]) -> None:
        """Let queries name features once the memory holds some."""
        self.world.has_features |= any(record.feature_F.size for record in records)

    def mixed(self) -> None:
        """Insert records of which some bring their ids, up to the largest there is."""
        records = self.world.records(12)
        for at in self.rng.choice(12, 4, replace=False).tolist():
            record_id = int(self.rng.choice([10**6, LAST_FOLLOWED_ID - 20, MAX_ID - 40])) + int(
                self.rng.integers(0, 41)
            )
            if not self.memory.get([record_id]) and all(record.id != record_id for record in records):
                records[at] = replace(records[at], id=record_id)
        self.note(records)
        ids = self.memory.insert(records)
        assert ids == self.twin.insert(records)
        self.ids += ids

    def query(self) -> None:
        queries = [self.world.query() for _ in range(8)]
        for query in queries:
            assert_agree(self.memory, self.twin, [query])

    def batch(self) -> None:
        assert_agree(self.memory, self.twin, [self.world.query() for _ in range(5)] + self.world.planner_queries(12))

    def delete(self) -> None:
        box = self.world.query().box if self.rng.random() < 0.5 else None
        chosen = self.rng.choice(self.ids, 5).tolist() if self.ids and self.rng.random() < 0.5 else ()
        session = "b" if self.rng.random() < 0.2 else ""
        older = float(self.rng.integers(10, 20)) if self.rng.random() < 0.2 else 0.0
        what = Forget(tuple(chosen), box, session, older)
        if what != Forget():
            assert self.memory.delete(what) == self.twin.delete(what)

    def transform(self) -> None:
        rigid = Rigid(*self.rng.uniform(-2, 2, 3), float(self.rng.uniform(-3, 3)))
        session = str(self.rng.choice(["", "a"]))
        assert self.memory.transform(rigid, session) == self.twin.transform(rigid, session)

    def link(self) -> None:
        for record_id in self.ids[-20::3]:
            successor = Successor(1.0, 1.02, self.world.latent())
            assert self.memory.link(record_id, successor) == self.twin.link(record_id, successor)

    def surprise(self) -> None:
        for record_id in self.ids[-20::4]:
            value = float(self.rng.random())
            assert self.memory.set_surprise(record_id, value) == self.twin.set_surprise(record_id, value)

    def restart(self) -> None:
        self.memory.close()
        self.memory = self.open()

    def snapshot(self) -> None:
        mine, theirs = self.path.with_name("snapshot"), self.path.with_name("twin")
        assert self.memory.snapshot(mine) == self.twin.snapshot(theirs)
        had_features = self.world.has_features
        self.insert()
        assert self.memory.restore(mine) == self.twin.restore(theirs)
        self.world.has_features = had_features


@RANDOM
@given(
    seed=st.integers(0, 2**32 - 2),
    steps=st.lists(st.sampled_from(STEPS), min_size=4, max_size=12),
    capacity=st.sampled_from([40, 150, 10_000]),
    resolution=st.sampled_from([11, 14, 15]),
)
def test_any_history_ends_in_agreement(backend, seed, steps, capacity, resolution):
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(seed, Path(folder), capacity, resolution, backend)
        try:
            pair.insert()
            for step in ["query", *steps, "query", "batch", "restart", "query"]:
                getattr(pair, step)()
        finally:
            pair.memory.close()


@pytest.mark.parametrize("resolution", [9, 12, 15])
def test_dense_world(backend, resolution):
    # Many records per cell and latents that are all different: recall is exactly 1.
    grid = CellGrid(LocalMap(), resolution)
    world = World(resolution)
    twin, memory = BruteMemory(grid), CellMemory(Store(), grid, backend=backend)
    records = [world.record(latent_D=world.rng.normal(size=6).astype(np.float32)) for _ in range(1500)]
    assert memory.insert(records) == twin.insert(records)
    world.has_features = True
    assert_agree(memory, twin, [world.query() for _ in range(60)])
    assert_agree(memory, twin, world.planner_queries(40))
    memory.close()


@pytest.mark.parametrize(
    ("lng", "lat"), [(0.0, 0.0), (179.9999, 10.0), (10.0, 89.9999), (-0.0001, -60.0), (31.83, 64.7)]
)
def test_wgs84_world(backend, lng, lat):
    # The last is a corner of the icosahedron, where cells are pentagons; others lie on the date line and near a pole.
    grid = CellGrid(Wgs84Map(), 13)
    world = World(5)
    rng = world.rng
    metres = 1.0 / 111_195.0

    def near() -> tuple[float, float]:
        dx, dy = rng.uniform(-30.0, 30.0, 2)
        y = min(90.0, lat + dy * metres)
        x = lng + dx * metres / max(1e-6, math.cos(math.radians(min(y, 89.99995))))
        return float((x + 180.0) % 360.0 - 180.0), float(y)

    records = []
    for _ in range(300):
        x, y = near()
        records.append(world.record(x=x, y=y))
    twin, memory = BruteMemory(grid), CellMemory(Store(), grid, backend=backend)
    assert memory.insert(records) == twin.insert(records)
    queries = []
    for _ in range(30):
        query = world.query()
        x, y = near()
        fields = {name: value for name, value in vars(query).items() if name != "rank"}
        queries.append(type(query)(**{**fields, "place": query.place._replace(x=x, y=y), "box": None}))
    assert_agree(memory, twin, queries)
    memory.close()
