"""Prediction errors: NMSE per forecast, and the tracker that waits for the predicted time to come.

Shape suffixes: D = latent size, ... = any leading dimensions.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from wm_core.se2 import Pose2
from world_model.runtime.predictor import Forecast, Observation, Prediction, is_revisit


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


class ErrorTracker:
    """Matches forecasts with the observation that arrives at their target time.

    A place is a revisit when any forecast for it, the shortest above all, found a memory near it: that must not depend
    on how well a far forecast guessed where the robot would be.

    Args:
        variance_D: Training variance of the latents.
        tolerance_s: Largest distance between a target time and the observation that judges it.
    """

    def __init__(self, variance_D: np.ndarray, tolerance_s: float = 0.025) -> None:
        self._variance_D = np.asarray(variance_D, np.float64)
        self._tolerance_ns = int(tolerance_s * 1e9)
        self._pending: dict[float, deque[tuple[int, int, Forecast]]] = {}
        self._last_ns: int | None = None

    def expect(self, prediction: Prediction) -> None:
        """Remember the forecasts of one prediction until their time comes."""
        for forecast in prediction.forecasts:
            target_ns = prediction.stamp_ns + round(forecast.horizon_s * 1e9)
            queue = self._pending.setdefault(forecast.horizon_s, deque())
            queue.append((target_ns, prediction.stamp_ns, forecast))

    def observe(self, observation: Observation) -> list[ScoredForecast]:
        """Return the forecasts that this observation judges, by horizon; time that jumps back drops the past."""
        if self._last_ns is not None and observation.stamp_ns <= self._last_ns:
            self._pending.clear()
        self._last_ns = observation.stamp_ns
        due = [self._take(self._pending[horizon_s], observation.stamp_ns) for horizon_s in sorted(self._pending)]
        forecasts = [(made_ns, forecast) for _, made_ns, forecast in filter(None, due)]
        near_poses = [pose for _, forecast in forecasts for pose in forecast.memory_poses]
        return [self._score(made_ns, forecast, observation, near_poses) for made_ns, forecast in forecasts]

    def _take(self, queue: deque[tuple[int, int, Forecast]], stamp_ns: int) -> tuple[int, int, Forecast] | None:
        best: tuple[int, int, Forecast] | None = None
        while queue and queue[0][0] <= stamp_ns + self._tolerance_ns:
            candidate = queue.popleft()
            distance = abs(candidate[0] - stamp_ns)
            if distance <= self._tolerance_ns and (best is None or distance < abs(best[0] - stamp_ns)):
                best = candidate
        return best

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
