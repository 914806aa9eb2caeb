"""A service of HTTP that listens on a port of its own, what asks it, and what a robot before it saw."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np

from wm_api.app import create_app
from wm_api.server import Server
from wm_api.settings import ApiSettings
from wm_api.world import World
from wm_core.memory.record import MemoryRecord, Successor
from wm_core.se2 import Pose2
from world_model.runtime.prediction import Observation

Z_DIM, ACTION_DIM = 32, 2
TOKEN = "a-token-of-the-tests"
START_NS = 1_000_000_000_000_000_000
STEP_NS = 50_000_000
LINE_COUNT = 60


class Running:
    """A service in a thread.

    Args:
        world: What is served.
        **settings: Entries of ``ApiSettings``.

    Attributes:
        url: Where it answers.
        http: Asks it.
    """

    def __init__(self, world: World, **settings: Any) -> None:
        self.world = world
        self.settings = ApiSettings(**{"port": 0, "rate_per_s": 0.0, **settings})
        self.app = create_app(world, self.settings)
        self.service = self.app.state.service
        listening = threading.Event()
        self._server = Server(self.app, self.settings, lambda _: listening.set())
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        assert listening.wait(60.0)
        self.port = self._server.port
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=60.0, trust_env=False)

    def stop(self) -> None:
        """End it, and return when it has."""
        self.http.close()
        self._server.should_exit = True
        self._thread.join(60.0)
        assert not self._thread.is_alive()


@contextmanager
def running(world: World, **settings: Any) -> Iterator[Running]:
    """Serve a world while the block runs."""
    service = Running(world, **settings)
    try:
        yield service
    finally:
        service.stop()


def line_record(at: int, encoder_id: str, latent_D: np.ndarray | None = None) -> MemoryRecord:
    """Returns the memory of a place on a straight line, 0.1 m apart, a minute before the present."""
    latent_D = np.full(Z_DIM, 0.01 * at, np.float32) if latent_D is None else latent_D
    successors = (Successor(0.05, 0.05, latent_D + 0.001), Successor(1.0, 1.0, latent_D + 0.02))
    return MemoryRecord(
        stamp_ns=START_NS - 60_000_000_000 + at * STEP_NS, latent_D=latent_D, x=0.1 * at, y=0.0, session="before",
        encoder_id=encoder_id, action_A=np.array([1.0, 0.0], np.float32), successors=successors,
    )  # fmt: skip


def observe(world: World, count: int = 4) -> None:
    """Has a robot drive forward at 1 m/s."""
    for at in range(count):
        latent_D = np.full(Z_DIM, 0.1, np.float32)
        pose = Pose2(0.05 * at, 0.0, 0.0, 0.0)
        world.observe(Observation(START_NS + at * STEP_NS, latent_D, pose, np.array([1.0, 0.0], np.float32)))
