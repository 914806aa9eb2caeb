"""The backend Qdrant against a server that is slow, wrong, away or half-way: nothing is lost, doubled or waited for."""

from __future__ import annotations

import copy
import math
import random
import time

import pytest

pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")

from spatial_memory import CellGrid, Forget, LocalMap, Place, Query
from spatial_memory.qdrant.memory import QdrantMemory
from spatial_memory.qdrant.server import connect
from wm_core.memory.errors import BackendAwayError, LostRecordsError, SpatialMemoryError, StoreError

from .conftest import World
from .stub_qdrant import StubQdrant

pytestmark = pytest.mark.slow
WRONG = ["json", "shape", "empty", "status", "hangup", "deep", "packed", "busy"]


@pytest.fixture
def stub():
    stub = StubQdrant()
    yield stub
    stub.close()


@pytest.fixture
def open_robot(stub, tmp_path):
    opened = []

    def open_again(timeout_s: int = 2) -> QdrantMemory:
        client = connect("127.0.0.1", stub.port, "", tls=False, timeout_s=timeout_s)
        path = str(tmp_path / "outbox.sqlite3")
        opened.append(QdrantMemory(client, CellGrid(LocalMap(), 15), "r", "c", path, 0.01))
        return opened[-1]

    yield open_again
    stub.mode = "right"
    for memory in opened:
        memory.close()


def until(condition) -> None:
    deadline = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_is_put_through_a_real_connection_comes_back(open_robot, stub):
    memory, world = open_robot(), World(1)
    ids = memory.insert(world.records(30))
    memory.flush()
    assert stub.count() == 30
    found = memory.query_batch([Query(latent_D=world.latent(), k=50)])[0].records
    assert sorted(record.id for record in found) == sorted(ids)


@pytest.mark.parametrize("mode", [*WRONG, "halfway"])
def test_whatever_the_server_answers_is_named_and_nothing_is_lost_or_doubled(open_robot, stub, mode):
    memory, world = open_robot(), World(2)
    ids = memory.insert(world.records(10))
    memory.flush()
    stub.mode = mode
    ids += memory.insert(world.records(10))
    if mode != "halfway":
        for ask in (lambda: memory.query_batch([Query(latent_D=world.latent())]), lambda: memory.places(5)):
            with pytest.raises(BackendAwayError, match="Qdrant"):
                ask()
    until(lambda: memory.stats().degraded)
    stub.mode = "right"
    until(lambda: memory.stats().pending_writes == 0)
    memory.flush()
    assert sorted(memory.held_ids()) == sorted(ids)
    assert stub.count() == 20


def test_a_slow_server_holds_nobody_up_who_only_inserts_or_looks(open_robot, stub):
    memory, world = open_robot(timeout_s=1), World(3)
    memory.insert(world.records(3))
    memory.flush()
    stub.mode = "slow"
    times = []
    for _ in range(20):
        begin_s = time.monotonic()
        memory.insert(world.records(1))
        memory.stats()
        times.append(time.monotonic() - begin_s)
    # The server answers never, its timeout is a second: who waits for it even once in ten times takes longer.
    assert sum(times) < 2.0
    with pytest.raises(BackendAwayError):
        memory.query_batch([Query(latent_D=world.latent())])
    asked = stub.asked
    with pytest.raises(BackendAwayError, match="asked again in a moment"):
        memory.query_batch([Query(latent_D=world.latent())])
    assert stub.asked <= asked + 1
    stub.mode = "right"
    stub.awake.set()
    until(lambda: memory.stats().pending_writes == 0)
    until(lambda: stub.count() == 23)


@pytest.mark.parametrize("mode", ["trickle", "endless"])
def test_an_answer_without_end_is_read_for_so_long_and_so_far(open_robot, stub, monkeypatch, mode):
    monkeypatch.setattr("spatial_memory.qdrant.server.MOST_BYTES", 2**23)
    memory, world = open_robot(timeout_s=1), World(3)
    memory.insert(world.records(3))
    memory.flush()
    stub.mode = mode
    begin_s = time.monotonic()
    with pytest.raises(BackendAwayError, match="does not end within 3 s" if mode == "trickle" else "more than 8388608"):
        memory.query_batch([Query(latent_D=world.latent())])
    # It would have gone on for 30 s and longer, and to 1 GiB.
    assert time.monotonic() - begin_s < 15.0
    assert stub.sent < 2**28
    stub.mode = "right"
    until(lambda: memory.stats().degraded == ())
    assert len(memory.held_ids()) == 3


def spoiled(answer, rng: random.Random) -> None:
    """Put something else in the place of one value somewhere in an answer."""
    within = answer
    while isinstance(within, (dict, list)) and within:
        key = rng.choice(list(within)) if isinstance(within, dict) else rng.randrange(len(within))
        if not (isinstance(within[key], (dict, list)) and within[key]):
            within[key] = copy.deepcopy(rng.choice(ODD))
        within = within[key]


ODD = [
    None,
    -1,
    0,
    10**30,
    1.5,
    math.nan,
    math.inf,
    1e308,
    "x",
    "",
    "AA==",
    [],
    {},
    [[]],
    [0.5] * 7,
    True,
    "\ud800",
    2**63,
]


def test_values_that_cannot_be_are_named_and_never_searched(open_robot, stub):
    memory, world, rng = open_robot(), World(7), random.Random(5)
    ids = memory.insert(world.records(12))
    memory.flush()
    asks = [
        lambda: memory.query_batch([Query(latent_D=world.latent(), k=5, successors=True)]),
        lambda: memory.query_batch([Query(place=Place(0.0, 0.0), radius_m=1e6, k=5)]),
        lambda: memory.query_batch([Query(latent_D=world.latent(), k=5, exclude_recent_s=1.0)]),
        lambda: memory.overview(20, 5), lambda: memory.places(5), memory.held_ids, lambda: memory.get(ids[:3]),
        lambda: memory.delete(Forget(session="nobody's")),
    ]  # fmt: skip
    stub.spoil = lambda answer: spoiled(answer, rng) if rng.random() < 0.5 else None
    refused = 0
    for trial in range(600):
        try:
            asks[trial % len(asks)]()
        except SpatialMemoryError:
            refused += 1
    stub.spoil = None
    assert refused > 100
    assert sorted(memory.held_ids()) == sorted(ids)


def test_a_server_that_is_away_at_the_start_is_waited_for(open_robot, stub):
    stub.mode = "status"
    memory = open_robot()
    memory.insert(World(4).records(5))
    stub.mode = "right"
    until(lambda: memory.stats().pending_writes == 0)
    assert stub.count() == 5


def test_what_waits_in_the_outbox_is_as_safe_as_a_memory(open_robot, stub, tmp_path):
    stub.mode = "hangup"
    memory = open_robot()
    memory.insert(World(5).records(5))
    until(lambda: memory.stats().pending_writes == 5 and memory._outbox.oldest_pending_ns() is None)
    path = tmp_path / "outbox.sqlite3"
    path.unlink()
    memory.insert(World(5).records(1))
    with pytest.raises(StoreError, match="nothing more is acknowledged"):
        memory._outbox.flush(5.0)
    memory.close()
    memory.close = lambda: None
    with pytest.raises(LostRecordsError, match="5 acknowledged records"):
        open_robot()


def test_a_page_that_comes_again_is_no_endless_one(open_robot, stub, monkeypatch):
    memory = open_robot()
    memory.insert(World(6).records(5))
    memory.flush()
    page = stub._page

    def again(name, asked):
        return {**page(name, asked), "next_page_offset": "00000000-0000-0000-0000-000000000001"}

    monkeypatch.setattr(stub, "_page", again)
    with pytest.raises(BackendAwayError, match="the same page again"):
        memory.held_ids()
