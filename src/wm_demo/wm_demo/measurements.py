"""What a demo measures while the graph runs: ages matched by stamp, rates, prediction errors, the path driven. No ROS.

Ages run on the steady clock, which all processes of a machine share, from a frame's publication to the receipt of what
was made of it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from math import isfinite, nan
from threading import Lock

import numpy as np

from bag_player.sent_log import SentFrame


class AgeMeter:
    """Pairs frames that were sent with what came of them, in whichever order both are reported."""

    def __init__(self) -> None:
        self._sent: dict[int, list[int]] = defaultdict(list)
        self._waiting: list[tuple[str, int, int]] = []
        self._ages_ms: dict[str, list[float]] = defaultdict(list)

    def sent(self, frame: SentFrame) -> None:
        """Notes a frame's publication; a recording that loops sends the same stamp again."""
        self._sent[frame.stamp_ns].append(frame.steady_ns)

    def received(self, topic: str, stamp_ns: int, steady_ns: int) -> None:
        """Notes the receipt of what was made of the frame with this stamp."""
        self._waiting.append((topic, stamp_ns, steady_ns))

    def ages_ms(self, topic: str, newest: int | None = None) -> np.ndarray:
        """Returns the ages on a topic so far [ms], or only the newest few."""
        self._match()
        ages = self._ages_ms[topic]
        return np.asarray(ages if newest is None else ages[-newest:])

    def _match(self) -> None:
        unmatched = []
        for topic, stamp_ns, steady_ns in self._waiting:
            before = [t for t in self._sent.get(stamp_ns, ()) if t <= steady_ns]
            if before:
                self._ages_ms[topic].append((steady_ns - before[-1]) / 1e6)
            else:
                unmatched.append((topic, stamp_ns, steady_ns))
        self._waiting = unmatched[-10_000:]


class StampFinder:
    """Finds the stamp of a message that has none (``/latent``) through its twin with a header (``/latent/state``).

    Both carry the same values; either may be read first.
    """

    def __init__(self) -> None:
        self._receipts: dict[bytes, deque[int]] = {}
        self._stamps: dict[bytes, deque[int]] = {}

    def plain(self, values: bytes, steady_ns: int) -> tuple[int, int] | None:
        """Takes the message without stamp; returns (stamp, receipt) when its twin is known."""
        return self._pair(self._stamps, self._receipts, values, steady_ns, swap=False)

    def stamped(self, values: bytes, stamp_ns: int) -> tuple[int, int] | None:
        """Takes the message with stamp; returns (stamp, receipt) when its twin is known."""
        return self._pair(self._receipts, self._stamps, values, stamp_ns, swap=True)

    @staticmethod
    def _pair(
        others: dict[bytes, deque[int]], own: dict[bytes, deque[int]], values: bytes, number: int, *, swap: bool
    ) -> tuple[int, int] | None:
        twins = others.get(values)
        if not twins:
            own.setdefault(values, deque()).append(number)
            return None
        other = twins.popleft()
        if not twins:
            del others[values]
        return (number, other) if swap else (other, number)


@dataclass
class Rate:
    """How often something came."""

    times_ns: list[int] = field(default_factory=list)

    def tick(self, steady_ns: int) -> None:
        """Counts one."""
        self.times_ns.append(steady_ns)

    @property
    def count(self) -> int:
        """How many came."""
        return len(self.times_ns)

    @property
    def hz(self) -> float:
        """Over the whole run [Hz]."""
        return rate_hz(self.times_ns)

    @property
    def recent_hz(self) -> float:
        """Over the last hundred [Hz]."""
        return rate_hz(self.times_ns[-100:])


def rate_hz(times_ns: list[int]) -> float:
    """Returns how often something happened that happened at these times [Hz]."""
    return (len(times_ns) - 1) * 1e9 / (times_ns[-1] - times_ns[0]) if len(times_ns) > 1 else 0.0


@dataclass(frozen=True)
class ScoredForecast:
    """One message of ``/prediction_error``."""

    stamp_ns: int
    steady_ns: int
    horizon_s: float
    revisit: bool
    ours: float
    without_memory: float
    persistence: float
    degraded: bool = False
    running_mean: float = nan


@dataclass(frozen=True)
class Spot:
    """Where the robot was when a frame was taken, in the map [m], and which way it faced [rad]."""

    stamp_ns: int
    x: float
    y: float
    yaw: float = 0.0


class Measurements:
    """Everything that one demo run measures; filled by a monitor's thread, read by the one that shows it."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.ages = AgeMeter()
        self.rates: dict[str, Rate] = defaultdict(Rate)
        self.errors: list[ScoredForecast] = []
        self.path: list[Spot] = []
        self.query_ms: list[float] = []
        self.degraded_predictions = 0
        self.diagnostics: dict[str, dict[str, str]] = {}
        self.diagnostics_ns: dict[str, int] = {}

    def diagnostic(self, node: str, key: str, default: float = 0.0) -> float:
        """Returns a number from a node's latest report."""
        try:
            return float(self.diagnostics.get(node, {}).get(key, default))
        except ValueError:
            return default

    def counters(self, node: str, prefix: str) -> dict[str, int]:
        """Returns {what follows the prefix: count} from a node's latest report."""
        values = self.diagnostics.get(node, {})
        return {key[len(prefix) :]: int(value) for key, value in values.items() if key.startswith(prefix)}

    def error_table(self) -> dict[str, dict[str, dict[str, float | int | None]]]:
        """Returns {horizon: {"revisit", "first" or "degraded": mean errors and their number}}; each counts once."""
        table: dict[str, dict[str, dict[str, float | int | None]]] = {}
        for horizon_s in sorted({round(e.horizon_s, 3) for e in self.errors} | {0.05, 1.0}):
            chosen = [e for e in self.errors if round(e.horizon_s, 3) == horizon_s]
            table[f"{horizon_s:g}" if horizon_s != 1.0 else "1.0"] = {
                "revisit": _mean_errors([e for e in chosen if e.revisit and not e.degraded]),
                "first": _mean_errors([e for e in chosen if not e.revisit and not e.degraded]),
                "degraded": _mean_errors([e for e in chosen if e.degraded]),
            }
        return table


def _mean_errors(errors: list[ScoredForecast]) -> dict[str, float | int | None]:
    return {
        "ours": _mean([e.ours for e in errors]),
        "without_memory": _mean([e.without_memory for e in errors]),
        "persistence": _mean([e.persistence for e in errors]),
        "running_mean": _mean([e.running_mean for e in errors]),
        "n": len(errors),
    }


def _mean(values: list[float]) -> float | None:
    finite = [v for v in values if isfinite(v)]
    return float(np.mean(finite)) if finite else None


def percentiles(values_ms: np.ndarray | list[float], *, largest: bool = True) -> dict[str, float | None]:
    """Returns median, 99th percentile and, if wanted, largest value; None where there are no values."""
    values = np.asarray(values_ms, dtype=float)
    keys = {"p50": 50, "p99": 99, **({"max": 100} if largest else {})}
    return {key: float(np.percentile(values, q)) if len(values) else None for key, q in keys.items()}
