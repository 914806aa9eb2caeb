"""The topic ``/prediction_error``: forecasts judged when their time has come, and which of them never can be."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from transition_predictor.messages import error_to_msg
from wm_interfaces.msg import LatentState, PredictionError
from wm_ros import Health, ManagedNode, qos
from world_model.runtime.metrics import ErrorTracker, ScoredForecast, misses, too_slow
from world_model.runtime.predictor import Observation, Prediction
from world_model.runtime.stepping import measured_step_s

_REMEMBERED_PREDICTIONS = 200
_RATED_FRAMES, _RATED_EVERY = 12, 5


class Scoring:
    """Judges forecasts by the latents that come, and says which ones a camera is too slow for.

    Args:
        node: Owns the publisher.
        health: Where it says what is not scored.
        variance_D: The unit of errors.
        step_s: Of the artifact [s].
    """

    def __init__(self, node: ManagedNode[Any], health: Health, variance_D: np.ndarray, step_s: float) -> None:
        self.publisher = node.create_publisher(PredictionError, "prediction_error", qos.STREAM)
        self._health, self._step_s = health, step_s
        self._degraded: OrderedDict[int, bool] = OrderedDict()
        self._stamps: deque[int] = deque(maxlen=2 * _RATED_FRAMES)
        self._unrated_count = 0
        self.change_unit(variance_D)

    def change_unit(self, variance_D: np.ndarray) -> None:
        """Measure errors in another unit: forecasts made so far are never judged in it."""
        self._tracker = ErrorTracker(variance_D, self._step_s / 2)
        self._degraded.clear()

    def follow_time(self, now_ns: int) -> bool:
        """Take note of a latent's time; return whether it jumped back: what was gathered is of another timeline."""
        has_jumped = bool(self._stamps) and now_ns <= self._stamps[-1]
        if has_jumped:
            self._stamps.clear()
            self._degraded.clear()
        self._stamps.append(now_ns)
        return has_jumped

    def expect(self, prediction: Prediction, *, degraded: bool) -> None:
        """Remember forecasts until their time comes; ``degraded`` ones lack memories that were wanted."""
        self._tracker.expect(prediction)
        self._degraded[prediction.stamp_ns] = degraded
        while len(self._degraded) > _REMEMBERED_PREDICTIONS:
            self._degraded.popitem(last=False)

    def judge(self, observation: Observation) -> Sequence[ScoredForecast]:
        """Return the forecasts whose time has come, with their errors."""
        return self._tracker.observe(observation)

    def publish(self, state: LatentState, judged: Sequence[ScoredForecast]) -> None:
        """Publish errors that were judged at a latent."""
        for scored in judged:
            degraded = self._degraded.get(scored.predicted_from_ns, False)
            self.publisher.publish(error_to_msg(state, scored, self._step_s, degraded=degraded))
            self._health.sample(f"error_{scored.forecast.horizon_s:g}", scored.error)

    def say_what_is_not(self, horizons_s: Sequence[float]) -> bool:
        """Publish now and then which forecasts no frame can ever judge; return whether it did."""
        self._unrated_count += 1
        if len(self._stamps) <= _RATED_FRAMES or self._unrated_count < _RATED_EVERY:
            return False
        self._unrated_count = 0
        gap_s, step_s = measured_step_s(np.array(self._stamps)), self._step_s
        slow = [horizon_s for horizon_s in horizons_s if too_slow(gap_s, horizon_s, step_s)]
        for horizon_s in horizons_s:
            text = "scored"
            if horizon_s in slow:
                text = f"not scored: camera too slow, a latent each {gap_s:.3f} s"
            elif misses(gap_s, horizon_s, step_s):
                text = f"scored: interpolated between latents {gap_s:.3f} s apart"
            self._health.gauge(f"forecast_{horizon_s:g}s", text)
        # A camera that shows no single step is a choice; one that shows nothing leaves no error to learn from.
        all_slow = f"no forecast can be scored: camera too slow, a latent each {gap_s:.3f} s; raise its rate"
        self._health.degrade("scoring", all_slow if len(slow) == len(horizons_s) else None)
        return True
