"""Random streams of states, and what a memory has to keep of them, worked out in the plainest way.

Shape suffixes: T = states of the stream, D = latent size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from wm_core.memory.keyframes import Spacing
from wm_core.memory.successors import tolerance_s

_NS = 1_000_000_000


@dataclass(frozen=True)
class History:
    """A stream as it arrives; the first value of each latent is its row."""

    stamp_T: np.ndarray
    pose_T4: np.ndarray
    latent_TD: np.ndarray
    action_TA: np.ndarray
    step_s: float
    horizons_s: tuple[float, ...]


@dataclass(frozen=True)
class Kept:
    """A state that has to be kept: row, session, and by horizon [s] the row and time difference [ns] that follow."""

    row: int
    session: int
    followed: dict[float, tuple[int, int]]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Draw a stream of 1..120 Hz: jitter, lost frames, silences, restarts, repeated stamps, no poses, no actions."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rate_hz = draw(st.one_of(st.sampled_from([1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 120.0]), st.floats(1.0, 120.0)))
    count = draw(st.integers(1, 200))
    jitter_s = draw(st.sampled_from([0.0, 0.001, 0.015])) if rate_hz < 30.0 else draw(st.sampled_from([0.0, 0.003]))
    grid_s = np.arange(count) / rate_hz
    stamp_T = np.round((100.0 + grid_s + rng.uniform(-jitter_s, jitter_s, count)) * 1e3) * 1_000_000
    keep_T = rng.random(count) >= draw(st.sampled_from([0.0, 0.1, 0.4]))
    stamp_T = stamp_T[keep_T | (np.arange(count) == 0)].astype(np.int64)
    for jump_s in draw(st.lists(st.sampled_from([-1000.0, -0.5, 0.7, 29.0, 31.0, 500.0]), max_size=3)):
        at = draw(st.integers(0, len(stamp_T)))
        stamp_T[at:] += round(jump_s * _NS)
    for at in draw(st.lists(st.integers(1, max(len(stamp_T) - 1, 1)), max_size=3)):
        if at < len(stamp_T):
            stamp_T[at] = stamp_T[at - 1]
    count = len(stamp_T)
    pose_T4 = np.cumsum(rng.normal(0.0, draw(st.sampled_from([0.0, 0.02, 0.2])), (count, 4)), axis=0)
    pose_T4[rng.random(count) < draw(st.sampled_from([0.0, 0.2, 1.0]))] = np.nan
    action_TA = rng.normal(size=(count, 2)).astype(np.float32)
    action_TA[rng.random(count) < 0.2] = np.nan
    latent_TD = np.column_stack([np.arange(count), rng.normal(size=(count, 2))]).astype(np.float32)
    step_s = draw(st.sampled_from([0.05, 0.2, 0.03, 1.0]))
    far_s = draw(st.sampled_from([(1.0,), (2.0,), (0.1, 1.0), ()]))
    return History(stamp_T, pose_T4, latent_TD, action_TA, step_s, tuple(sorted({step_s, *far_s})))


def plain_kept(history: History, spacing: Spacing, session_gap_s: float) -> list[Kept]:
    """Return what has to be kept, by comparing every state with every other one."""
    session_of, rows = _sessions(history.stamp_T, session_gap_s)
    kept: list[Kept] = []
    last: int | None = None
    for row in rows:
        if not np.isfinite(history.pose_T4[row]).all():
            continue
        if last is None or session_of[last] != session_of[row] or _is_apart(history, spacing, last, row):
            same = [other for other in rows if session_of[other] == session_of[row]]
            followed = {h: found for h in history.horizons_s if (found := _followed(history, row, same, h))}
            kept.append(Kept(row, session_of[row], followed))
            last = row
    return kept


def _sessions(stamp_T: np.ndarray, gap_s: float) -> tuple[dict[int, int], list[int]]:
    session_of: dict[int, int] = {}
    rows: list[int] = []
    for row, stamp_ns in enumerate(stamp_T.tolist()):
        since_ns = stamp_ns - int(stamp_T[rows[-1]]) if rows else 0
        if rows and since_ns == 0:
            continue
        continues = rows and 0 < since_ns <= gap_s * _NS
        session_of[row] = (session_of[rows[-1]] if rows else 0) + (0 if continues else 1)
        rows.append(row)
    return session_of, rows


def _is_apart(history: History, spacing: Spacing, last: int, row: int) -> bool:
    x, y, _, yaw = history.pose_T4[row] - history.pose_T4[last]
    turn = abs((yaw + math.pi) % (2 * math.pi) - math.pi)
    passed_s = (history.stamp_T[row] - history.stamp_T[last]) / _NS
    return bool(
        math.hypot(x, y) >= spacing.distance_m or turn >= spacing.angle_rad or passed_s >= spacing.time_s - 1e-6
    )


def _followed(history: History, row: int, same: list[int], horizon_s: float) -> tuple[int, int] | None:
    wanted_ns = round(horizon_s * _NS)
    after = [(other, int(history.stamp_T[other] - history.stamp_T[row])) for other in same]
    near = [(abs(dt_ns - wanted_ns), dt_ns, other) for other, dt_ns in after if dt_ns > 0]
    if not near or min(near)[0] > round(tolerance_s(horizon_s, history.step_s) * _NS):
        return None
    _, dt_ns, other = min(near)
    return other, dt_ns
