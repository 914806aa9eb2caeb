"""How much something grows with time: by a linear fit over samples, and by its first and last quarter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

QUARTERS = 4
RAW = 100


@dataclass
class Sample:
    """What was measured at one moment of the counted time.

    Attributes:
        hours: Since counting began.
        rss_mb: Resident memory.
        disk_mb: Files.
        shared_mb: Files in shared memory.
    """

    hours: float
    rss_mb: float
    disk_mb: float
    shared_mb: float = 0.0


def growth(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return where a linear fit of the resident memory begins and ends, its growth, the largest file, and samples."""
    hours, rss = np.array([each.hours for each in samples]), np.array([each.rss_mb for each in samples])
    slope, offset = np.polyfit(hours, rss, 1) if len(samples) > 1 else (0.0, rss[0])
    start, end = offset + slope * hours[0], offset + slope * hours[-1]
    return {
        "rss_mb": {"start": round(float(start), 2), "end": round(float(end), 2)},
        "rss_growth": round(float(end / start - 1.0), 5),
        "disk_mb_max": round(max(each.disk_mb for each in samples), 2),
        "samples": [_raw(each) for each in samples[:: max(1, len(samples) // RAW)]],
    }


def _raw(sample: Sample) -> list[float]:
    """Return a sample's hours and megabytes, as its attributes stand."""
    return [round(sample.hours, 4), round(sample.rss_mb, 1), round(sample.disk_mb, 2), round(sample.shared_mb, 2)]


def quarters_p99(values_ms: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Return the 99th percentile of the first and of the last quarter of values in the order they came."""
    quarter = max(1, len(values_ms) // QUARTERS)
    parts = {"first_quarter": values_ms[:quarter], "last_quarter": values_ms[-quarter:]}
    return {name: round(float(np.percentile(part, 99)), 3) for name, part in parts.items()}


def size_mb(folder: Path) -> float:
    """Return what the files in a folder take together [MB]; those that go meanwhile count nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total / 1e6
