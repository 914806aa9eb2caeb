"""Prediction errors: NMSE per forecast, and the tracker that waits for the predicted time to come.

Shape suffixes: D = latent size, ... = any leading dimensions.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from wm_core.se2 import Pose2
from world_model.runtime.predictor import Forecast, Observation, Prediction, is_revisit
from world_model.runtime.stepping import judging_tolerance_s, may_judge_between

__all__ = ["ErrorTracker", "ScoredForecast", "judging_tolerance_s", "misses", "nmse", "too_slow"]


def nmse(error_D: np.ndarray, variance_D: np.ndarray) -> np.ndarray:
    """Return squared error over variance, averaged over the last axis; predicting the mean gives about 1.

    Args:
        error_D: Predicted minus true, [..., D].
        variance_D: Training variance of each dimension [D].

    Raises:
        ValueError: A variance is not positive.
    """
    variance_D = np.asarray(variance_D, np.float64)
    if not np.all(variance_D > 0):
        raise ValueError("latent variances must be positive")
    nmse: np.ndarray = np.mean(np.asarray(error_D, np.float64) ** 2 / variance_D, axis=-1)
    return nmse


def misses(gap_s: float, horizon_s: float, step_s: float) -> bool:
    """Return whether frames that come each ``gap_s`` never lie at the predicted time."""
    off_s = abs(max(round(horizon_s / gap_s), 1) * gap_s - horizon_s) if gap_s > 0 else 0.0
    return off_s > judging_tolerance_s(horizon_s, step_s) + 1e-9


def too_slow(gap_s: float, horizon_s: float, step_s: float) -> bool:
    """Return whether frames that come each ``gap_s`` cannot show the predicted time, nor what lies around it."""
    return misses(gap_s, horizon_s, step_s) and not may_judge_between(gap_s, horizon_s)


@dataclass(frozen=True)
class ScoredForecast:
    """A forecast whose time has come, with the NMSE of each way of predicting it.

    ``stamp_ns`` is that of the frame that judges, or the predicted time where it was interpolated between two.
    """

    predicted_from_ns: int
    stamp_ns: int
    forecast: Forecast
    error: float
    error_persistence: float
    error_running_mean: float
    error_without_memory: float
    revisit: bool


@dataclass(frozen=True)
class _Expected:
    """A forecast that waits for its time: when that is, when it was made [ns], and itself."""

    target_ns: int
    made_ns: int
    forecast: Forecast


class ErrorTracker:
    """Matches forecasts with the observation nearest to their target time, by stamps.

    One that comes within half a step judges at once; where none does, the nearer one of those around the target judges
    as soon as the later one is there, if it lies within ``judging_tolerance_s``. Where neither does, what was seen at
    the target is interpolated between both, if they lie close enough (``may_judge_between``).

    A place is a revisit when any forecast for it, the shortest above all, found a memory near it: that must not depend
    on how well a far forecast guessed where the robot would be.

    Args:
        variance_D: Training variance of the latents.
        tolerance_s: Half a step of the model.
    """

    def __init__(self, variance_D: np.ndarray, tolerance_s: float = 0.025) -> None:
        self._variance_D = np.asarray(variance_D, np.float64)
        self._tolerance_s = tolerance_s
        self._pending: dict[float, deque[_Expected]] = {}
        self._last: Observation | None = None

    def expect(self, prediction: Prediction) -> None:
        """Remember the forecasts of one prediction until their time comes."""
        for forecast in prediction.forecasts:
            target_ns = prediction.stamp_ns + round(forecast.horizon_s * 1e9)
            queue = self._pending.setdefault(forecast.horizon_s, deque())
            queue.append(_Expected(target_ns, prediction.stamp_ns, forecast))

    def observe(self, observation: Observation) -> list[ScoredForecast]:
        """Return the forecasts that this observation judges, by horizon; time that jumps back drops the past."""
        last = self._last
        if last is not None and observation.stamp_ns <= last.stamp_ns:
            self._pending.clear()
            last = None
        self._last = observation
        due = [
            pair
            for horizon_s in sorted(self._pending)
            for pair in self._take(self._pending[horizon_s], horizon_s, last, observation)
        ]
        near_poses = [pose for expected, _ in due for pose in expected.forecast.memory_poses]
        return [self._score(expected.made_ns, expected.forecast, seen, near_poses) for expected, seen in due]

    def _take(
        self, queue: deque[_Expected], horizon_s: float, last: Observation | None, now: Observation
    ) -> list[tuple[_Expected, Observation]]:
        """Remove the forecasts whose time has come; return those that are judged, and by which observation."""
        half_ns = int(self._tolerance_s * 1e9)
        tolerance_ns = int(judging_tolerance_s(horizon_s, 2.0 * self._tolerance_s) * 1e9)
        judged: list[tuple[_Expected, Observation]] = []
        best: _Expected | None = None
        while queue and queue[0].target_ns <= now.stamp_ns + half_ns:
            expected = queue.popleft()
            off_ns = abs(expected.target_ns - now.stamp_ns)
            if off_ns <= half_ns:
                best = expected if best is None or off_ns < abs(best.target_ns - now.stamp_ns) else best
                continue
            seen = now
            if last is not None and abs(expected.target_ns - last.stamp_ns) <= off_ns:
                seen = last
            if abs(expected.target_ns - seen.stamp_ns) > tolerance_ns:
                between = None if last is None else _between(last, now, expected.target_ns, horizon_s)
                if between is None:
                    continue
                seen = between
            if seen.stamp_ns > expected.made_ns:
                judged.append((expected, seen))
        return judged if best is None else [*judged, (best, now)]

    def _score(
        self, predicted_from_ns: int, forecast: Forecast, observation: Observation, near_poses: list[Pose2]
    ) -> ScoredForecast:
        def error(latent_D: np.ndarray) -> float:
            return float(nmse(latent_D - observation.latent_D, self._variance_D))

        revisit = forecast.revisit
        if observation.pose is not None:
            revisit = is_revisit(observation.pose, near_poses)
        return ScoredForecast(
            predicted_from_ns,
            observation.stamp_ns,
            forecast,
            error(forecast.latent_D),
            error(forecast.persistence_D),
            error(forecast.mean_D),
            error(forecast.without_memory_D),
            revisit,
        )


def _between(first: Observation, second: Observation, target_ns: int, horizon_s: float) -> Observation | None:
    """Return what was seen at a time between two frames; ``None`` where they lie too far apart for that horizon."""
    gap_ns = second.stamp_ns - first.stamp_ns
    if not first.stamp_ns < target_ns < second.stamp_ns or not may_judge_between(gap_ns * 1e-9, horizon_s):
        return None
    part = (target_ns - first.stamp_ns) / gap_ns
    latent_D = first.latent_D + part * (second.latent_D - first.latent_D)
    return Observation(target_ns, latent_D, (second if part > 0.5 else first).pose)
