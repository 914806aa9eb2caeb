"""Where plans lead from one moment: the motion model run ahead for many candidates at once.

Shape suffixes: B = candidates, S = steps ahead, A = action size, L = commands on their way, F = action features,
3 = (forward [m], left [m], turn [rad]) in the robot's frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from world_model.runtime.motion_model import MotionModel, action_features

# Beyond the times it was measured at a standard error grows with a power of time between these.
_LEAST_POWER, _MOST_POWER = 0.5, 1.5


@dataclass(frozen=True)
class MotionStart:
    """A motion model at one moment.

    Attributes:
        model: Fitted parameters.
        step_s: Step that it was fitted at [s].
        before_3: Twist before the present action had any effect; ``None``: none was ever taken.
        pending_L3: Commands before the present one that have had no effect yet, oldest first.
        measured_3: Velocity that the poses show; ``None`` without poses.
        residual_3: What the poses say the modelled velocity is not; ``None`` where they do not.
    """

    model: MotionModel
    step_s: float
    before_3: np.ndarray | None = None
    pending_L3: np.ndarray | None = None
    measured_3: np.ndarray | None = None
    residual_3: np.ndarray | None = None

    def displacements(self, action_BSA: np.ndarray) -> np.ndarray | None:
        """Return where the robot will be after each step of each plan, [B, S, 3].

        Args:
            action_BSA: Actions; the first is taken now, in the place of whatever was.

        Returns:
            Displacements, or ``None`` where nothing says anything about motion.
        """
        twist_BS3 = self._twists(np.asarray(action_BSA, np.float64))
        return None if twist_BS3 is None else integrated(twist_BS3, self.step_s)

    def _twists(self, action_BSA: np.ndarray) -> np.ndarray | None:
        share_3 = np.array(self.model.residual_share)
        shape = (*action_BSA.shape[:2], 3)
        if not self.model.weights:
            return None if self.measured_3 is None else np.broadcast_to(share_3 * self.measured_3, shape)
        twist_BS3 = self._driven(self._commands(action_BSA))
        return twist_BS3 if self.residual_3 is None else twist_BS3 + share_3 * self.residual_3

    def _commands(self, action_BSA: np.ndarray) -> np.ndarray:
        flat_XA = self.model.limited(action_BSA.reshape(-1, action_BSA.shape[2]))
        command_X3 = action_features(flat_XA) @ np.array(self.model.weights).T
        command_BS3: np.ndarray = command_X3.reshape(*action_BSA.shape[:2], 3)
        return command_BS3

    def _driven(self, command_BS3: np.ndarray) -> np.ndarray:
        """Return the twist of each step, behind delay and lag."""
        count, steps, _ = command_BS3.shape
        pending_L3 = np.empty((0, 3)) if self.pending_L3 is None else self.pending_L3
        line_BC3 = np.concatenate([np.broadcast_to(pending_L3, (count, *pending_L3.shape)), command_BS3], axis=1)
        # Until the delay line has filled, its oldest command stays in force.
        missing = self.model.delay_steps - len(pending_L3)
        index_S = np.clip(np.arange(steps) - missing, 0, line_BC3.shape[1] - 1)
        gain, before_3 = self.model.gain, self.before_3 if self.before_3 is not None else self.measured_3
        twist_B3 = line_BC3[:, 0] if before_3 is None else before_3 + gain * (line_BC3[:, 0] - before_3)
        twists = [twist_B3]
        for index in index_S[1:].tolist():
            twist_B3 = twist_B3 + gain * (line_BC3[:, index] - twist_B3)
            twists.append(twist_B3)
        return np.stack(twists, axis=1)


def integrated(twist_BS3: np.ndarray, step_s: float) -> np.ndarray:
    """Return the displacement after each step of many twists, [B, S, 3], by the midpoint rule."""
    turn_BS = np.cumsum(twist_BS3[..., 2], axis=1) * step_s
    middle_BS = turn_BS - 0.5 * twist_BS3[..., 2] * step_s
    cosine_BS, sine_BS = np.cos(middle_BS), np.sin(middle_BS)
    forward_BS = np.cumsum(twist_BS3[..., 0] * cosine_BS - twist_BS3[..., 1] * sine_BS, axis=1) * step_s
    left_BS = np.cumsum(twist_BS3[..., 0] * sine_BS + twist_BS3[..., 1] * cosine_BS, axis=1) * step_s
    return np.stack([forward_BS, left_BS, turn_BS], axis=-1)


def error_ahead(model: MotionModel, times_s: Sequence[float]) -> np.ndarray:
    """Return the standard errors of the displacement when the actions are known, however far ahead, [S, 3].

    Linear between the times that they were measured at; beyond the last they go on as between the last two.

    Args:
        model: Fitted parameters.
        times_s: Times ahead [s].
    """
    time_S = np.asarray(times_s, np.float64)
    if not model.error_std:
        return np.zeros((len(time_S), 3))
    measured_H, table_H3 = np.array(model.error_horizons_s), np.array(model.error_std)
    std_S3 = np.stack([np.interp(time_S, measured_H, table_H3[:, axis]) for axis in range(3)], axis=1)
    power_3 = np.ones(3)
    if len(measured_H) > 1:
        grown_3 = np.maximum(table_H3[-1], 1e-9) / np.maximum(table_H3[-2], 1e-9)
        power_3 = np.clip(np.log(grown_3) / np.log(measured_H[-1] / measured_H[-2]), _LEAST_POWER, _MOST_POWER)
    beyond_S1 = np.maximum(time_S / measured_H[-1], 1.0)[:, None]
    ahead_S3: np.ndarray = std_S3 * beyond_S1**power_3
    return ahead_S3
