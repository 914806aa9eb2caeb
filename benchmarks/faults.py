"""Faults on purpose: kills, stops, disks, files, messages, clocks, loops and delays against the graph in one process.

scripts/bench faults [--seed 0] [--minutes 10] [--kinds disk,kill] [--json PATH]

A simulated robot feeds the graph while a peer inserts records over the service and notes what was acknowledged.
Faults come at random. Reported: kills, acknowledged records and how many of them are missing, starts on damaged files
that were refused by name, ends of the process that were not its own kill, faults that /diagnostics did not name while
they lasted, and the longest silence of /latent outside the time from a fault to 2 s after it has ended.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import psutil

from benchmarks.driver import own_domain_id, ros
from benchmarks.fault_files import damaged, put_back
from benchmarks.fault_peer import FROM_CAMERA, FROM_POSE, SESSION, Peer
from benchmarks.figures import machine
from wm_demo.graph import Graph, executable
from wm_interfaces.msg import MemoryQuery
from wm_interfaces.srv import (
    MemoryWindow,
    QueryMemory,
    QueryMemoryArrays,
    QueryMemoryBatch,
    RecognisePlace,
)
from wm_testing.nodes import spin_until
from world_model.runtime.artifacts import load_artifact

AFTER_S = 2.0
PAUSE_S = (2.0, 5.0)
START_S = 90.0
ARTIFACT = "artifact://tiny"
KINDS = ("kill", "stop", "lose", "nonsense", "camera", "clock", "loop", "delay", "order", "disk", "broken")
UNHEARD = ("lose", "nonsense", "disk", "broken")
"""What silences nobody."""
DOUBLED = {
    MemoryWindow: "/spatial_memory/window", QueryMemoryBatch: "/spatial_memory/query_batch",
    QueryMemoryArrays: "/spatial_memory/query_arrays", RecognisePlace: "/spatial_memory/recognise",
}  # fmt: skip
"""What a second memory offers."""
NAMED_S = (4.0, 6.0)
"""How long what has to be named lasts: it is seen within a second or two, and told once a second."""
OFFSETS_S = (-86400.0, -30.0, -0.5, 0.0, 0.5, 30.0, 86400.0)


@dataclass
class Count:
    """What is reported."""

    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    refused: int = 0
    process_deaths: int = 0
    unnamed: list[str] = field(default_factory=list)
    longest_silence_s: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)


class Run:
    """The graph, its robot and its peer, and the faults.

    Args:
        folder: Where logs and the memory's file lie.
        seed: Of the faults.
        kinds: Of faults.
    """

    def __init__(self, folder: Path, seed: int, kinds: Sequence[str] = KINDS) -> None:
        self._kinds = kinds
        self._folder, self._path = folder, folder / "memory.sqlite3"
        self._rng = random.Random(seed)
        manifest = load_artifact(ARTIFACT).manifest
        self.peer = Peer(manifest.encoder_id, manifest.z_dim, self._rng)
        self.count = Count()
        self._graph, self._robot = self._started("graph"), self._started("robot")

    def _started(self, which: str) -> Graph:
        remaps = ["-r", f"camera/image_raw:={FROM_CAMERA}", "-r", f"pose:={FROM_POSE}"]
        command = [*executable("wm_sim_ros", "wm_sim_node"), "--ros-args", *remaps]
        if which == "graph":
            command = [*executable("wm_bringup", "world_model"), "--memory", str(self._path), "--model-path", ARTIFACT]
        return Graph({which: command}, self._folder)

    def process(self, graph: Graph) -> psutil.Popen:
        """Return the one process of a graph."""
        return next(iter(graph._processes.values()))

    def until_heard(self) -> None:
        """Spin until /latent comes again, inserting meanwhile."""
        self.peer.heard_s.clear()
        spin_until(lambda: len(self.peer.heard_s) > 3, self.peer, timeout_s=START_S)

    def spin(self, seconds: float) -> None:
        """Insert and listen for a while."""
        end_s = monotonic() + seconds

        def is_over() -> bool:
            self.peer.insert()
            return monotonic() > end_s

        spin_until(is_over, self.peer, timeout_s=seconds + START_S)
        if (trouble := self._graph.trouble()) is not None:
            self.count.process_deaths += 1
            print(trouble, file=sys.stderr)
            self._graph = self._started("graph")
            self.until_heard()

    def fault(self) -> None:
        """Do one thing that should not happen, and take note of when silence is to be expected."""
        faults = {kind: getattr(self, kind) for kind in self._kinds}
        name = self._rng.choice(list(faults))
        self.count.faults[name] = self.count.faults.get(name, 0) + 1
        heard_s, self.peer.heard_s = self.peer.heard_s, []
        self._judge_silence(heard_s)
        faults[name]()
        if name not in UNHEARD:
            self.spin(AFTER_S)
            self.peer.heard_s.clear()
        else:
            self.peer.heard_s[:0] = heard_s[-1:]

    def _judge_silence(self, heard_s: Sequence[float]) -> None:
        if len(heard_s) > 1:
            longest = max(later - earlier for earlier, later in pairwise(heard_s))
            self.count.longest_silence_s = max(self.count.longest_silence_s, longest)

    def kill(self) -> None:
        """Kill the process of all nodes, damage a file, start again, and count what is missing."""
        process = self.process(self._graph)
        process.kill()
        process.wait()
        self.peer.forget_waiting()
        self.count.kills += 1
        self._restart_on_damage()
        self.check()

    def _restart_on_damage(self) -> None:
        """Start on a damaged file; where that is refused by name, on the files as they were."""
        kept = damaged(self._path, self._rng)
        self._graph = self._started("graph")
        self.peer.heard_s.clear()
        spin_until(
            lambda: len(self.peer.heard_s) > 3 or self._graph.trouble() is not None, self.peer, timeout_s=START_S
        )
        said = self._graph.trouble()
        if said is None:
            return
        if "exit code 2:" in said and "wm memory mend" in said:
            self.count.refused += 1
        else:
            self.count.process_deaths += 1
            print(said, file=sys.stderr)
        put_back(self._path, kept)
        self._graph = self._started("graph")
        self.until_heard()

    def disk(self) -> None:
        """Have the system refuse what the graph writes, all of it or what makes a file larger."""
        process = self.process(self._graph)
        before = process.rlimit(psutil.RLIMIT_FSIZE)
        most = self._rng.choice([0, self._path.stat().st_size])
        process.rlimit(psutil.RLIMIT_FSIZE, (most, before[1]))
        try:
            self._named("degraded/store")
        finally:
            process.rlimit(psutil.RLIMIT_FSIZE, before)

    def broken(self) -> None:
        """Offer the memory's services a second time, and answer anything."""
        services = [self.peer.create_service(kind, name, self.peer.answer_anything) for kind, name in DOUBLED.items()]
        self._named("degraded/duplicates")
        for service in services:
            self.peer.destroy_service(service)

    def _named(self, mode: str) -> None:
        """Let a fault last for a while, in which diagnostics have to name it."""
        self.peer.named.clear()
        self.spin(self._rng.uniform(*NAMED_S))
        if mode not in self.peer.named:
            self.count.unnamed.append(mode)

    def stop(self) -> None:
        """Stop the process for a moment."""
        process = self.process(self._graph)
        process.send_signal(signal.SIGSTOP)
        self.spin(self._rng.uniform(0.5, 2.0))
        process.send_signal(signal.SIGCONT)
        self.until_heard()

    def lose(self) -> None:
        """Take away files that are in use."""
        for suffix in self._rng.sample(["", "-wal", "-shm", ".lock"], self._rng.randrange(1, 5)):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)

    def nonsense(self) -> None:
        """Send a handful of messages that nobody should."""
        for _ in range(20):
            self.peer.send_nonsense()

    def camera(self) -> None:
        """Kill the robot, and give the graph another one, whose clock begins anew."""
        process = self.process(self._robot)
        process.kill()
        process.wait()
        self._robot = self._started("robot")
        self.until_heard()

    def clock(self) -> None:
        """Set the sensors' clock, ahead or back."""
        self.peer.relay.offset_ns = round(1e9 * self._rng.choice(OFFSETS_S))

    def loop(self) -> None:
        """Play the last moments again and again, as a recording that loops."""
        self._for_a_while(self.peer.relay.loop)

    def delay(self) -> None:
        """Hold back what the sensors send, and then send all of it at once."""
        self._for_a_while(self.peer.relay.delay)

    def order(self) -> None:
        """Send everything twice and in another order."""
        self._for_a_while(self.peer.relay.shuffle)

    def _for_a_while(self, begin: Callable[[], None]) -> None:
        begin()
        self.spin(self._rng.uniform(0.5, 3.0))
        self.peer.relay.straight()

    def check(self) -> None:
        """Count what was acknowledged and is not there."""
        held: set[int] = set()
        peer = self.peer
        spin_until(peer.asking.service_is_ready, peer, timeout_s=START_S)
        for part in range(100):
            query = MemoryQuery(k=4096, has_pose=True, radius_m=0.04, session=SESSION, frame_id="map")
            query.pose.position.x, query.pose.orientation.w = 5000.0 + 0.1 * part, 1.0
            future = peer.asking.call_async(QueryMemory.Request(query=query))
            spin_until(future.done, peer, timeout_s=START_S)
            answer = future.result()
            held |= {record.id for record in answer.matches.records} if answer else set()
        self.count.acknowledged = len(peer.acknowledged)
        self.count.lost = max(self.count.lost, len(peer.acknowledged - held))

    def end(self) -> None:
        """Stop everything."""
        for graph in (self._robot, self._graph):
            graph.stop()
        self.peer.destroy_node()

    def rss_mb(self) -> float:
        """Return the resident memory of the graph [MB]."""
        return self._graph.rss_mb()


def run(seed: int, minutes: float, kinds: Sequence[str] = KINDS) -> dict[str, Any]:
    """Return what so many minutes of faults of some kinds cost."""
    with TemporaryDirectory(prefix="faults_") as folder, ros(own_domain_id()):
        os.environ["ROS_HOME"] = folder
        history = Run(Path(folder), seed, kinds)
        try:
            history.until_heard()
            history.spin(AFTER_S)
            history.peer.heard_s.clear()
            start_mb, end_s = history.rss_mb(), monotonic() + 60.0 * minutes
            while monotonic() < end_s:
                history.spin(history.peer.rng.uniform(*PAUSE_S))
                history.fault()
            history.spin(AFTER_S)
            history.check()
            rss = {"start": round(start_mb, 1), "end": round(history.rss_mb(), 1)}
        finally:
            history.end()
    return {**vars(history.count), "rss_mb": rss}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and print the figures.

    Returns:
        1 where something acknowledged was lost, the process ended by itself, or a fault was not named.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    kinds = options.kinds.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"no kinds of faults: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    figures = {"seed": options.seed, "minutes": options.minutes, **run(options.seed, options.minutes, kinds)}
    print(json.dumps(figures))
    if options.json:
        options.json.write_text(json.dumps({**figures, "machine": machine()}, indent=1))
    return int(figures["lost"] > 0 or figures["process_deaths"] > 0 or bool(figures["unnamed"]))


if __name__ == "__main__":
    raise SystemExit(main())
