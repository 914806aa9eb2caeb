"""What the transition carries from observation to observation, a step at a time.

Shape suffixes: C = state size, D = latent size, A = action size, H = horizons, M = motion features.
"""

from __future__ import annotations

import numpy as np

from world_model.runtime.arrays import ObservedArrays
from world_model.runtime.prediction import Observation
from world_model.runtime.ranges import TrainingRange
from world_model.runtime.served import ServedTransition
from world_model.runtime.stepping import StepCounter, between_rows


class Context:
    """The transition's state along a stream of observations.

    Args:
        transition: Whose state.
        training_range: What latents are limited to.
        nothing: What is known before anything was observed.
        step_s: Of the artifact [s].
        action_dim: A.

    Attributes:
        transition: Whose state.
        present: What is known now.
        before_1C: The state before the newest latent was observed.
    """

    def __init__(
        self,
        transition: ServedTransition,
        training_range: TrainingRange,
        nothing: ObservedArrays,
        step_s: float,
        action_dim: int,
    ) -> None:
        self.transition, self._range, self._nothing = transition, training_range, nothing
        self._counter = StepCounter(step_s)
        self._action_dim = action_dim
        self.restart()

    def restart(self) -> None:
        """Forget what came: what comes next does not follow from it."""
        self.present = self._nothing._replace(state=self.transition.initial(1))
        self.before_1C = self.present.state
        self._counter.reset()

    def advance(self, observation: Observation) -> int:
        """Take in an observation, a step at a time: of a slower camera those between are interpolated.

        Of a faster one the newest frame of a step takes the place of the one before.

        Returns:
            How many steps that were.
        """
        steps = self._counter.advance(observation.stamp_ns)
        latent_1D, action_1A = row(self._range.latent(observation.latent_D)), self._action_row(observation)
        last = self.present
        state_1C = self.before_1C if steps == 0 else last.state
        for step in range(1, steps):
            part = step / steps
            between = between_rows(last.latent, latent_1D, part), between_rows(last.action, action_1A, part)
            state_1C = self.transition.observe(*between, state_1C)
        self.before_1C = state_1C
        state_1C = self.transition.observe(latent_1D, action_1A, state_1C)
        self.present = last._replace(state=state_1C, latent=latent_1D, action=action_1A)
        return steps

    def rebase(self, latent_D: np.ndarray) -> None:
        """Go on from the newest latent in another basis."""
        self.present = self.present._replace(latent=row(latent_D))

    def moving(self, motion_1HM: np.ndarray) -> ObservedArrays:
        """Return what is known now, with an expected motion."""
        return self.present._replace(motion=motion_1HM)

    def _action_row(self, observation: Observation) -> np.ndarray:
        # NaN tells the transition that the action is not known.
        unknown_A = np.full(self._action_dim, np.nan, np.float32)
        return row(unknown_A if observation.action_A is None else observation.action_A)


def row(values_D: np.ndarray) -> np.ndarray:
    """Return values as a batch of one, float32."""
    return np.array(values_D, np.float32)[None]
