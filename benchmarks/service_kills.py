"""Spatial memory over its services: nothing acknowledged is lost when the node is killed, two hundred times.

scripts/bench service_kills [--kills 200] [--seed 0] [--json PATH]

A peer inserts, and now and then deletes, while the node gets SIGKILL at random moments. What nobody answered is asked
again with the same key. After each restart what changed since the last kill is compared, and everything at the end:
acknowledged records are there, once and with their latents, and acknowledged deletions stay.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import numpy as np
from rclpy.client import Client
from rclpy.node import Node

from benchmarks.driver import own_domain_id, ros
from benchmarks.figures import machine
from benchmarks.processes import Processes
from wm_demo.graph import executable
from wm_interfaces.msg import MemoryQuery, MemoryRecord
from wm_interfaces.srv import DeleteMemory, InsertMemory, QueryMemory
from wm_testing.nodes import spin_until
from world_model.runtime.artifacts import load_artifact

BUCKET, IN_FLIGHT = 500, 4
ARTIFACT = "artifact://tiny"
PATIENCE_S, AGAIN_S = 120.0, 1.0
FROM_TO_S = (0.0, 1.0)
SESSION = "kills"


@dataclass
class Count:
    """What is reported."""

    kills: int = 0
    acknowledged: int = 0
    deleted: int = 0
    asked_again: int = 0
    lost: int = 0
    come_back: int = 0
    twice: int = 0
    damaged: int = 0
    checked_s: list[float] = field(default_factory=list)


def record_of(number: int, encoder_id: str, dim: int) -> MemoryRecord:
    """Return the record of a number: all of it follows from that."""
    record = MemoryRecord(encoder_id=encoder_id, session=SESSION, frame_id="map")
    record.latent = array("f", np.random.default_rng(number).normal(size=dim).astype(np.float32))
    record.position.x, record.orientation.w = float(number // BUCKET), 1.0
    record.stamp.sec, record.stamp.nanosec = 1 + number, 0
    return record


class Peer(Node):
    """Inserts and deletes over the services and notes what was acknowledged."""

    def __init__(self, rng: random.Random, count: Count) -> None:
        super().__init__("bench_service_kills")
        self._rng, self._count = rng, count
        manifest = load_artifact(ARTIFACT).manifest
        self._of = partial(record_of, encoder_id=manifest.encoder_id, dim=manifest.z_dim)
        self._inserting: Client[Any, Any] = self.create_client(InsertMemory, "/spatial_memory/insert")
        self._deleting: Client[Any, Any] = self.create_client(DeleteMemory, "/spatial_memory/delete")
        self._asking: Client[Any, Any] = self.create_client(QueryMemory, "/spatial_memory/query")
        self._all = (self._inserting, self._deleting, self._asking)
        self._next = 0
        self._sent: dict[str, tuple[list[int], Any]] = {}
        self._again_s = 0.0
        self._gone: tuple[list[int], Any] | None = None
        self.numbers: dict[int, int] = {}
        self._deleted: set[int] = set()
        self._doubtful: set[int] = set()
        self._changed: set[int] = set()

    def is_served(self) -> bool:
        """Return whether everything it asks for is served."""
        return all(client.service_is_ready() for client in self._all)

    def work(self) -> None:
        """Take what was answered, and ask for more."""
        for key, (numbers, future) in list(self._sent.items()):
            if future.done():
                del self._sent[key]
                self._again_s = monotonic() + AGAIN_S
                self._acknowledge(numbers, future.result())
        if monotonic() > self._again_s:
            self.begin_again()
        while len(self._sent) < IN_FLIGHT:
            numbers = [self._next + at for at in range(self._rng.randint(1, 20))]
            self._next = numbers[-1] + 1
            self._insert(f"{os.getpid()} {numbers[0]}", numbers)
        self._delete()

    def _insert(self, key: str, numbers: list[int]) -> None:
        request = InsertMemory.Request(records=[self._of(each) for each in numbers], idempotence_key=key)
        self._sent[key] = numbers, self._inserting.call_async(request)

    def _acknowledge(self, numbers: Sequence[int], answer: Any) -> None:
        if not answer.success:
            raise RuntimeError(f"an insertion was refused: {answer.message}")
        self.numbers.update(zip(answer.ids, numbers))
        self._changed.update(number // BUCKET for number in numbers)
        self._count.acknowledged += len(numbers)

    def _delete(self) -> None:
        if self._gone is not None and self._gone[1].done():
            ids, future = self._gone
            answer, self._gone = future.result(), None
            if not answer.success:
                raise RuntimeError(f"a deletion was refused: {answer.message}")
            self._deleted.update(ids)
            self._changed.update(self.numbers[each] // BUCKET for each in ids)
            self._count.deleted += len(ids)
        if self._gone is None and len(self.numbers) > 50 and self._rng.random() < 0.02:
            held = [each for each in list(self.numbers)[-BUCKET:] if each not in self._deleted | self._doubtful]
            ids = self._rng.sample(held, min(5, len(held)))
            self._gone = ids, self._deleting.call_async(DeleteMemory.Request(ids=ids))

    def begin_again(self) -> None:
        """Ask again, with the same keys, for what nobody answered; a deletion that nobody answered may have been."""
        self._again_s = monotonic() + AGAIN_S
        waiting, self._sent = self._sent, {}
        for key, (numbers, future) in waiting.items():
            self._inserting.remove_pending_request(future)
            self._insert(key, numbers)
        self._count.asked_again += len(waiting)
        self.doubt()

    def doubt(self) -> None:
        """Expect nothing of the records of a deletion that nobody answered: it may have been or not."""
        if self._gone is not None:
            self._doubtful.update(self._gone[0])
            self._deleting.remove_pending_request(self._gone[1])
            self._gone = None

    def check(self, *, whole: bool = False) -> None:
        """Compare what is held with what was acknowledged."""
        buckets = range(self._next // BUCKET + 1) if whole else sorted(self._changed)
        self._changed.clear()
        held: dict[int, Any] = {}
        for bucket in buckets:
            query = MemoryQuery(k=4096, has_pose=True, radius_m=0.1, frame_id="map")
            query.pose.position.x, query.pose.orientation.w = float(bucket), 1.0
            answer = self._asked(query)
            held |= {record.id: record for record in answer.matches.records}
            stamps = [record.stamp.sec for record in answer.matches.records]
            self._count.twice += len(stamps) - len(set(stamps))
        self._compare(held, set(buckets))

    def _asked(self, query: MemoryQuery) -> Any:
        """Return an answer; who was killed still seems to be there for a while, and takes questions with it."""
        end_s = monotonic() + PATIENCE_S
        while monotonic() < end_s:
            if (answer := self._asked_once(query)) is not None:
                return answer
        raise RuntimeError(f"no answer within {PATIENCE_S:.0f} s")

    def _asked_once(self, query: MemoryQuery) -> Any:
        future, again_s = self._asking.call_async(QueryMemory.Request(query=query)), monotonic() + AGAIN_S
        spin_until(lambda: future.done() or monotonic() > again_s, self, timeout_s=PATIENCE_S)
        if not future.done():
            self._asking.remove_pending_request(future)
            return None
        answer: Any = future.result()
        if not answer.success:
            raise RuntimeError(f"a query was refused: {answer.message}")
        return answer

    def _compare(self, held: dict[int, Any], buckets: set[int]) -> None:
        for key, number in self.numbers.items():
            if number // BUCKET not in buckets or key in self._doubtful:
                continue
            if key in self._deleted:
                self._count.come_back += key in held
            elif key not in held:
                self._count.lost += 1
            else:
                self._count.damaged += held[key].latent != self._of(number).latent


def _spin(peer: Peer, until: Callable[[], bool], node: Processes) -> None:
    def is_over() -> bool:
        if (trouble := node.trouble()) is not None:
            raise RuntimeError(trouble)
        return until()

    spin_until(is_over, peer, timeout_s=PATIENCE_S)


def run(kills: int, seed: int) -> dict[str, Any]:
    """Return what so many kills cost."""
    rng, count = random.Random(seed), Count()
    with TemporaryDirectory(prefix="service_kills_") as folder, ros(own_domain_id()):
        options = ("db_path", f"{folder}/memory.sqlite3"), ("allow_destructive", "true"), ("model_path", ARTIFACT)
        command = [*executable("spatial_memory", "spatial_memory_node"), "--ros-args"]
        command += [word for name, value in options for word in ("-p", f"{name}:={value}")]
        peer = Peer(rng, count)
        for at in range(kills + 1):
            begin_s = monotonic()
            with Processes({"memory": command}, Path(folder)) as node:
                _spin(peer, peer.is_served, node)
                peer.check(whole=at == kills)
                count.checked_s.append(round(monotonic() - begin_s, 3))
                if at == kills:
                    break
                peer.begin_again()
                _life(peer, node, monotonic() + rng.uniform(*FROM_TO_S))
                node.kill("memory")
                peer.doubt()
                count.kills += 1
        peer.destroy_node()
    return vars(count)


def _life(peer: Peer, node: Processes, end_s: float) -> None:
    """Work until a moment that comes after something was acknowledged."""
    before = len(peer.numbers)

    def is_over() -> bool:
        peer.work()
        return monotonic() > end_s and len(peer.numbers) > before

    _spin(peer, is_over, node)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and print the figures; returns 1 where anything acknowledged is not as it was acknowledged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    found = {"seed": options.seed, **run(options.kills, options.seed)}
    print(json.dumps(found))
    if options.json:
        options.json.write_text(json.dumps({**found, "machine": machine()}, indent=1))
    return int(any(found[name] for name in ("lost", "come_back", "twice", "damaged")))


if __name__ == "__main__":
    raise SystemExit(main())
