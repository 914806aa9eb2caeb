"""What a frame of ``/stream-live`` says, whoever brings it: a recording that plays, or the graph.

Shape suffixes: D = latent size, H = height, W = width.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np

from wm_api.world import World, forecast_entry, pose_entry
from world_model.runtime.metrics import ScoredForecast
from world_model.runtime.prediction import Forecast, Observation

_RATED, _LEAST_RATED_S = 40, 0.5
# Twenty times a second it would double what is sent.
_LEFT_OUT = "without_memory"
_MOST_AHEAD = 400


@dataclass
class Showing:
    """Gathers what belongs to a latent and publishes it as a frame.

    Args:
        world: Where it is published.

    Attributes:
        memory: How much is remembered.
        ages: How old what is shown was when it came [ms], by its name.
        missed: How many latents got no forecast.
        planned: x, y [m] along the path that a planner has in mind; empty: none drives.
    """

    world: World
    _arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=_RATED))
    _errors: dict[float, dict[str, Any]] = field(default_factory=dict)
    _foreseen: OrderedDict[int, tuple[np.ndarray, tuple[int, ...]]] = field(default_factory=OrderedDict)
    _expected: OrderedDict[int, Any] = field(default_factory=OrderedDict)
    memory: dict[str, Any] = field(default_factory=dict)
    ages: dict[str, float] = field(default_factory=dict)
    missed: int = 0
    planned: list[list[float]] = field(default_factory=list)

    def judged(self, entry: Mapping[str, Any]) -> None:
        """Take the errors of a forecast whose time has come, as ``error_entry`` makes them."""
        self._errors[entry["horizon_s"]] = dict(entry)

    def show(self, observation: Observation, forecasts: Sequence[Mapping[str, Any]], frame_id: str = "") -> None:
        """Publish a frame.

        Args:
            observation: The newest.
            forecasts: As ``forecast_entry`` makes them, by horizon; empty where there are none.
            frame_id: Frame of the poses.
        """
        self._arrivals.append(monotonic())
        pictures = self._pictures(observation, forecasts)
        errors = [self._errors[horizon_s] for horizon_s in sorted(self._errors)]
        pose, action_A = observation.pose, observation.action_A
        self.world.live.publish({
            "number": self.world.live.frame_count + 1,
            "stamp_ns": observation.stamp_ns,
            "stamp_s": observation.stamp_ns * 1e-9,
            **self.world.models.identity(),
            "latent": observation.latent_D.tolist(),
            "pose": None if pose is None else pose_entry(pose),
            "expected_pose": self._expected_pose(observation.stamp_ns),
            "frame_id": frame_id,
            "action": None if action_A is None else action_A.tolist(),
            "forecasts": [{name: value for name, value in each.items() if name != _LEFT_OUT} for each in forecasts],
            "errors": errors,
            "surprise": errors[-1]["error"] if errors else None,
            "memory": self.memory,
            "rates": {"latent_hz": self._rate_hz()},
            "ages_ms": self.ages,
            "missed": self.missed,
            "planned": self.planned,
            "pictures": pictures,
        })  # fmt: skip

    def restart(self) -> None:
        """Forget what was expected: time began anew."""
        self._errors.clear()
        self._foreseen.clear()
        self._expected.clear()

    def _rate_hz(self) -> float | None:
        span_s = self._arrivals[-1] - self._arrivals[0]
        # The first ones may come at once, having waited somewhere.
        return round((len(self._arrivals) - 1) / span_s, 2) if span_s >= _LEAST_RATED_S else None

    def _expected_pose(self, stamp_ns: int) -> dict[str, float] | None:
        """Return where the robot had been expected to be now, by the forecast nearest to this time."""
        found = _nearest(self._expected, stamp_ns, self._slack_ns())
        return None if found is None else dict(found)

    def _slack_ns(self) -> int:
        return round(self.world.models.manifest.step_s * 1e9 / 2)

    def _pictures(self, observation: Observation, forecasts: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """Keep what the furthest forecast says for its time, and show what had been said for now."""
        gallery = self.world.gallery
        foreseen = _nearest(self._foreseen, observation.stamp_ns, self._slack_ns())
        gallery.put_latent("foreseen", *(foreseen or (None, ())))
        if forecasts:
            furthest = forecasts[-1]
            latent_D = np.array(furthest["latent"], np.float32)
            due_ns = observation.stamp_ns + round(furthest["horizon_s"] * 1e9)
            _keep(self._foreseen, due_ns, (latent_D, tuple(furthest["memory_ids"])))
            if furthest["pose"] is not None:
                _keep(self._expected, due_ns, furthest["pose"])
            gallery.put_latent("imagined", latent_D, tuple(furthest["memory_ids"]))
        return {name: gallery.shown(name) for name in ("camera", "imagined", "foreseen")}


def _keep(held: OrderedDict[int, Any], stamp_ns: int, value: Any) -> None:
    held[stamp_ns] = value
    while len(held) > _MOST_AHEAD:
        held.popitem(last=False)


def _nearest(held: OrderedDict[int, Any], stamp_ns: int, slack_ns: int) -> Any:
    """Return what is kept for a time, up to a slack, and forget what is older."""
    found = None
    while held:
        due_ns = next(iter(held))
        if due_ns > stamp_ns + slack_ns:
            break
        value = held.pop(due_ns)
        found = value if abs(due_ns - stamp_ns) <= slack_ns else None
        if due_ns >= stamp_ns:
            break
    return found


def error_entry(scored: ScoredForecast) -> dict[str, Any]:
    """Return the errors of a forecast whose time has come as JSON says them."""
    return {
        "horizon_s": round(scored.forecast.horizon_s, 6),
        "stamp_ns": scored.stamp_ns,
        "error": _finite(scored.error),
        "without_memory": _finite(scored.error_without_memory),
        "persistence": _finite(scored.error_persistence),
        "gate": float(scored.forecast.gate),
        "revisit": bool(scored.revisit),
    }


def forecast_entries(forecasts: Sequence[Forecast]) -> list[dict[str, Any]]:
    """Return forecasts as JSON says them."""
    return [forecast_entry(each) for each in forecasts]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
