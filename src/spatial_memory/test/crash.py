"""Kills a process that remembers, at random moments, and checks that nothing acknowledged is lost.

``scripts/bench memory_kills`` runs it a hundred times; the test runs it shorter.

The child inserts records whose contents follow from their id, and prints what is acknowledged: ``ack ID`` after a flush
returned, ``until STAMP`` for what the statistics say is durable, ``put ID TIME`` for every record put. The parent kills
it with SIGKILL, opens the file, and compares.
"""

# ruff: noqa: T201 - it talks to its parent and to who runs it
from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spatial_memory import CellGrid, CellMemory, LocalMap, MemoryRecord, Query, Store, Successor

DIM = 32
STEP_NS = 10_000_000


def record_of(number: int) -> MemoryRecord:
    """Return the record that was, or should have been, put under an id."""
    rng = np.random.default_rng(number)
    return MemoryRecord(
        stamp_ns=number * STEP_NS,
        latent_D=rng.normal(size=DIM).astype(np.float32),
        x=float(rng.uniform(-20, 20)),
        y=float(rng.uniform(-20, 20)),
        yaw=float(np.float32(rng.uniform(-3, 3))),
        session=f"run-{number % 3}",
        encoder_id="e",
        action_A=rng.normal(size=2).astype(np.float32),
        surprise=float(np.float32(rng.random())),
        id=number,
        successors=(Successor(0.05, 0.05, rng.normal(size=DIM).astype(np.float32)),),
    )


def open_memory(path: Path) -> CellMemory:
    return CellMemory(Store(path), CellGrid(LocalMap(), 14))


def remember(path: Path) -> None:
    """Put records until killed, as fast as a busy robot, flushing now and then."""
    memory = open_memory(path)
    number = memory.stats().memory_count + 1
    rng = random.Random(number)
    print("ready", flush=True)
    while True:
        for _ in range(rng.randint(1, 20)):
            memory.insert([record_of(number)])
            print("put", number, time.time(), flush=True)
            number += 1
        choice = rng.random()
        if choice < 0.3:
            memory.flush()
            print("ack", number - 1, flush=True)
        elif choice < 0.6:
            print("until", memory.stats().durable_until_ns, flush=True)
        time.sleep(rng.random() * 0.02)


@dataclass
class Outcome:
    """What one kill cost."""

    acknowledged: int
    held: int
    lost_acknowledged: int
    damaged: int
    lost_s: float


def kill_once(path: Path, after_s: float) -> Outcome:
    """Let a child remember, kill it after a while, and see what is left."""
    command = [sys.executable, __file__, "--remember", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(after_s)
        killed_at = time.time()
        child.kill()
        lines = child.stdout.read().splitlines()
    acknowledged, put = 0, {}
    for line in lines:
        words = line.split()
        if words[0] == "ack" and len(words) == 2:
            acknowledged = max(acknowledged, int(words[1]))
        elif words[0] == "until" and len(words) == 2:
            acknowledged = max(acknowledged, int(words[1]) // STEP_NS)
        elif words[0] == "put" and len(words) == 3:
            put[int(words[1])] = float(words[2])
    return _compare(path, acknowledged, put, killed_at)


def _compare(path: Path, acknowledged: int, put: dict[int, float], killed_at: float) -> Outcome:
    memory = open_memory(path)
    try:
        held = memory.stats().memory_count
        answer = memory.query(Query(k=1, latent_D=np.zeros(DIM, np.float32)))
        assert answer.candidate_count == held
        lost = damaged = 0
        for number in range(1, max(acknowledged, held) + 1):
            found = memory.get([number])
            if not found:
                lost += number <= acknowledged
            elif not _is_same(found[0], record_of(number)):
                damaged += 1
        gone = [at for number, at in put.items() if number > held]
        return Outcome(acknowledged, held, lost, damaged, killed_at - min(gone) if gone else 0.0)
    finally:
        memory.close()


def _is_same(mine: MemoryRecord, other: MemoryRecord) -> bool:
    names = ("id", "stamp_ns", "x", "y", "yaw", "session", "encoder_id", "surprise")
    return (
        all(getattr(mine, name) == getattr(other, name) for name in names)
        and np.array_equal(mine.latent_D, other.latent_D)
        and np.array_equal(mine.action_A, other.action_A)
        and all(np.array_equal(a.latent_D, b.latent_D) for a, b in zip(mine.successors, other.successors))
    )


def run(kills: int, seed: int) -> list[Outcome]:
    """Kill as often as asked; the memory is emptied now and then so that comparing stays short."""
    rng = random.Random(seed)
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory.sqlite3"
        for number in range(kills):
            if number % 10 == 0:
                path = Path(folder) / f"memory-{number}.sqlite3"
            outcomes.append(kill_once(path, rng.uniform(0.02, 0.7)))
    return outcomes


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--remember", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.remember:
        remember(options.remember)
    outcomes = run(options.kills, options.seed)
    summary = {
        "kills": len(outcomes),
        "acknowledged": sum(each.acknowledged for each in outcomes),
        "lost_acknowledged": sum(each.lost_acknowledged for each in outcomes),
        "damaged": sum(each.damaged for each in outcomes),
        "lost_s_max": max(each.lost_s for each in outcomes),
        "lost_s_median": float(np.median([each.lost_s for each in outcomes])),
    }
    print(json.dumps(summary))
    if options.json:
        options.json.write_text(json.dumps({**summary, "each": [vars(each) for each in outcomes]}, indent=1))
    return int(summary["lost_acknowledged"] > 0 or summary["damaged"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
