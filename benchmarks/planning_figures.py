"""What is said of drives: success, and how a method's differs from planning with memory, building by building."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.planning_drives import Drive

Found = Mapping[str, Mapping[str, Sequence[Drive]]]
"""Drives by task and method."""

SHORT_M = 9.0
"""Up to this way a task is of short horizon: half of the pictures to be reached are no further."""


def interval(value_B: np.ndarray, seed: int = 0) -> list[float]:
    """Return the 95 % interval of a mean over buildings, drawn anew with replacement."""
    drawn = np.random.default_rng(seed).integers(0, len(value_B), (2000, len(value_B)))
    return [round(float(value), 3) for value in np.percentile(value_B[drawn].mean(axis=1), [2.5, 97.5])]


def shares(found: Sequence[Drive]) -> np.ndarray:
    """Return the share of successes of each building, in the order of their seeds."""
    seeds = sorted({each.building for each in found})
    return np.array([np.mean([each.has_succeeded for each in found if each.building == seed]) for seed in seeds])


def paired(first: Sequence[Drive], second: Sequence[Drive]) -> tuple[list[Drive], list[Drive]]:
    """Return the drives of both to goals that both were sent to."""
    ours, theirs = ({(each.building, each.goal): each for each in drives} for drives in (first, second))
    common = sorted(set(ours) & set(theirs))
    return [ours[key] for key in common], [theirs[key] for key in common]


def summary(found: Sequence[Drive], memory: Sequence[Drive]) -> dict[str, Any]:
    """Return the figures of one method at one task, and how its success differs from planning with memory."""
    done = [each for each in found if each.has_succeeded]
    ended: dict[str, int] = {}
    for each in found:
        ended[each.ended] = ended.get(each.ended, 0) + 1
    made: dict[str, Any] = {
        "success": round(len(done) / len(found), 3),
        "spl": round(float(np.mean([each.spl for each in found])), 3),
        "collisions": sum(each.contacts for each in found),
        "time_s": round(float(np.median([each.time_s for each in done])), 2) if done else None,
        "n": len(found),
        "interval": interval(shares(found)),
        "ended": dict(sorted(ended.items())),
        "processor_s": round(float(np.mean([each.processor_s for each in found])), 2),
        "by_length": by_length(found),
    }
    ours, theirs = paired(found, memory)
    if ours:
        less_B = shares(ours) - shares(theirs)
        made["less_than_memory"] = {
            "mean": round(float(less_B.mean()), 3),
            "interval": interval(less_B),
            "n": len(ours),
        }
    return made


def by_length(found: Sequence[Drive]) -> dict[str, dict[str, Any]]:
    """Return the success at tasks of short and of long horizon apart."""
    parts = {
        f"up to {SHORT_M:g} m": [each for each in found if each.length_m <= SHORT_M],
        f"beyond {SHORT_M:g} m": [each for each in found if each.length_m > SHORT_M],
    }
    return {
        name: {"success": round(float(np.mean([each.has_succeeded for each in part])), 3), "n": len(part)}
        for name, part in parts.items()
        if part
    }


def summarised(found: Found) -> dict[str, Any]:
    """Return the figures of every task and method; all are compared with planning with memory, or else the first."""
    return {
        task: {
            method: summary(drives, methods.get("memory") or next(iter(methods.values())))
            for method, drives in methods.items()
        }
        for task, methods in found.items()
    }
