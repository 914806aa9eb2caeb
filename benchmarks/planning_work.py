"""Drives made by many processes at a time, what matters most first, each kept as soon as it has ended."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import torch

from benchmarks.planning_drives import KINDS, Drive, Job, drive
from benchmarks.planning_learners import FIRST_SEED, Steering, recorded, train
from benchmarks.planning_learners import Drive as Recorded
from benchmarks.planning_methods import Eyes, Lap, Robot
from benchmarks.planning_store import Store
from latent_publisher.encoder import Encoder
from world_model.runtime.artifacts import Artifact, load_artifact

# Read by numerical libraries when they are loaded.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LEARNED = {"cloned": False, "inverse": True}
"""Name -> whether it is told the time left."""


@dataclass(frozen=True)
class Asked:
    """What a robot is made of.

    Attributes:
        artifact: Its model.
        look: Whose features tell places apart; empty: the latents do.
        training_drives: Drives that imitation learns from.
        store: Folder of what is kept.
        policies: Folders of exported policies, by method.
    """

    artifact: str
    look: str
    training_drives: int
    store: Path
    policies: tuple[tuple[str, Path], ...] = ()

    def about(self) -> dict[str, Any]:
        """Return what drives depend on."""
        look = load_artifact(self.look).manifest.encoder_id if self.look else ""
        model = load_artifact(self.artifact).manifest
        # Policies are added to a store as they come, each under a name of its own.
        return {
            "encoder_id": model.encoder_id, "files": model.files, "look": look,
            "training_drives": self.training_drives, "laps": "poses, latents, looks, commands",
        }  # fmt: skip


def ordered(
    methods: Sequence[str], tasks: Iterable[str], kinds: Sequence[str], buildings: Sequence[int], goals: int,
    first: Sequence[str],
) -> list[Job]:  # fmt: skip
    """Return all drives, what matters most first.

    Task by task; of a task the methods of ``first`` before all others; of these goal by goal, so that whenever it is
    stopped every building, kind and method has about as many.
    """
    groups = [[name for name in methods if name in first], [name for name in methods if name not in first]]
    return [
        Job(task, kind, method, building, goal)
        for task in tasks
        for group in groups
        for goal in range(goals)
        for method in group
        for building in buildings
        for kind in kinds
    ]


class Driver:
    """A robot in one process, and the laps that it remembers.

    Args:
        asked: What it is made of; the store holds what was learned, where anything was.
    """

    def __init__(self, asked: Asked) -> None:
        # One drive, one core: many drives share the machine.
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self._store = Store(asked.store, asked.about())
        artifact = load_artifact(asked.artifact)
        self._eyes = Eyes(Encoder(artifact), Encoder(load_artifact(asked.look)) if asked.look else None)
        weights = self._store.learned() if self._store.has_learned else {}
        learned = {name: _steering(artifact, weights, name, reads_time) for name, reads_time in _LEARNED.items()}
        self.robot = Robot(artifact, self._eyes, **learned, policies=dict(asked.policies))
        self._lap = lru_cache(maxsize=64)(self._remembered)

    def recorded(self, seed: int) -> Recorded:
        """Return a drive to learn from."""
        return recorded(self._eyes.latent, seed)

    def drive(self, job: Job) -> Drive:
        """Return how a drive ends."""
        return drive(self.robot, self._lap(job.building, job.kind), job)

    def _remembered(self, building: int, kind: str) -> Lap:
        return self._store.lap(building, kind, lambda: self._eyes.remember(building, KINDS[kind]))


def _steering(artifact: Artifact, weights: dict[str, Any], name: str, reads_time: bool) -> Steering:
    """Return what was learned; nothing was: a network that has learned nothing."""
    manifest = artifact.manifest
    steering = Steering(manifest.z_dim, manifest.action_dim, reads_time=reads_time)
    if weights:
        steering.load_state_dict(weights[name])
    return steering


_driver: list[Driver] = []


def _begin(asked: Asked) -> None:
    _driver[:] = [Driver(asked)]


def _recorded(seed: int) -> Recorded:
    return _driver[0].recorded(seed)


def _drive(job: Job, until_s: float) -> Drive | None:
    """Return how a drive ends; None: it was to begin too late."""
    return _driver[0].drive(job) if time.time() < until_s else None


def learn(asked: Asked, store: Store, processes: int) -> None:
    """Learn what imitates, from drives made by many processes."""
    if store.has_learned or not asked.training_drives:
        return
    torch.set_num_threads(1)
    step_s = load_artifact(asked.artifact).manifest.step_s
    with _pool(asked, min(processes, asked.training_drives)) as pool:
        data = list(pool.map(_recorded, range(FIRST_SEED, FIRST_SEED + asked.training_drives)))
    store.keep_learned(
        {name: train(data, step_s, reads_time=reads_time).state_dict() for name, reads_time in _LEARNED.items()}
    )


def work(
    asked: Asked, store: Store, jobs: Sequence[Job], processes: int, until_s: float
) -> Iterator[tuple[Job, Drive]]:
    """Yield drives as they end, those not yet in the store; each is kept first.

    Args:
        asked: What the robot is made of.
        store: Where they are kept.
        jobs: What to drive, in this order.
        processes: How many drive at a time.
        until_s: No drive begins after this time [s since the epoch].

    Raises:
        GoalError: And all else that a drive raises: what was driven before is kept.
    """
    done = store.drives()
    left = [job for job in jobs if job not in done]
    if not left or time.time() >= until_s:
        return
    with _pool(asked, min(processes, len(left))) as pool:
        driving = {pool.submit(_drive, job, until_s): job for job in left}
        try:
            for future in as_completed(driving):
                made = future.result()
                if made is not None:
                    store.add(driving[future], made)
                    yield driving[future], made
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _pool(asked: Asked, processes: int) -> ProcessPoolExecutor:
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    # Not forked: torch's threads do not survive it.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(asked,))
