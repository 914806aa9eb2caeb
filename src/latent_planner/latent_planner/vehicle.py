"""Many futures of the robot at once: the fitted motion model, rolled out for a batch of plans.

Shape suffixes: B = plans, S = steps, A = action size, F = action features, 3 = (forward, left, turn) or (x, y, yaw).
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from world_model.runtime.motion_model import MotionModel, action_features


class Response(NamedTuple):
    """The twist of each step as a sum over commands that are each held for some steps, and of what comes without them.

    Attributes:
        share_TS: How much of each command each step does.
        free_T3: What each step does besides, of what was told before.
        weight_F3: From a command's features to the twist that it asks for.
    """

    share_TS: np.ndarray
    free_T3: np.ndarray
    weight_F3: np.ndarray


class Vehicle:
    """Where the robot is, what it was told lately, and where any plan would take it.

    Args:
        model: The fitted motion model.
        step_s: Step that it was fitted at [s].
        action_dim: Action size A.

    Raises:
        ValueError: The model knows nothing of actions, or of another number of them.
    """

    def __init__(self, model: MotionModel, step_s: float, action_dim: int) -> None:
        features = action_features(np.zeros((1, action_dim))).shape[1]
        if not model.weights or len(model.weights[0]) != features:
            raise ValueError(f"the motion model has no weights for {action_dim} actions, so nothing can be planned")
        self._model, self.step_s, self.action_dim = model, step_s, action_dim
        self._weights_F3 = np.array(model.weights).T
        self._told: deque[np.ndarray] = deque(maxlen=model.delay_steps + 1)
        self._twist_3 = np.zeros(3)
        self._shares: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

    def reset(self) -> None:
        """Forget what it was told: the robot stands."""
        self._told.clear()
        self._twist_3 = np.zeros(3)

    def settle(self, action_A: np.ndarray) -> None:
        """Take note that it has been told the same for long: it does so by now."""
        command_3 = action_features(np.asarray(action_A, np.float64)[None])[0] @ self._weights_F3
        self._told.extend([command_3] * (self._model.delay_steps + 1))
        self._twist_3 = command_3

    def told(self, action_A: np.ndarray) -> None:
        """Note the command of the step that begins now."""
        command_3 = action_features(np.asarray(action_A, np.float64)[None])[0] @ self._weights_F3
        self._told.append(command_3)
        self._twist_3 = self._twist_3 + self._model.gain * (self._told[0] - self._twist_3)

    def roll_out(self, pose_3: np.ndarray, plan_BSA: np.ndarray) -> np.ndarray:
        """Return the pose after each step of each plan, [B, S, 3] (x, y [m], yaw [rad], yaw not wrapped).

        Args:
            pose_3: Where the robot is now: x, y [m], yaw [rad].
            plan_BSA: Commands of the coming steps.
        """
        batch, steps, _ = plan_BSA.shape
        twist_BS3 = self._twists(plan_BSA)
        turn_BS = np.cumsum(twist_BS3[..., 2], axis=1) * self.step_s
        middle_BS = pose_3[2] + turn_BS - 0.5 * self.step_s * twist_BS3[..., 2]
        cosine_BS, sine_BS = np.cos(middle_BS), np.sin(middle_BS)
        pose_BS3 = np.empty((batch, steps, 3), twist_BS3.dtype)
        ahead_BS, left_BS = twist_BS3[..., 0], twist_BS3[..., 1]
        pose_BS3[..., 0] = pose_3[0] + np.cumsum(ahead_BS * cosine_BS - left_BS * sine_BS, axis=1) * self.step_s
        pose_BS3[..., 1] = pose_3[1] + np.cumsum(ahead_BS * sine_BS + left_BS * cosine_BS, axis=1) * self.step_s
        pose_BS3[..., 2] = pose_3[2] + turn_BS
        return pose_BS3

    def response(self, commands: int, held: int) -> Response:
        """Return how coming twists follow from commands, which a matrix product then works out.

        Args:
            commands: How many, S.
            held: For how many steps each is held; T is their product.
        """
        if (commands, held) not in self._shares:
            step_T, delay = np.arange(commands * held), self._model.delay_steps
            late_TT = step_T[:, None] - step_T
            kernel_TT = np.where(late_TT >= 0, self._model.gain * (1.0 - self._model.gain) ** np.abs(late_TT), 0.0)
            obeyed_TS = (step_T - delay)[:, None] // held == np.arange(commands)
            self._shares[commands, held] = kernel_TT @ obeyed_TS, kernel_TT[:, :delay]
        share_TS, waiting_TQ = self._shares[commands, held]
        fading_T = (1.0 - self._model.gain) ** np.arange(1, commands * held + 1)
        free_T3 = np.outer(fading_T, self._twist_3) + waiting_TQ @ self._queue()[: waiting_TQ.shape[1]]
        return Response(share_TS, free_T3, self._weights_F3)

    def _queue(self) -> np.ndarray:
        """Return what was told and is not obeyed yet, [Q, 3]."""
        waiting = list(self._told)[1:] if len(self._told) > self._model.delay_steps else list(self._told)
        missing = self._model.delay_steps - len(waiting)
        # Before anything was told the robot does what it does now.
        return np.array([self._twist_3] * missing + waiting).reshape(-1, 3)

    def _twists(self, plan_BSA: np.ndarray) -> np.ndarray:
        """Return the twist of each step: what was told is obeyed after the delay, and with the lag."""
        batch, steps, _ = plan_BSA.shape
        command_BS3 = _features(plan_BSA) @ self._weights_F3.astype(plan_BSA.dtype)
        queue_Q3 = self._queue()
        gain = self._model.gain
        twist_BS3 = np.empty((batch, steps, 3), plan_BSA.dtype)
        twist_B3 = np.tile(self._twist_3, (batch, 1)).astype(plan_BSA.dtype)
        for step in range(steps):
            late = step - self._model.delay_steps
            twist_B3 += gain * ((queue_Q3[step] if late < 0 else command_BS3[:, late]) - twist_B3)
            twist_BS3[:, step] = twist_B3
        return twist_BS3


def _features(action_BSA: np.ndarray) -> np.ndarray:
    batch, steps, actions = action_BSA.shape
    flat = action_features(action_BSA.reshape(-1, actions))
    return flat.reshape(batch, steps, -1).astype(action_BSA.dtype)
