"""Processes beside a run: begun before they are needed, kept until it is over, each told once what there is to do."""

from __future__ import annotations

import math
import os
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import torch

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""As many processes as cores, each with as many threads, would wait for one another."""
_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


class Crew:
    """Does work in processes; with fewer than two of them, where it is asked for.

    Args:
        workers: Processes.
    """

    def __init__(self, workers: int) -> None:
        self.workers = max(workers, 1)
        self._pool: ProcessPoolExecutor | None = None
        if workers > 1:
            spawn = torch.multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(workers, spawn, initializer=_one_thread)
            # What they import takes seconds: it is over when there is something to do.
            with _environment(dict.fromkeys(_THREADS, "1")):
                for _ in range(workers):
                    self._pool.submit(_one_thread)

    def __enter__(self) -> Crew:
        """Return it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let the processes go; what was not begun is left undone."""
        if self._pool is not None:
            self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def submit(self, work: Callable[..., _Result], *arguments: Any) -> Callable[[], _Result]:
        """Begin some work, and return what waits for its result."""
        if self._pool is None:
            return lambda: work(*arguments)
        return self._pool.submit(work, *arguments).result

    def map(
        self, work: Callable[[_Job], _Result], jobs: Sequence[_Job], *, limit_s: float = math.inf, at_least: int = 0
    ) -> list[_Result | None]:
        """Return what came of each job; None where it was too late to begin it.

        Args:
            work: Handed to each process once: it may hold a large network.
            jobs: What differs.
            limit_s: No job is begun after this time [s].
            at_least: So many of the first are done, however late.
        """
        latest_s = time.monotonic() + limit_s
        latest = [math.inf if row < at_least else latest_s for row in range(len(jobs))]
        if self._pool is None:
            return [work(job) if time.monotonic() <= late_s else None for job, late_s in zip(jobs, latest)]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "work")
            path.write_bytes(pickle.dumps(work))
            futures = [self._pool.submit(_do, path, job, late_s) for job, late_s in zip(jobs, latest)]
            return [future.result() for future in futures]


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables for processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_held: dict[Path, Callable[[Any], Any]] = {}


def _one_thread() -> None:
    torch.set_num_threads(1)


def _do(path: Path, job: Any, latest_s: float) -> Any:
    """Return what comes of a job; the work lies in a file that this run wrote."""
    if time.monotonic() > latest_s:
        return None
    if path not in _held:
        _held.clear()
        _held[path] = pickle.loads(path.read_bytes())
    return _held[path](job)
