"""The slow branch's view of converted episodes: one frame per tick, and the windows that training and evaluation use.

Shape suffixes: T = frames of an episode, K = ticks, W = windows, N = past ticks, F = future ticks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from wm_core.timeline import tick_early_ns
from world_model.data.episodes import Episode
from world_model.errors import DataError
from world_model.runtime.history import NANOSECONDS

GAP_TICKS = 1.5


@dataclass(frozen=True)
class TickTable:
    """Every tick of a set of episodes.

    Attributes:
        image: uint8 [K, S, S, 3], of the first camera.
        stamp: int64 [K], ns.
        pose: [K, 4] (x, y, z, yaw), NaN where unknown.
        episode: [K] index of the episode each tick belongs to.
        row: [K] row of its frame in that episode.
        names: Names of the episodes.
        past: [W, N] row of each past tick of each window, oldest first; -1 is padding.
        future: [W, F] row of each future tick; -1 where the episode ends or has a gap.
        views: Further cameras, uint8 [K, V, S, S, 3]; ``None`` where no episode has any.
        views_known: bool [K, V], whether a view showed anything then; ``None`` likewise.
    """

    image: np.ndarray
    stamp: np.ndarray
    pose: np.ndarray
    episode: np.ndarray
    row: np.ndarray
    names: tuple[str, ...]
    past: np.ndarray
    future: np.ndarray
    views: np.ndarray | None = None
    views_known: np.ndarray | None = None

    def pictures(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all cameras' pictures of each tick, the first one's first [K, 1 + V, ...], and which there are."""
        known_K1 = np.ones((len(self.image), 1), bool)
        if self.views is None or self.views_known is None:
            return self.image[:, None], known_K1
        both = np.concatenate([self.image[:, None], self.views], axis=1)
        return both, np.concatenate([known_K1, self.views_known], axis=1)


def tick_rows(stamp_T: np.ndarray, tick_s: float, phase_s: float = 0.0) -> list[np.ndarray]:
    """Return the rows of the frames that the node would look at, one array per stretch without a gap.

    Args:
        stamp_T: Stamps, int64 ns, ascending.
        tick_s: Time between ticks [s].
        phase_s: Begin this much later [s].
    """
    period_ns = round(tick_s * NANOSECONDS)
    stretches: list[list[int]] = []
    due_ns = int(stamp_T[0]) + round(phase_s * NANOSECONDS)
    last_ns: int | None = None
    row = int(np.searchsorted(stamp_T, due_ns))
    early_ns = tick_early_ns(int(np.median(np.diff(stamp_T))) if len(stamp_T) > 1 else 0, period_ns)
    while row < len(stamp_T):
        stamp_ns = int(stamp_T[row])
        if last_ns is None or stamp_ns - last_ns > GAP_TICKS * period_ns:
            stretches.append([])
        stretches[-1].append(row)
        last_ns = stamp_ns
        due_ns += period_ns
        if due_ns <= stamp_ns or early_ns:
            due_ns = stamp_ns + period_ns
        row = max(int(np.searchsorted(stamp_T, due_ns - early_ns)), row + 1)
    return [np.array(stretch, np.int64) for stretch in stretches]


def windows(length: int, past: int, future: int) -> tuple[np.ndarray, np.ndarray]:
    """Return past [W, N] and future [W, F] positions in a stretch of ``length`` ticks, -1 where there is none.

    One window per tick that has at least one tick after it.
    """
    now_W = np.arange(max(length - 1, 0))[:, None]
    past_WN = now_W + np.arange(1 - past, 1)[None]
    future_WF = now_W + np.arange(1, future + 1)[None]
    return np.where(past_WN >= 0, past_WN, -1), np.where(future_WF < length, future_WF, -1)


def tabulate(episodes: Iterable[Episode], tick_s: float, past: int, future: int, phases: int = 1) -> TickTable:
    """Return the ticks of episodes, each begun at ``phases`` different offsets within a tick.

    Raises:
        DataError: No episode has two ticks in a row.
    """
    columns: list[list[np.ndarray]] = [[], [], [], [], []]  # image, stamp, pose, episode, row
    pasts: list[np.ndarray] = []
    futures: list[np.ndarray] = []
    names, count = [], 0
    views: list[tuple[np.ndarray, np.ndarray]] = []
    for owner, episode in enumerate(episodes):
        names.append(episode.name)
        for phase in range(phases):
            for rows in tick_rows(episode.stamp_T, tick_s, phase * tick_s / phases):
                arrays = (episode.image_TSSC, episode.stamp_T, episode.pose_T4)
                parts = [*(np.asarray(array[rows]) for array in arrays), np.full(len(rows), owner), rows]
                for part, column in zip(parts, columns):
                    column.append(part)
                views.append(episode.pictures(rows))
                for positions, into in zip(windows(len(rows), past, future), (pasts, futures)):
                    into.append(np.where(positions >= 0, positions + count, -1))
                count += len(rows)
    if not any(len(part) for part in pasts):
        raise DataError("no episode has two ticks in a row")
    image, stamp, pose, episode_K, row = (np.concatenate(column) for column in columns)
    windowed = np.concatenate(pasts), np.concatenate(futures)
    return TickTable(image, stamp, pose, episode_K, row, tuple(names), *windowed, *_further(views))


def _further(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns the further cameras of all ticks [K, V, ...] and which there are; episodes may have fewer than others."""
    most = max(images.shape[1] for images, _ in parts)
    if most == 1:
        return None, None
    images, known = [], []
    for image_KV, known_KV in parts:
        missing = most - image_KV.shape[1]
        images.append(np.pad(image_KV[:, 1:], ((0, 0), (0, missing), (0, 0), (0, 0), (0, 0))))
        known.append(np.pad(known_KV[:, 1:], ((0, 0), (0, missing))))
    return np.concatenate(images), np.concatenate(known)
