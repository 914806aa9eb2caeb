"""Prediction errors: NMSE per forecast, and the tracker that waits for the predicted time to come.

Shape suffixes: D = latent size, ... = any leading dimensions.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from wm_core.se2 import Pose2
from world_model.runtime.predictor import Forecast, Observation, Prediction, is_revisit

_SHARE_OF_HORIZON = 0.1


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
    return np.mean(np.asarray(error_D, np.float64) ** 2 / variance_D, axis=-1)


def judging_tolerance_s(horizon_s: float, step_s: float) -> float:
    """Return how far from the predicted time a frame may lie and still judge the forecast [s].

    Half a step, so that one step ahead is judged only by a camera that keeps the step; or a tenth of the horizon, so
    that every camera of 5 Hz or more judges what lies 1 s ahead.
    """
    return max(0.5 * step_s, _SHARE_OF_HORIZON * horizon_s)


def too_slow(gap_s: float, horizon_s: float, step_s: float) -> bool:
    """Return whether frames that come each ``gap_s`` never lie at the predicted time."""
    off_s = abs(max(round(horizon_s / gap_s), 1) * gap_s - horizon_s) if gap_s > 0 else 0.0
    return off_s > judging_tolerance_s(horizon_s, step_s) + 1e-9


@dataclass(frozen=True)
class ScoredForecast:
    """A forecast whose time has come, with the NMSE of each way of predicting it."""

    predicted_from_ns: int
    stamp_ns: int
    forecast: Forecast
    error: float
    error_persistence: float
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
    as soon as the later one is there, if it lies within ``judging_tolerance_s``.

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
            if seen.stamp_ns > expected.made_ns and abs(expected.target_ns - seen.stamp_ns) <= tolerance_ns:
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
            error(forecast.without_memory_D),
            revisit,
        )
