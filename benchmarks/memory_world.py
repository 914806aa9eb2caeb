"""The worlds of ``scripts/bench memory``: trajectories, queries and the truth, the same for every system.

A robot wanders in a square whose area grows with the number of states, so that about as many lie near a query in a
world of ten million as in one of ten thousand. Latents are smooth in place and yaw, with noise.

Shape suffixes: N = states, Q = queries, D = latent size, K = neighbours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

Answer = TypeVar("Answer")
DIM = 32
RADIUS_M = 5.0
K = 8
NEAR = 8000
"""About so many states lie within ``RADIUS_M`` of a query."""


@dataclass
class World:
    """States in the order they were seen."""

    x_N: np.ndarray
    y_N: np.ndarray
    yaw_N: np.ndarray
    latent_ND: np.ndarray
    successor_ND: np.ndarray
    later_ND: np.ndarray


@dataclass
class Queries:
    """Places and latents to ask for, with the exact answer: ids (state number + 1), nearest first."""

    x_Q: np.ndarray
    y_Q: np.ndarray
    yaw_Q: np.ndarray
    latent_QD: np.ndarray
    truth_QK: np.ndarray
    candidates_Q: np.ndarray


def make_world(count: int, seed: int = 0) -> World:
    """Return a trajectory of 0.1 m steps that turns gently and bounces off the walls of its square."""
    rng = np.random.default_rng(seed)
    side = np.sqrt(count * np.pi * RADIUS_M**2 / NEAR)
    yaw_N = np.cumsum(rng.normal(0.0, 0.05, count))
    # Folding a free walk back into the square is a reflection at its walls.
    x_N = _folded(np.cumsum(0.1 * np.cos(yaw_N)) + rng.uniform(0, side), side)
    y_N = _folded(np.cumsum(0.1 * np.sin(yaw_N)) + rng.uniform(0, side), side)
    latent_ND = np.empty((count, DIM), np.float32)
    wave_3D = rng.normal(0.0, 1.0, (3, DIM)) * np.array([[0.4], [0.4], [1.0]])
    phase_D = rng.uniform(0, 2 * np.pi, DIM)
    for start in range(0, count, 500_000):
        part = slice(start, min(count, start + 500_000))
        seen = np.stack((x_N[part], y_N[part], yaw_N[part]), axis=1)
        noise = rng.standard_normal((seen.shape[0], DIM), dtype=np.float32) * np.float32(0.2)
        latent_ND[part] = np.sin(seen @ wave_3D + phase_D) + noise
    yaw_N = (yaw_N + np.pi) % (2 * np.pi) - np.pi
    step = np.minimum(np.arange(count) + 1, count - 1)
    second = np.minimum(np.arange(count) + 10, count - 1)
    return World(x_N - side / 2, y_N - side / 2, yaw_N.astype(np.float32), latent_ND, step, second)


def _folded(walk_N: np.ndarray, side: float) -> np.ndarray:
    inside_N = np.mod(walk_N, 2 * side)
    return np.asarray(np.where(inside_N > side, 2 * side - inside_N, inside_N))


def make_queries(world: World, count: int, seed: int = 1, spread_m: float | None = None) -> Queries:
    """Return queries near states with the truth in double precision.

    Args:
        world: What is remembered.
        count: How many.
        seed: Of the random numbers.
        spread_m: Around one place, as a planner asks, with this deviation [m]; None: all over the world.
    """
    rng = np.random.default_rng(seed)
    states_Q = rng.integers(0, len(world.x_N), count)
    x_Q, y_Q = world.x_N[states_Q] + rng.normal(0, 0.1, count), world.y_N[states_Q] + rng.normal(0, 0.1, count)
    if spread_m is not None:
        x_Q = world.x_N[states_Q[0]] + rng.normal(0, spread_m, count)
        y_Q = world.y_N[states_Q[0]] + rng.normal(0, spread_m, count)
    latent_QD = world.latent_ND[states_Q] + rng.normal(0, 0.2, (count, DIM)).astype(np.float32)
    truth_QK = np.zeros((count, K), np.int64)
    candidates_Q = np.zeros(count, np.int64)
    order_N = np.argsort(world.x_N, kind="stable")
    sorted_N = world.x_N[order_N]
    for at, (x, y) in enumerate(zip(x_Q, y_Q)):
        low, high = np.searchsorted(sorted_N, [x - RADIUS_M - 1e-9, x + RADIUS_M + 1e-9])
        near = order_N[low:high]
        near = near[(world.x_N[near] - x) ** 2 + (world.y_N[near] - y) ** 2 <= RADIUS_M**2]
        distance = ((world.latent_ND[near].astype(np.float64) - latent_QD[at]) ** 2).sum(axis=1)
        best = np.argsort(distance, kind="stable")[:K]
        truth_QK[at, : len(best)] = near[best] + 1
        candidates_Q[at] = len(near)
    return Queries(x_Q, y_Q, world.yaw_N[states_Q], latent_QD.astype(np.float32), truth_QK, candidates_Q)


def load(path: Path) -> dict[str, np.ndarray]:
    """Return arrays by name, as ``np.savez`` wrote them."""
    with np.load(path) as arrays:
        return dict(arrays)


def recall(found: list[list[int]], truth_QK: np.ndarray) -> float:
    """Return how many of the true neighbours were found."""
    hits = sum(len(set(mine) & set(truth[truth > 0].tolist())) for mine, truth in zip(found, truth_QK))
    return hits / int((truth_QK[: len(found)] > 0).sum())


def percentiles(times_s: list[float]) -> dict[str, float]:
    """Return median and 99th percentile in milliseconds, to the microsecond."""
    p50, p99 = np.percentile(np.array(times_s) * 1e3, [50, 99])
    return {"p50_ms": round(float(p50), 4), "p99_ms": round(float(p99), 4)}


def timed(ask: Callable[[int], Answer], count: int) -> tuple[list[Answer], list[float]]:
    """Return answers and times [s] of queries asked one after the other, after a few to warm up."""
    for at in range(min(20, count)):
        ask(at)
    found: list[Answer] = []
    times: list[float] = []
    for at in range(count):
        begin = time.perf_counter()
        answer = ask(at)
        times.append(time.perf_counter() - begin)
        found.append(answer)
    return found, times


def read_bandwidth() -> float:
    """Return how fast one thread reads memory that is in no cache, best of several [bytes/s]."""
    data = np.ones(1 << 26, np.float32)
    times = []
    for _ in range(12):
        begin = time.perf_counter()
        data.dot(data)
        times.append(time.perf_counter() - begin)
    return data.nbytes / float(np.median(times))
