"""Qdrant alone: away, full, shared by robots, interrupted half way."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from spatial_memory import (
    BackendAwayError,
    Forget,
    Place,
    Query,
    RecordError,
    Rigid,
    StoreError,
)
from spatial_memory.index.eviction import worth

from .backends import fill, local_client, twin
from .conftest import World, assert_agree

__all__ = ["twin"]
pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")


def test_a_size_that_the_server_does_not_hold_is_refused(grid, twin, tmp_path):
    from spatial_memory.qdrant.memory import QdrantMemory

    memory = QdrantMemory(local_client(), grid, "r1", "c", str(tmp_path / "outbox"), 0.01, indexed=False)
    fill(memory, twin, World(26), 5)
    memory.clear()
    with pytest.raises(RecordError, match="has 3 values, the memory holds 6"):
        memory.insert([World(26).record(latent_D=np.ones(3, np.float32), successors=())])
    memory.insert([World(26).record()])
    memory.flush()
    assert memory.stats().memory_count == 1
    memory.close()


class Flaky:
    """A client of a server that comes and goes."""

    def __init__(self, client) -> None:
        self._client = client
        self.away = False

    def __getattr__(self, name: str):
        if self.away and name != "close":
            raise ConnectionError("the server is away")
        return getattr(self._client, name)


def test_a_server_that_is_away_gets_everything_later(grid, twin, tmp_path):
    from spatial_memory.qdrant.memory import QdrantMemory

    client, world = Flaky(local_client()), World(12)
    memory = QdrantMemory(client, grid, "r1", "c", str(tmp_path / "outbox"), 0.01, indexed=False)
    fill(memory, twin, world, 20)
    client.away = True
    records = [world.record(id=5000 + at) for at in range(30)]
    memory.insert(records)
    twin.insert(records)
    with pytest.raises(BackendAwayError):
        memory.flush()
    with pytest.raises(BackendAwayError):
        memory.query_batch([Query(place=Place(0.0, 0.0))])
    assert memory.stats().pending_writes == 30
    assert any("away" in each for each in memory.stats().degraded)
    client.away = False
    memory._server._ask_again_s = 0.0
    memory._outbox.drain(30.0)
    assert memory.stats().degraded == ()
    assert_agree(memory, twin, [world.query() for _ in range(5)])
    memory.close()


def test_what_was_not_sent_is_sent_after_a_restart(grid, twin, tmp_path):
    from spatial_memory.qdrant.memory import QdrantMemory

    server, world = local_client(), World(13)
    client = Flaky(server)
    memory = QdrantMemory(client, grid, "r1", "c", str(tmp_path / "outbox"), 0.01, indexed=False)
    fill(memory, twin, world, 5)
    client.away = True
    records = [world.record(id=5000 + at) for at in range(10)]
    memory.insert(records)
    twin.insert(records)
    memory._outbox.close()
    again = QdrantMemory(Flaky(server), grid, "r1", "c", str(tmp_path / "outbox"), 0.01, indexed=False)
    again._outbox.drain(30.0)
    assert again.stats().memory_count == 15
    assert_agree(again, twin, [world.query() for _ in range(5)])
    again.close()


def test_robots_share_a_collection_and_keep_their_own(grid, tmp_path):
    from spatial_memory.qdrant.memory import QdrantMemory

    server = local_client()
    robots = [QdrantMemory(server, grid, name, "c", str(tmp_path / name), 0.01, indexed=False) for name in ("a", "b")]
    world = World(14)
    ids = [robot.insert([world.record() for _ in range(10)]) for robot in robots]
    for robot in robots:
        robot.flush()
    assert len({*ids[0], *ids[1]}) == 20
    assert len(robots[0].query_batch([Query(k=50, place=Place(0.0, 0.0))])[0].records) == 20
    robots[0].clear()
    assert robots[1].stats().memory_count == 10
    for robot in robots:
        robot._outbox.close()
    server.close()


def test_robots_whose_ids_meet_overwrite_nothing(grid, tmp_path):
    from spatial_memory.qdrant.memory import QdrantMemory

    server = local_client()
    robots = [QdrantMemory(server, grid, name, "c", str(tmp_path / name), 0.01, indexed=False) for name in ("a", "b")]
    world = World(15)
    for robot in robots:
        robot.insert([world.record(id=at) for at in range(1, 11)])
        robot.flush()
    assert robots[0].stats().memory_count == 20
    assert robots[0].delete(Forget(ids=(3, 4))) == 2
    assert robots[1].stats().memory_count == 18
    assert {record.id for record in robots[1]._mine()} == set(range(1, 11))
    for robot in robots:
        robot._outbox.close()
    server.close()


def test_an_id_held_already_is_refused_while_it_is_open_which_collection_is_meant(grid, tmp_path):
    from spatial_memory.qdrant.memory import QdrantMemory

    server, world = local_client(), World(16)
    robots = [QdrantMemory(server, grid, name, "c", str(tmp_path / name), 0.01, indexed=False) for name in ("a", "b")]
    for robot, encoder_id in zip(robots, ("one", "two")):
        robot.insert([world.record(id=7, encoder_id=encoder_id)])
        robot.flush()
        robot._outbox.close()
    again = QdrantMemory(server, grid, "a", "c", str(tmp_path / "a"), 0.01, indexed=False)
    with pytest.raises(RecordError, match="record 0: id 7 is held already"):
        again.insert([world.record(id=7, encoder_id="one")])
    assert again.insert([world.record(id=8, encoder_id="one")]) == [8]
    again.close()


def test_a_full_collection_forgets_as_the_default_backend_does(grid, tmp_path):
    from spatial_memory.qdrant.memory import QdrantMemory

    world = World(16, size_m=1.5)
    records = [world.record(id=1 + at) for at in range(120)]
    memory = QdrantMemory(local_client(), grid, "r1", "c", str(tmp_path / "outbox"), 0.01, 60, indexed=False)
    memory.insert(records)
    memory.flush()
    held = memory._mine()
    assert memory.stats().memory_count == memory.stats().capacity == len(held) == 60
    before, after = Counter(grid.cell_of(each.x, each.y) for each in records), Counter(each.h3_cell for each in held)
    assert after.keys() == before.keys(), "a place was emptied"
    gave = [cell for cell in before if after[cell] < before[cell]]
    assert max(after.values()) - min(after[cell] for cell in gave) <= 1, "a cell gave while another was more crowded"
    for cell in gave:
        inside = [each for each in records if grid.cell_of(each.x, each.y) == cell]
        numbers = [np.array([getattr(each, name) for each in inside]) for name in ("stamp_ns", "surprise", "id")]
        order = np.lexsort((numbers[2], worth(*numbers, 1.0)))
        assert {each.id for each in held if each.h3_cell == cell} == set(numbers[2][order[-after[cell] :]].tolist())
    memory.close()


def test_a_transform_that_is_interrupted_happens_once(grid, twin, tmp_path):
    from spatial_memory.qdrant.memory import QdrantMemory

    server, world = local_client(), World(17)
    client = Flaky(server)
    memory = QdrantMemory(client, grid, "r1", "c", str(tmp_path / "outbox"), 0.01, indexed=False)
    fill(memory, twin, world, 30)
    moves = 0
    set_payload = server.set_payload

    def goes_away(*args, **fields):
        nonlocal moves
        moves += 1
        client.away = moves >= 10
        return set_payload(*args, **fields)

    server.set_payload = goes_away
    rigid = Rigid(1.0, 2.0, 0.0, 0.5)
    with pytest.raises(BackendAwayError):
        memory.transform(rigid)
    memory._outbox.close()
    server.set_payload = set_payload
    again = QdrantMemory(Flaky(server), grid, "r1", "c", str(tmp_path / "outbox"), 0.01, indexed=False)
    again._outbox.drain(30.0)
    assert twin.transform(rigid) == 30
    assert_agree(again, twin, [world.query() for _ in range(10)])
    again.close()


@pytest.mark.slow
def test_a_restore_that_the_outbox_does_not_take_changes_nothing(grid, twin, tmp_path):
    from spatial_memory.qdrant.memory import QdrantMemory

    client, world = Flaky(local_client()), World(18)
    memory = QdrantMemory(client, grid, "r1", "c", str(tmp_path / "outbox"), 0.01, indexed=False)
    fill(memory, twin, world, 30)
    memory.snapshot(tmp_path / "snapshot")
    more = [world.record(id=7000 + at) for at in range(5)]
    memory.insert(more)
    twin.insert(more)
    memory.flush()
    with memory._outbox._guard:
        memory._outbox._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match="not durable"):
        memory.restore(tmp_path / "snapshot")
    with memory._outbox._guard:
        memory._outbox._connection.execute("PRAGMA query_only = OFF")
    client.away = True
    with pytest.raises(BackendAwayError):
        memory.restore(tmp_path / "snapshot")
    client.away = False
    memory.flush()
    assert memory.stats().pending_writes == 0
    assert_agree(memory, twin, [world.query() for _ in range(5)])
    assert memory.restore(tmp_path / "snapshot") == 30
    twin.delete(Forget(ids=tuple(record.id for record in more)))
    assert_agree(memory, twin, [world.query() for _ in range(5)])
    memory.close()


@pytest.mark.slow
def test_a_restore_that_is_interrupted_happens_whole(grid, twin, tmp_path):
    from spatial_memory.qdrant.memory import QdrantMemory

    server, world = local_client(), World(19)
    client = Flaky(server)
    memory = QdrantMemory(client, grid, "r1", "c", str(tmp_path / "outbox"), 0.01, indexed=False)
    fill(memory, twin, world, 600)
    memory.snapshot(tmp_path / "snapshot")
    memory.delete(Forget(session="a"))
    upsert = server.upsert

    def goes_away(*args, **fields):
        client.away = True
        return upsert(*args, **fields)

    server.upsert = goes_away
    with pytest.raises(BackendAwayError):
        memory.restore(tmp_path / "snapshot")
    memory._outbox.close()
    server.upsert = upsert
    again = QdrantMemory(Flaky(server), grid, "r1", "c", str(tmp_path / "outbox"), 0.01, indexed=False)
    again._outbox.drain(30.0)
    assert again.stats().memory_count == 600
    assert_agree(again, twin, [world.query() for _ in range(10)])
    again.close()
