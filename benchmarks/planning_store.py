"""Drives kept on disk while they are made: what was stopped goes on, and what others made is taken in.

A store is a folder: ``about.json`` says what its drives depend on, ``drives-*.jsonl`` holds one drive a line, one file
for each run that wrote into it, ``laps`` and ``steering.pt`` what was remembered and learned first.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch

from benchmarks.planning_drives import Drive, Job
from benchmarks.planning_methods import Lap

ABOUT, LAPS, STEERING = "about.json", "laps", "steering.pt"


class StoreError(ValueError):
    """A store holds drives that were made under other conditions."""


class Store:
    """The drives in one folder.

    Args:
        folder: Made where it is missing.
        about: What drives depend on, as JSON takes it.

    Raises:
        StoreError: The drives there were made under other conditions.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder, self.about = folder, dict(about)
        (folder / LAPS).mkdir(parents=True, exist_ok=True)
        self._check(folder)
        _written(folder / ABOUT, lambda path: path.write_text(json.dumps(self.about, indent=1) + "\n"))
        self._file = folder / f"drives-{uuid4().hex[:12]}.jsonl"

    def _check(self, folder: Path) -> None:
        path = folder / ABOUT
        if not path.is_file():
            return
        there = json.loads(path.read_text())
        other = sorted(name for name in {*there, *self.about} if there.get(name) != self.about.get(name))
        if other:
            kept = ", ".join(f"{name} is {there.get(name)}, now {self.about.get(name)}" for name in other)
            raise StoreError(f"{folder} holds drives made under other conditions: {kept}")

    def drives(self) -> dict[Job, Drive]:
        """Return what was driven so far."""
        return dict(_read(self.folder))

    def add(self, job: Job, drive: Drive) -> None:
        """Keep a drive."""
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**asdict(job), **asdict(drive)}) + "\n")

    def take(self, folder: Path) -> int:
        """Take in the drives of another store; return how many are new.

        Raises:
            StoreError: There are none, or they were made under other conditions.
        """
        if not (folder / ABOUT).is_file():
            raise StoreError(f"{folder} holds no drives: it has no {ABOUT}")
        self._check(folder)
        there, here = dict(_read(folder)), self.drives()
        new = {job: drive for job, drive in there.items() if job not in here}
        for job, drive in new.items():
            self.add(job, drive)
        return len(new)

    def lap(self, building: int, kind: str, make: Callable[[], Lap]) -> Lap:
        """Return the lap through a building, made where it is not there yet."""
        path = self.folder / LAPS / f"{building}-{kind.replace(' ', '-')}.npz"
        if not path.is_file():
            lap = make()
            _written(
                path,
                lambda at: np.savez(at, pose=lap.pose_N3, latent=lap.latent_ND, look=lap.look_NF, action=lap.action_NA),
            )
        with np.load(path) as held:
            return Lap(held["pose"], held["latent"], held["look"], held["action"])

    @property
    def has_learned(self) -> bool:
        """Whether what is learned first is there."""
        return (self.folder / STEERING).is_file()

    def keep_learned(self, weights: Mapping[str, Any]) -> None:
        """Keep the weights of what was learned, by name."""
        _written(self.folder / STEERING, lambda path: torch.save(dict(weights), path))

    def learned(self) -> dict[str, Any]:
        """Return the weights of what was learned."""
        held: dict[str, Any] = torch.load(self.folder / STEERING, weights_only=True)
        return held


def _read(folder: Path) -> Iterator[tuple[Job, Drive]]:
    jobs, drives = Job.__dataclass_fields__, Drive.__dataclass_fields__
    for path in sorted(folder.glob("drives-*.jsonl")):
        # After the last end of a line comes what a run wrote when it was killed.
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            entries = json.loads(line)
            yield Job(*(entries[name] for name in jobs)), Drive(*(entries[name] for name in drives))


def _written(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file as a whole: who reads meanwhile sees the old one or none, and another's of the same is as good."""
    unfinished = path.with_name(f".{uuid4().hex[:12]}-{path.name}")
    write(unfinished)
    os.replace(unfinished, path)


def by_task(drives: Mapping[Job, Drive], order: Iterable[str]) -> dict[str, dict[str, list[Drive]]]:
    """Return drives by ``TASK, KIND`` and method, methods in an order, drives by building and goal."""
    ranks = {method: rank for rank, method in enumerate(order)}
    found: dict[str, dict[str, list[Drive]]] = {}
    for job in sorted(drives, key=lambda job: (job.task, job.kind, ranks[job.method], job.building, job.goal)):
        found.setdefault(f"{job.task}, {job.kind}", {}).setdefault(job.method, []).append(drives[job])
    return found
