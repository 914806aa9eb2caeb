"""From the present to what follows it, step by step: the one place where the service asks the world model to imagine.

Whoever imagines otherwise implements ``Imaginer``; nothing else of the service knows how.

Shape suffixes: D = latent size, A = action size, S = steps, 3 = x [m], y [m], yaw [rad].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wm_core.memory.packed import Neighbours
from wm_core.se2 import Pose2
from world_model.runtime.artifacts import Artifact
from world_model.runtime.prediction import Forecast, Observation
from world_model.runtime.predictor import Predictor
from world_model.runtime.retrieved import Memory, MemoryRequest

Found = Sequence[Memory] | Neighbours
"""What answers one request."""
Ask = Callable[[Sequence[MemoryRequest]], Sequence[Found]]
"""Answers what the imagination wants to know of the memory, one list per request."""
_SIZES = (20, 50, 100, 200, 400)
"""Steps that predictors are made for: one of these serves all rollouts up to its length."""


@dataclass(frozen=True)
class Imagined:
    """One step ahead.

    Attributes:
        step: From 1.
        horizon_s: Time ahead [s].
        latent_D: What is expected.
        without_memory_D: What would be expected without memories.
        gate: 0: memories had no say, 1: they alone spoke.
        pose: Where the robot is expected to be; None: not known.
        pose_std_3: Standard errors of that pose; None: not known.
        revisit: Whether a memory lies near that pose.
        memory_ids: Memories that were used, nearest first.
    """

    step: int
    horizon_s: float
    latent_D: np.ndarray
    without_memory_D: np.ndarray
    gate: float
    pose: Pose2 | None
    pose_std_3: np.ndarray | None
    revisit: bool
    memory_ids: tuple[int, ...]


class Imaginer(Protocol):
    """Looks ahead."""

    def imagine(
        self, past: Sequence[Observation], plan_SA: np.ndarray | None, steps: int, ask: Ask | None
    ) -> list[Imagined]:
        """Return what follows, one entry per step.

        Args:
            past: Up to the present, which is the last; its action is the one taken now.
            plan_SA: Actions that follow it; the last one is held. None: the present one is held.
            steps: How far, in steps of the artifact.
            ask: The memory; None does without.

        Raises:
            ObservationError: A latent or an action of the wrong size or not finite.
        """


class Forecaster:
    """Imagines by forecasting every step of the way from the present at once, memories asked where each leads.

    Not thread-safe: one thread asks it.

    Args:
        artifact: Its transition.
    """

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._step_s = artifact.manifest.step_s
        self._action_dim = artifact.manifest.action_dim
        self._predictors: dict[int, Predictor] = {}
        self._near = Predictor(artifact)
        self._of(_SIZES[0])

    def predict(
        self, past: Sequence[Observation], plan_SA: np.ndarray | None, ask: Ask | None
    ) -> tuple[tuple[Forecast, ...], tuple[str, ...]]:
        """Return the forecasts for one step and the artifact's horizon, and what lay outside the training range."""
        requests = self._observe(self._near, past, plan_SA)
        memories = ask(requests) if ask is not None and requests else None
        prediction = self._near.predict(memories)
        return prediction.forecasts, prediction.outside

    def imagine(
        self, past: Sequence[Observation], plan_SA: np.ndarray | None, steps: int, ask: Ask | None
    ) -> list[Imagined]:
        """Return what follows; see ``Imaginer``."""
        predictor = self._of(next(size for size in _SIZES if size >= steps))
        requests = self._observe(predictor, past, plan_SA)
        memories: list[Found] | None = None
        if ask is not None and requests:
            # Of the horizons beyond the last step nothing is shown, so nothing is asked.
            found = ask([*requests[:steps], requests[-1]])
            unasked: list[Found] = [()] * (len(requests) - 1 - steps)
            memories = [*found[:-1], *unasked, found[-1]]
        forecasts = predictor.predict(memories).forecasts[:steps]
        return [_imagined(step, forecast) for step, forecast in enumerate(forecasts, start=1)]

    def _of(self, size: int) -> Predictor:
        if size not in self._predictors:
            horizons_s = [self._step_s * step for step in range(1, size + 1)]
            self._predictors[size] = Predictor(self._artifact, horizons_s=horizons_s)
        return self._predictors[size]

    @staticmethod
    def _observe(predictor: Predictor, past: Sequence[Observation], plan_SA: np.ndarray | None) -> list[MemoryRequest]:
        predictor.reset()
        for observation in past[:-1]:
            predictor.observe(observation)
        return predictor.observe(past[-1], plan_SA)


def _imagined(step: int, forecast: Forecast) -> Imagined:
    return Imagined(
        step, forecast.horizon_s, forecast.latent_D, forecast.without_memory_D, forecast.gate, forecast.pose,
        forecast.pose_std_3, forecast.revisit, forecast.memory_ids,
    )  # fmt: skip
