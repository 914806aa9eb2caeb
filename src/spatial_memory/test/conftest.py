"""What the tests of the memory share: random worlds, and what it means to agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spatial_memory import Box, CellGrid, CellMemory, LocalMap, MemoryRecord, Place, Query, Store, Successor
from wm_core.memory.reference import BruteMemory

DIM = 6


class World:
    """Records and queries drawn from a seed; coordinates and latents repeat, so that ties happen."""

    def __init__(self, seed: int, size_m: float = 6.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.more = np.random.default_rng(seed + 10_000)
        self.size_m = size_m
        self.has_features = False
        """Whether queries may name features; those of a memory that holds none are refused."""

    def latent(self) -> np.ndarray:
        return self.rng.integers(-4, 5, DIM).astype(np.float32) / 2.0

    def action(self) -> np.ndarray:
        if self.rng.random() < 0.2:
            return np.empty(0, np.float32)
        return self.rng.integers(-2, 3, 2).astype(np.float32)

    def record(self, **fields: object) -> MemoryRecord:
        rng = self.rng
        x, y = np.round(rng.uniform(-self.size_m, self.size_m, 2), 1)
        surprise = math.nan if rng.random() < 0.3 else float(np.float32(rng.random()))
        values: dict = {
            "stamp_ns": int(rng.integers(0, 200)) * 100_000_000,
            "latent_D": self.latent(),
            "x": float(x),
            "y": float(y),
            "z": float(rng.integers(0, 3)) * 3.0,
            "yaw": float(rng.uniform(-math.pi, math.pi)),
            "session": str(rng.choice(["a", "b", "c"])),
            "encoder_id": "e",
            "previous_action_A": self.action(),
            "action_A": self.action(),
            "surprise": surprise,
        }
        if rng.random() < 0.5:
            values["successors"] = (Successor(0.05, 0.06, self.latent()),)
        values |= self.what_some_have(values["yaw"], values.get("successors", ()))
        values.update(fields)
        if "yaw" in fields and "orientation" not in fields:
            values["orientation"] = None
        return MemoryRecord(**values)

    def what_some_have(self, yaw: float, successors: tuple[Successor, ...]) -> dict:
        """Return, for one record in four, a rotation of that yaw and features."""
        if self.more.random() < 0.75:
            return {}
        turn = Rotation.from_euler("ZYX", [yaw, *self.more.uniform(-0.4, 0.4, 2)]).as_quat().tolist()
        feature_F, later_F = self.more.integers(-128, 128, (2, 5)).astype(np.int8)
        followed = tuple(item._replace(feature_F=later_F) for item in successors)
        return {"orientation": tuple(turn), "feature_F": feature_F, "feature_id": "net", "successors": followed}

    def records(self, count: int) -> list[MemoryRecord]:
        return [self.record() for _ in range(count)]

    def place(self) -> Place:
        x, y = np.round(self.rng.uniform(-self.size_m, self.size_m, 2), 1)
        return Place(float(x), float(y), float(self.rng.integers(0, 3)) * 3.0, float(self.rng.uniform(-3, 3)))

    def query(self) -> Query:
        rng = self.rng

        def maybe(chance: float, value: object, otherwise: object) -> object:
            return value if rng.random() < chance else otherwise

        rank = str(rng.choice(["auto", "latent", "pose", "both"]))
        low, high = np.sort(rng.uniform(-self.size_m, self.size_m, (2, 3)), axis=0)
        fields: dict = {
            "k": int(rng.integers(1, 12)),
            "place": self.place(),
            "latent_D": maybe(1.0 if rank in ("latent", "both") else 0.5, self.latent(), None),
            "rank_by": rank,
            "metric": maybe(0.3, "cosine", "l2"),
            "radius_m": maybe(0.6, float(rng.choice([0.3, 1.0, 2.5, 5.0, 30.0])), 0.0),
            "ring_count": maybe(0.2, int(rng.integers(1, 6)), 0),
            "box": maybe(0.2, Box(*low, *high), None),
            "yaw_tolerance_rad": maybe(0.3, float(rng.uniform(0.1, 3.0)), 0.0),
            "z_tolerance_m": maybe(0.2, 1.5, 0.0),
            "time_min_ns": maybe(0.2, int(rng.integers(0, 150)) * 100_000_000, None),
            "time_max_ns": maybe(0.2, int(rng.integers(50, 200)) * 100_000_000, None),
            "exclude_recent_s": maybe(0.2, float(rng.integers(1, 15)), 0.0),
            "stamp_ns": maybe(0.5, int(rng.integers(100, 250)) * 100_000_000, None),
            "session": maybe(0.2, str(rng.choice(["a", "b", "nobody"])), ""),
            "action_A": maybe(0.2, rng.integers(-2, 3, 2).astype(np.float32), None),
            "action_distance": float(rng.integers(0, 3)),
            "yaw_weight_m": float(rng.choice([0.0, 0.5, 1.0])),
            "pose_weight": float(rng.choice([0.1, 1.0])),
            "successors": bool(rng.random() < 0.5),
        }
        return Query(**fields, **self.what_some_ask(fields["place"]))

    def what_some_ask(self, place: Place) -> dict:
        """Return, for some queries, a whole rotation of the place's yaw, a tolerance of it, and a feature."""
        more, asked = self.more, {}
        if more.random() < 0.3:
            turn = Rotation.from_euler("ZYX", [place.yaw, *more.uniform(-0.4, 0.4, 2)]).as_quat().tolist()
            asked["orientation"] = tuple(turn)
        if more.random() < 0.3:
            asked["rotation_tolerance_rad"] = float(more.uniform(0.1, 2.0))
        if self.has_features and more.random() < 0.4:
            asked |= {"feature_F": more.integers(-128, 128, 5).astype(np.int8), "feature_id": "net"}
        return asked

    def planner_queries(self, count: int) -> list[Query]:
        """Return queries that lie close together, as a planner asks."""
        centre = self.place()
        rank = str(self.rng.choice(["latent", "pose"]))
        queries = []
        for _ in range(count):
            dx, dy = self.rng.normal(0.0, 0.3, 2)
            place = Place(centre.x + dx, centre.y + dy, centre.z, float(self.rng.uniform(-3, 3)))
            fields: dict = {
                "k": int(self.rng.integers(1, 12)),
                "radius_m": float(self.rng.uniform(0.5, 3.0)),
                "latent_D": self.latent(),
                "yaw_tolerance_rad": float(self.rng.choice([0.0, 1.0])),
                "exclude_recent_s": float(self.rng.choice([0.0, 5.0])),
            }
            queries.append(Query(place=place, rank_by=rank, successors=True, **fields))
        return queries


def assert_same_record(mine: MemoryRecord, theirs: MemoryRecord) -> None:
    for name in ("id", "stamp_ns", "session", "encoder_id", "h3_cell"):
        assert getattr(mine, name) == getattr(theirs, name), name
    np.testing.assert_array_equal(
        [mine.x, mine.y, mine.z, mine.surprise], [theirs.x, theirs.y, theirs.z, theirs.surprise]
    )
    assert mine.yaw == pytest.approx(theirs.yaw, abs=1e-6)
    assert (mine.orientation is None) == (theirs.orientation is None)
    if mine.orientation is not None:
        np.testing.assert_allclose(mine.orientation, theirs.orientation, atol=1e-6)
    for name in ("latent_D", "action_A", "previous_action_A", "feature_F"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
    assert [(s.horizon_s, s.dt_s) for s in mine.successors] == [(s.horizon_s, s.dt_s) for s in theirs.successors]
    for ours, other in zip(mine.successors, theirs.successors):
        np.testing.assert_array_equal(ours.latent_D, other.latent_D)
        np.testing.assert_array_equal(ours.feature_F, other.feature_F)


def assert_agree(memory, twin: BruteMemory, queries: list[Query]) -> None:
    """Assert that a memory answers as the twin does: count, distances, order, whole records; ties may swap."""
    for query, answer in zip(queries, memory.query_batch(queries)):
        scored = twin.scored(query)
        expected = scored[: query.k]
        assert answer.candidate_count == len(scored)
        assert len(answer.records) == len(expected)
        np.testing.assert_allclose(answer.distances_K, [each.distance for each in expected], rtol=1e-6, atol=1e-9)
        by_id = {each.record.id: each for each in scored}
        assert len({record.id for record in answer.records}) == len(answer.records)
        for at, record in enumerate(answer.records):
            assert record.id in by_id, "a record that does not pass the filters"
            same = by_id[record.id]
            np.testing.assert_allclose(answer.distances_K[at], same.distance, rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(answer.latent_distances_K[at], same.latent_distance, rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(answer.pose_distances_K[at], same.pose_distance, rtol=1e-6, atol=1e-9)
            successors = same.record.successors if query.successors else ()
            assert_same_record(record, MemoryRecord(**{**vars(same.record), "successors": successors}))


@pytest.fixture
def grid() -> CellGrid:
    return CellGrid(LocalMap(), 15)


@pytest.fixture
def open_memory(grid, tmp_path) -> Iterator[Callable[..., CellMemory]]:
    """Open the memory kept in a file of this test; an open one is closed first."""
    opened: list[CellMemory] = []

    def open_again(path: Path = tmp_path / "memory.sqlite3", **fields: object) -> CellMemory:
        if opened:
            opened.pop().close()
        opened.append(CellMemory(Store(path), fields.pop("grid", grid), **fields))
        return opened[-1]

    yield open_again
    for memory in opened:
        memory.close()
