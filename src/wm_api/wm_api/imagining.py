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


@dataclass(frozen=True)
class Look:
    """Where a look ahead begins, and whom it asks.

    Attributes:
        past: Up to the present, which is the last; its action is the one taken now.
        plan_SA: Actions that follow it; the last one is held. None: the present one is held.
        ask: The memory; None: without.
        drive: Number of the drive that the past is of as it is, with nothing planned; None: it is of none.
    """

    past: tuple[Observation, ...]
    plan_SA: np.ndarray | None
    ask: Ask | None
    drive: int | None = None


class Imaginer(Protocol):
    """Looks ahead."""

    def imagine(self, look: Look, steps: int) -> list[Imagined]:
        """Return what follows, one entry per step.

        Args:
            look: Where it begins.
            steps: How far, in steps of the artifact.

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
        self._ahead: dict[int, _Ahead] = {}
        self._near = _Ahead(artifact, None)
        self._of(_SIZES[0])

    def predict(self, look: Look) -> tuple[tuple[Forecast, ...], tuple[str, ...]]:
        """Return the forecasts for one step and the artifact's horizon, and what lay outside the training range."""
        predictor, requests = self._near.begin(look)
        memories = look.ask(requests) if look.ask is not None and requests else None
        prediction = predictor.predict(memories)
        return prediction.forecasts, prediction.outside

    def imagine(self, look: Look, steps: int) -> list[Imagined]:
        """Return what follows; see ``Imaginer``."""
        predictor, requests = self._of(next(size for size in _SIZES if size >= steps)).begin(look)
        memories: list[Found] | None = None
        if look.ask is not None and requests:
            # Of the horizons beyond the last step nothing is shown, so nothing is asked.
            found = look.ask([*requests[:steps], requests[-1]])
            unasked: list[Found] = [()] * (len(requests) - 1 - steps)
            memories = [*found[:-1], *unasked, found[-1]]
        forecasts = predictor.predict(memories).forecasts[:steps]
        return [_imagined(step, forecast) for step, forecast in enumerate(forecasts, start=1)]

    def _of(self, size: int) -> _Ahead:
        if size not in self._ahead:
            self._ahead[size] = _Ahead(self._artifact, [self._step_s * step for step in range(1, size + 1)])
        return self._ahead[size]


class _Ahead:
    """Looks ahead at some horizons: along the drive by a predictor that goes with it, from elsewhere by another one.

    Who goes along has seen more than a look brings and learns what forecasts are worth, and a look costs what is new.

    Args:
        artifact: Its transition.
        horizons_s: Times ahead [s]; None: the artifact's.
    """

    def __init__(self, artifact: Artifact, horizons_s: Sequence[float] | None) -> None:
        self._along, self._elsewhere = (Predictor(artifact, horizons_s=horizons_s) for _ in range(2))
        self._drive, self._last_ns = -1, -1
        self._requests: list[MemoryRequest] = []

    def begin(self, look: Look) -> tuple[Predictor, list[MemoryRequest]]:
        """Return who has observed the past, and what it asks of the memory."""
        drive, now_ns = look.drive, look.past[-1].stamp_ns
        if drive is None or (drive, now_ns) < (self._drive, self._last_ns):
            self._elsewhere.reset()
            for observation in look.past[:-1]:
                self._elsewhere.observe(observation)
            return self._elsewhere, self._elsewhere.observe(look.past[-1], look.plan_SA)
        if drive > self._drive:
            self._along.reset()
            self._drive, self._last_ns = drive, -1
        for observation in look.past:
            if observation.stamp_ns > self._last_ns:
                self._requests = self._along.observe(observation)
                self._last_ns = observation.stamp_ns
        return self._along, self._requests


def _imagined(step: int, forecast: Forecast) -> Imagined:
    return Imagined(
        step, forecast.horizon_s, forecast.latent_D, forecast.without_memory_D, forecast.gate, forecast.pose,
        forecast.pose_std_3, forecast.revisit, forecast.memory_ids,
    )  # fmt: skip
