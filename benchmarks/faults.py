"""Faults on purpose: kills, stops, lost files, bad messages, clocks, loops and delays against the graph in one process.

scripts/bench faults [--seed 0] [--minutes 10] [--json PATH]

A simulated robot feeds the graph while a peer inserts records over the service and notes what was acknowledged.
Faults come at random. Reported: kills, acknowledged records and how many of them are missing, ends of the process
that were not its own kill, and the longest silence of /latent outside the time from a fault to 2 s after it has ended.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import numpy as np
import psutil
from geometry_msgs.msg import PoseStamped
from rclpy.client import Client
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float32MultiArray
from std_srvs.srv import Trigger

from benchmarks.driver import SENSOR, STREAM, own_domain_id, ros
from benchmarks.fault_relay import Relay
from benchmarks.figures import machine
from wm_demo.graph import Graph, executable
from wm_interfaces.msg import LatentState, MemoryQuery, MemoryRecord
from wm_interfaces.srv import (
    DeleteMemory,
    EncodeImage,
    Imagine,
    InsertMemory,
    MemoryWindow,
    QueryMemory,
    QueryMemoryArrays,
    QueryMemoryBatch,
    RecallMemory,
    RecognisePlace,
    SnapshotMemory,
)
from wm_testing.hostile import hostile
from wm_testing.nodes import spin_until
from world_model.runtime.artifacts import load_artifact

AFTER_S = 2.0
PAUSE_S = (2.0, 5.0)
START_S = 90.0
SESSION = "faults"
ARTIFACT = "artifact://tiny"
OTHERS = {
    DeleteMemory: "/spatial_memory/delete", MemoryWindow: "/spatial_memory/window",
    QueryMemoryArrays: "/spatial_memory/query_arrays", RecallMemory: "/spatial_memory/recall",
    RecognisePlace: "/spatial_memory/recognise", Imagine: "/transition_predictor/imagine",
    EncodeImage: "/latent_publisher/encode",
}  # fmt: skip
"""What is asked anything; what would move or replace what was acknowledged is not among it."""
FROM_CAMERA, FROM_POSE = "/bench/camera", "/bench/pose"
OFFSETS_S = (-86400.0, -30.0, -0.5, 0.0, 0.5, 30.0, 86400.0)


@dataclass
class Count:
    """What is reported."""

    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    process_deaths: int = 0
    longest_silence_s: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)


class Peer(Node):
    """Listens to /latent, inserts records over the service, and sends what nobody should."""

    def __init__(self, encoder_id: str, dim: int, rng: random.Random) -> None:
        super().__init__("bench_faults")
        self._encoder_id, self._dim, self.rng = encoder_id, dim, rng
        self.heard_s: list[float] = []
        self.create_subscription(Float32MultiArray, "/latent", lambda _: self.heard_s.append(monotonic()), STREAM)
        self.inserting: Client[Any, Any] = self.create_client(InsertMemory, "/spatial_memory/insert")
        self.asking: Client[Any, Any] = self.create_client(QueryMemory, "/spatial_memory/query")
        self._batch: Client[Any, Any] = self.create_client(QueryMemoryBatch, "/spatial_memory/query_batch")
        self._snapshot: Client[Any, Any] = self.create_client(SnapshotMemory, "/spatial_memory/snapshot")
        self._clear: Client[Any, Any] = self.create_client(Trigger, "/spatial_memory/clear")
        self._others: dict[Any, Client[Any, Any]] = {
            kind: self.create_client(kind, name) for kind, name in OTHERS.items()
        }
        self._actions = self.create_publisher(Float32MultiArray, "/actions", 10)
        self._states = self.create_publisher(LatentState, "/latent/state", STREAM)
        self._images = self.create_publisher(Image, "/camera/image_raw", SENSOR)
        self._packed = self.create_publisher(CompressedImage, "/camera/image_raw/compressed", SENSOR)
        self.relay = Relay(rng)
        poses = self.create_publisher(PoseStamped, "/pose", STREAM)
        take = self.relay.take
        self.create_subscription(Image, FROM_CAMERA, lambda msg: take(self._images.publish, msg), STREAM)
        self.create_subscription(PoseStamped, FROM_POSE, lambda msg: take(poses.publish, msg), STREAM)
        self.acknowledged: set[int] = set()
        self._waiting: dict[str, Any] = {}
        self._number = 0

    def insert(self) -> None:
        """Insert again what nobody answered, and something new; note what is acknowledged."""
        for key in [key for key, future in self._waiting.items() if future.done()]:
            answer = self._waiting.pop(key).result()
            if answer is not None and answer.success:
                self.acknowledged.update(answer.ids)
        if len(self._waiting) < 4 and self.inserting.service_is_ready():
            self._number += 1
            record = MemoryRecord(encoder_id=self._encoder_id, session=SESSION)
            record.latent = array("f", np.random.default_rng(self._number).normal(size=self._dim).astype(np.float32))
            record.position.x, record.frame_id = 5000.0 + 0.1 * (self._number % 100), "map"
            record.orientation.w = 1.0
            key = f"{os.getpid()} {self._number}"
            request = InsertMemory.Request(records=[record], idempotence_key=key)
            self._waiting[key] = self.inserting.call_async(request)

    def forget_waiting(self) -> None:
        """Take no answer of a process that is gone for an acknowledgement."""
        self._waiting.clear()

    def send_nonsense(self) -> None:
        """Send one message that nobody should, or ask for what nobody may."""
        rng = self.rng
        wild = [1e20, -1e20, float("nan"), float("inf"), 0.0][rng.randrange(5)]
        state = LatentState(encoder_id=self._encoder_id, has_pose=True, latent=array("f", [wild] * rng.randrange(64)))
        state.pose.position.x = wild
        sends: list[Callable[[], Any]] = [
            lambda: self._actions.publish(Float32MultiArray(data=array("f", [wild] * rng.randrange(5)))),
            lambda: self._states.publish(state),
            lambda: self._images.publish(
                Image(
                    height=rng.randrange(9000),
                    width=rng.randrange(9000),
                    encoding="rgb8",
                    data=array("B", rng.randbytes(99)),
                )
            ),
            lambda: self._packed.publish(CompressedImage(format="png", data=array("B", rng.randbytes(300)))),
            lambda: self._batch.call_async(QueryMemoryBatch.Request(queries=[MemoryQuery(k=4096)] * 40)),
            lambda: self._snapshot.call_async(SnapshotMemory.Request(path="../" * rng.randrange(1, 300))),
            lambda: self._clear.call_async(Trigger.Request()),
            lambda: self._states.publish(hostile(LatentState, rng, wildness=0.3)),
            *[lambda: self._ask_anything(rng.choice(list(self._others)))] * 3,
        ]
        rng.choice(sends)()

    def _ask_anything(self, kind: Any) -> None:
        client = self._others[kind]
        if client.service_is_ready():
            usual = {"encoder_id": self._encoder_id, "frame_id": "map", "w": 1.0, "k": 3}
            client.call_async(hostile(kind.Request, self.rng, usual, self.rng.choice([0.1, 0.3, 0.6])))


class Run:
    """The graph, its robot and its peer, and the faults.

    Args:
        folder: Where logs and the memory's file lie.
        seed: Of the faults.
    """

    def __init__(self, folder: Path, seed: int) -> None:
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
        faults: dict[str, Callable[[], None]] = {
            "kill": self.kill, "stop": self.stop, "lose": self.lose, "nonsense": self.nonsense, "camera": self.camera,
            "clock": self.clock, "loop": self.loop, "delay": self.delay, "order": self.order,
        }  # fmt: skip
        name = self._rng.choice(list(faults))
        self.count.faults[name] = self.count.faults.get(name, 0) + 1
        heard_s, self.peer.heard_s = self.peer.heard_s, []
        self._judge_silence(heard_s)
        faults[name]()
        if name not in ("lose", "nonsense"):
            self.spin(AFTER_S)
            self.peer.heard_s.clear()
        else:
            self.peer.heard_s[:0] = heard_s[-1:]

    def _judge_silence(self, heard_s: Sequence[float]) -> None:
        if len(heard_s) > 1:
            longest = max(later - earlier for earlier, later in pairwise(heard_s))
            self.count.longest_silence_s = max(self.count.longest_silence_s, longest)

    def kill(self) -> None:
        """Kill the process of all nodes, damage what can be made anew, start again, and count what is missing."""
        process = self.process(self._graph)
        process.kill()
        process.wait()
        self.peer.forget_waiting()
        self.count.kills += 1
        part = Path(f"{self._path}{self._rng.choice(['-shm', '.ledger', '.lock', '-none'])}")
        if part.exists():
            content = bytearray(part.read_bytes())
            for _ in range(min(8, len(content))):
                content[self._rng.randrange(len(content))] = self._rng.randrange(256)
            part.write_bytes(content)
        self._graph = self._started("graph")
        self.until_heard()
        self.check()

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


def run(seed: int, minutes: float) -> dict[str, Any]:
    """Return what so many minutes of faults cost."""
    with TemporaryDirectory(prefix="faults_") as folder, ros(own_domain_id()):
        os.environ["ROS_HOME"] = folder
        history = Run(Path(folder), seed)
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
    """Run it and print the figures; returns 1 where something acknowledged was lost or the process ended by itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    figures = {"seed": options.seed, "minutes": options.minutes, **run(options.seed, options.minutes)}
    print(json.dumps(figures))
    if options.json:
        options.json.write_text(json.dumps({**figures, "machine": machine()}, indent=1))
    return int(figures["lost"] > 0 or figures["process_deaths"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
