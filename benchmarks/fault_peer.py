"""Who inserts records while faults happen, hears what comes of the graph, and sends what nobody should."""

from __future__ import annotations

import os
import random
from array import array
from collections.abc import Callable
from time import monotonic
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.client import Client
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float32MultiArray
from std_srvs.srv import Trigger

from benchmarks.driver import SENSOR, STREAM
from benchmarks.fault_relay import Relay
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

SESSION = "faults"
FROM_CAMERA, FROM_POSE = "/bench/camera", "/bench/pose"
OTHERS = {
    DeleteMemory: "/spatial_memory/delete", MemoryWindow: "/spatial_memory/window",
    QueryMemoryArrays: "/spatial_memory/query_arrays", RecallMemory: "/spatial_memory/recall",
    RecognisePlace: "/spatial_memory/recognise", Imagine: "/transition_predictor/imagine",
    EncodeImage: "/latent_publisher/encode",
}  # fmt: skip
"""What is asked anything; what would move or replace what was acknowledged is not among it."""


class Peer(Node):
    """Listens to /latent, inserts records over the service, and sends what nobody should."""

    def __init__(self, encoder_id: str, dim: int, rng: random.Random) -> None:
        super().__init__("bench_faults")
        self._encoder_id, self._dim, self.rng = encoder_id, dim, rng
        self.heard_s: list[float] = []
        self.create_subscription(Float32MultiArray, "/latent", lambda _: self.heard_s.append(monotonic()), STREAM)
        self.named: set[str] = set()
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)
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

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        self.named |= {each.key for status in msg.status for each in status.values if each.key.startswith("degraded/")}

    def answer_anything(self, request: Any, response: Any) -> Any:
        """Answer a question with what does not fit it."""
        usual = {"encoder_id": self._encoder_id, "success": True, "frame_id": "map", "w": 1.0}
        return hostile(type(response), self.rng, usual, self.rng.choice([0.1, 0.3, 0.6]))

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
