"""An episode with real revisits in no time: circles past coloured walls, drawn by a formula."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from world_model.data.episodes import DatasetManifest, Episode, EpisodeWriter

STEP_S = 0.05
LAP_S = 8.0


def circling_episode(name: str = "circle", seconds: float = 40.0, size: int = 16, seed: int = 0) -> Episode:
    """Return an episode around a circle of 2 m; what is seen depends on pose alone, plus a little noise."""
    rng = np.random.default_rng(seed)
    count = int(seconds / STEP_S)
    angle_T = np.arange(count) * STEP_S * 2 * np.pi / LAP_S
    pose_T4 = np.column_stack([2 * np.sin(angle_T), 2 - 2 * np.cos(angle_T), np.zeros(count), angle_T])
    # Each lap a little aside of the last, or memories of two laps would lie equally near.
    pose_T4[:, :2] += np.arange(count)[:, None] * [2e-4, 1e-4]
    column = np.linspace(-0.7, 0.7, size)
    phase = rng.uniform(0, 6, (3, 4))
    view = angle_T[:, None] + column
    channel = [sum(np.sin((k + 1) * view + phase[c, k]) for k in range(4)) / 4 for c in range(3)]
    shade = np.linspace(0.6, 1.0, size)[None, :, None, None]
    image = 127 + 90 * np.stack(channel, axis=-1)[:, None] * shade + rng.normal(0, 2, (count, size, size, 3))
    action_TA = np.tile(np.array([4 * np.pi / LAP_S, 2 * np.pi / LAP_S], np.float32), (count, 1))
    action_TA += rng.normal(0, 0.01, action_TA.shape).astype(np.float32)
    stamp_T = (np.arange(count) * STEP_S * 1e9).astype(np.int64)
    return Episode(name, name, np.clip(image, 0, 255).astype(np.uint8), stamp_T, pose_T4, action_TA)


def circling_set(path: Path, names: Sequence[str] = ("a", "b"), seconds: float = 30.0, size: int = 16) -> Path:
    """Write a converted set of such episodes; the last is for validation."""
    writer = EpisodeWriter(path, DatasetManifest(image_size=size, step_s=STEP_S, action_dim=2, source={"kind": "test"}))
    for seed, name in enumerate(names):
        writer.write(circling_episode(name, seconds, size, seed), "valid" if name == names[-1] and seed else "train")
    return path
