"""The motion of the robot at hand: the model that fits it best so far, run along what is observed.

Shape suffixes: S = steps ahead, A = action size, H = horizons, 3 = (forward [m], left [m], turn [rad]).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wm_core.se2 import Pose2
from world_model.runtime.calibration import HELD_FUTURE, KNOWN_FUTURE, SHIPPED, MotionCalibration
from world_model.runtime.motion import MotionTracker
from world_model.runtime.motion_model import MotionModel, expected_error
from world_model.runtime.motion_start import MotionStart

# Another model that is put into use has forgotten its beginning after so many observations.
_REPLAYED = 60
_TOLD = {KNOWN_FUTURE: "with the actions that followed", HELD_FUTURE: "with the last action held"}


class OwnMotion:
    """A motion tracker that changes to a better model when one was learned.

    Args:
        shipped: The artifact's model.
        step_s: Its step [s].
        action_dim: A.
        horizons_s: Times ahead of ``known_std_H3`` [s].
        judged_s: Time ahead at which models are judged [s].
        calibrate: False keeps the shipped model.

    Attributes:
        calibration: What learns; ``None`` where nothing is to be learned.
        known_std_H3: Standard errors of the displacements while the actions are known.
    """

    def __init__(
        self,
        shipped: MotionModel,
        step_s: float,
        action_dim: int,
        horizons_s: Sequence[float],
        judged_s: float,
        calibrate: bool = True,
    ) -> None:
        self._step_s, self._action_dim, self._horizons_s = step_s, action_dim, tuple(horizons_s)
        measured_s = shipped.error_horizons_s or self._horizons_s
        self.calibration: MotionCalibration | None = None
        if calibrate:
            self.calibration = MotionCalibration(shipped, step_s, action_dim, judged_s, measured_s)
        self._recent: deque[tuple[int, Pose2 | None, np.ndarray | None]] = deque(maxlen=_REPLAYED)
        self._use(shipped)

    @property
    def pose(self) -> Pose2 | None:
        """The last pose, smoothed; ``None`` without one."""
        return self._tracker.pose

    @property
    def model(self) -> MotionModel:
        """The model in use."""
        return self._model

    @property
    def steered(self) -> MotionModel:
        """The model in use; where that one follows no actions, another one that does, if there is any."""
        return self._model if self.calibration is None else self.calibration.steered()

    def restart(self) -> None:
        """Let what comes next not follow from what came before; what was learned stays."""
        self._recent.clear()
        self._tracker.reset()
        if self.calibration is not None:
            self.calibration.restart()

    def update(
        self, stamp_ns: int, pose: Pose2 | None, action_A: np.ndarray | None, known_future: bool = False
    ) -> bool:
        """Take one observation; return whether another model is in use since the last one.

        Args:
            stamp_ns: Its time.
            pose: Measured.
            action_A: The one taken now.
            known_future: The actions that follow will be told to ``displacements``.

        Raises:
            ObservationError: The action has the wrong length or is not finite.
        """
        changed = False
        if self.calibration is not None:
            model = self.calibration.model(KNOWN_FUTURE if known_future else HELD_FUTURE)
            changed = model is not self._model
            if changed:
                self._use(model)
        self._tracker.update(stamp_ns, pose, action_A)
        if self.calibration is not None:
            self._recent.append((stamp_ns, pose, action_A))
            self.calibration.observe(stamp_ns, pose, action_A)
        return changed

    def learn(self) -> None:
        """Learn a little from the last observation; what comes of it is in use from the next one on."""
        if self.calibration is not None:
            self.calibration.learn()

    def displacements(self, steps: int, plan_SA: np.ndarray | None = None) -> np.ndarray | None:
        """Return where the robot will be after 1..``steps`` steps, [S, 3]; see ``MotionTracker.displacements``."""
        return self._tracker.displacements(steps, plan_SA)

    def start(self) -> MotionStart:
        """Return the motion as it is now, to follow plans: by a model that follows actions, if there is one."""
        model = self.steered
        return (self._tracker if model is self._model else self._replayed(model)).start()

    def state(self) -> dict[str, Any] | None:
        """Return what a later start goes on from, JSON-ready; ``None`` where nothing is to be learned."""
        return None if self.calibration is None else self.calibration.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned, from the next observation on.

        Raises:
            ProfileError: It is of another step or count of actions, or malformed.
        """
        if self.calibration is not None:
            self.calibration.restore(state)

    def says(self) -> str:
        """Return which model is in use where the last action is held, and how it and the shipped one did, in words."""
        calibration = self.calibration
        if calibration is None:
            return f"{SHIPPED}, not calibrated"
        name = calibration.names[HELD_FUTURE]
        text, model = name, calibration.model(HELD_FUTURE)
        if model.weights:
            delay_s, lag_s = model.delay_steps * self._step_s, model.lag_steps * self._step_s
            text += f", delay {delay_s:.2f} s, lag {lag_s:.2f} s"
        mine, theirs = calibration.figures(name, HELD_FUTURE), calibration.figures(SHIPPED, HELD_FUTURE)
        if mine is None or theirs is None:
            return text
        text += f", misses {mine.position_m:.2f} m and {mine.turn_deg:.1f} deg {_TOLD[HELD_FUTURE]}"
        if name != SHIPPED:
            text += f"; the shipped model {theirs.position_m:.2f} m and {theirs.turn_deg:.1f} deg"
        return text

    def _use(self, model: MotionModel) -> None:
        """Put a model into use as if it had been so for the last few seconds."""
        self._model, self._tracker = model, self._replayed(model)
        self.known_std_H3 = expected_error(model, self._horizons_s)

    def _replayed(self, model: MotionModel) -> MotionTracker:
        """Return a tracker of a model that has seen the last few seconds."""
        tracker = MotionTracker(model, self._step_s, self._action_dim)
        for stamp_ns, pose, action_A in self._recent:
            tracker.update(stamp_ns, pose, action_A)
        return tracker
