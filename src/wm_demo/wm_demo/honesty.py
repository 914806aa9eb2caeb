"""Whether the forecasts of a run are worse than saying that nothing changes, while the robot moves. No ROS."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wm_core.words import counted
from wm_demo.measurements import ScoredForecast, Spot
from world_model.evaluation.intervals import block_sums, ratio_interval

WORSE = 1.02
"""Times the error of "nothing changes" from which on a forecast is called worse than it."""
AHEAD_S = 1.0
LEARNS_NOTHING = {"persistence": "nothing changes", "running_mean": "its running mean"}
"""{column of the error table: what it says} of what forecasts without learning anything."""
_BLOCK_S, _LEAST_BLOCKS = 5.0, 4
_MOVED_M, _TURNED_RAD = 0.05, 0.05
_CHANGED = 0.02
"""Error of "nothing changes" from which on, without any pose, the robot counts as moving."""
_FOUND_S = 0.3


def against_nothing(errors: Sequence[ScoredForecast], path: Sequence[Spot]) -> dict[str, Any]:
    """Returns how the forecasts 1 s ahead compare with those that learn nothing, while the robot moves.

    Forecasts made without the memory although it was asked for are left out. Errors that follow one another are not
    independent, so that whole stretches of 5 s are drawn again for the intervals.

    Args:
        errors: Scored forecasts in the order of their coming.
        path: Where the robot was; without any, what it sees tells whether it moves.

    Returns:
        {"forecasts": how many, "seconds": over how long, and for each of ``LEARNS_NOTHING``: ratio, low and high of the
        95 % interval}; without ratios where the run is too short for an interval.
    """
    far = [e for e in errors if abs(e.horizon_s - AHEAD_S) < 1e-3 and not e.degraded and math.isfinite(e.ours)]
    moving = [e for e, moves in zip(far, _moves(far, path)) if moves]
    block_N = np.array([int(e.steady_ns / (_BLOCK_S * 1e9)) for e in moving], np.int64)
    blocks = len(np.unique(block_N))
    found: dict[str, Any] = {"forecasts": len(moving), "seconds": blocks * _BLOCK_S}
    if blocks < _LEAST_BLOCKS:
        return found
    for name in LEARNS_NOTHING:
        pair_N2 = np.array([(e.ours, getattr(e, name)) for e in moving])
        known_N = np.isfinite(pair_N2).all(axis=1)
        if known_N.any():
            found[name] = ratio_interval(block_sums(pair_N2[known_N], block_N[known_N]))
    return found


def is_worse(compared: Mapping[str, Any], name: str = "persistence") -> bool:
    """Returns whether the forecasts are surely worse than one that learns nothing."""
    return name in compared and bool(compared[name]["low"] > WORSE)


def in_words(compared: Mapping[str, Any], name: str) -> str:
    """Returns the comparison with one that learns nothing in words."""
    ratio = compared[name]
    return (
        f"{AHEAD_S:g} s ahead, while the robot moves, the forecast is worse than {LEARNS_NOTHING[name]}: "
        f"{ratio['ratio']:.2f} times its error (95 % interval {ratio['low']:.2f} to {ratio['high']:.2f}, "
        f"{counted(compared['forecasts'], 'forecast')})"
    )


def _moves(errors: Sequence[ScoredForecast], path: Sequence[Spot]) -> list[bool]:
    """Returns for each forecast whether the robot moved until its time came."""
    if not path:
        return [e.persistence > _CHANGED for e in errors]
    spots = sorted(path, key=lambda spot: spot.stamp_ns)
    stamp_N = np.array([spot.stamp_ns for spot in spots], np.int64)
    moves = []
    for error in errors:
        now, before = (
            _spot(spots, stamp_N, ns) for ns in (error.stamp_ns, error.stamp_ns - int(error.horizon_s * 1e9))
        )
        moves.append(now is not None and before is not None and _apart(now, before))
    return moves


def _spot(spots: Sequence[Spot], stamp_N: np.ndarray, stamp_ns: int) -> Spot | None:
    after = min(int(np.searchsorted(stamp_N, stamp_ns)), len(spots) - 1)
    nearest = min(max(after - 1, 0), after, key=lambda row: abs(int(stamp_N[row]) - stamp_ns))
    return spots[nearest] if abs(int(stamp_N[nearest]) - stamp_ns) <= _FOUND_S * 1e9 else None


def _apart(one: Spot, other: Spot) -> bool:
    turn = math.remainder(one.yaw - other.yaw, math.tau)
    return math.hypot(one.x - other.x, one.y - other.y) >= _MOVED_M or abs(turn) >= _TURNED_RAD
