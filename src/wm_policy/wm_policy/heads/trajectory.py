"""A path that can be driven: Bezier curves of acceleration and curvature, integrated as a unicycle drives.

Shape suffixes: B = batch, C = condition size, K = steps, P = control points, 2 = (forward, left) [m].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wm_policy.errors import InputError
from wm_policy.heads.base import ActionHead, masked_mean, mlp

STEPS, STEP_S, CONTROL_POINTS = 64, 0.1, 5


class TrajectoryHead(ActionHead):
    """Where to be at each of 64 steps of 0.1 s, in the frame of where the robot is now.

    It turns only while it moves: a robot that turns on the spot needs another head.

    Args:
        condition_dim: C.
        action_dim: 2, forward and left.
        chunk: K.
        step_s: Time between steps [s].
        hidden: Size of each hidden layer.
        acceleration_scale: Acceleration that counts as 1 [m/s^2].
        curvature_scale: Curvature that counts as 1 [1/m].

    Raises:
        InputError: ``action_dim`` is another, or the step is not above 0.
    """

    basis_KP: Tensor

    def __init__(
        self,
        condition_dim: int,
        action_dim: int = 2,
        chunk: int = STEPS,
        step_s: float = STEP_S,
        hidden: tuple[int, ...] = (256, 256),
        acceleration_scale: float = 1.0,
        curvature_scale: float = 1.0,
    ) -> None:
        super().__init__(condition_dim, action_dim, chunk)
        if action_dim != 2:
            raise InputError(f"a trajectory has action_dim 2 (forward, left), not {action_dim}")
        if not 0.0 < step_s < math.inf:
            raise InputError(f"step_s is {step_s}, expected more than 0 s")
        self.step_s = step_s
        self.scales = (acceleration_scale, curvature_scale)
        self.network = mlp([condition_dim, *hidden, 2 * CONTROL_POINTS + 1])
        self.register_buffer("basis_KP", bernstein(chunk, CONTROL_POINTS))

    def controls(self, condition_BC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return acceleration [m/s^2] and curvature [1/m] of each step, [B, K] each, and the speed foreseen [B]."""
        out_BX = self.network(condition_BC)
        point_B2P = out_BX[:, :-1].unflatten(1, (2, CONTROL_POINTS))
        curve_B2K = point_B2P @ self.basis_KP.T
        return curve_B2K[:, 0] * self.scales[0], curve_B2K[:, 1] * self.scales[1], out_BX[:, -1]

    def drive(self, condition_BC: Tensor, speed_B: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the path [B, K, 2] [m] and the twist on it [B, K, 2]: forward speed [m/s], yaw rate [rad/s].

        Args:
            condition_BC: What is known.
            speed_B: Present forward speed [m/s]; default: what the network takes it for.

        Raises:
            InputError: One has another shape.
        """
        self.check(condition_BC=condition_BC, speed_B=speed_B)
        acceleration_BK, curvature_BK, foreseen_B = self.controls(condition_BC)
        return unicycle(foreseen_B if speed_B is None else speed_B, acceleration_BK, curvature_BK, self.step_s)

    def forward(self, condition_BC: Tensor, noise_BKA: Tensor | None = None) -> Tensor:
        """Return the path [B, K, 2] [m]; noise changes nothing."""
        self.check(condition_BC=condition_BC, noise_BKA=noise_BKA)
        return self.drive(condition_BC)[0]

    def losses(self, condition_BC: Tensor, action_BKA: Tensor, valid_BK: Tensor | None = None) -> dict[str, Tensor]:
        """Return how far off the path is as ``action`` [m]."""
        known_BKA = self.known_actions(condition_BC, action_BKA, valid_BK)
        return {"action": path_loss(self(condition_BC), known_BKA, valid_BK)}


def path_loss(path_BK2: Tensor, truth_BK2: Tensor, valid_BK: Tensor | None = None) -> Tensor:
    """Return the mean distance [m], smooth within 5 cm."""
    truth_BK2 = truth_BK2 if valid_BK is None else torch.where(valid_BK.unsqueeze(-1), truth_BK2, path_BK2.detach())
    # The root of a plain square has no gradient where nothing is off.
    distance_BK1 = ((path_BK2 - truth_BK2).square().sum(dim=-1, keepdim=True) + 0.05**2).sqrt() - 0.05
    return masked_mean(distance_BK1, valid_BK)


def unicycle(speed_B: Tensor, acceleration_BK: Tensor, curvature_BK: Tensor, step_s: float) -> tuple[Tensor, Tensor]:
    """Return positions [B, K, 2] after each step and the twists that lead there, by the midpoint rule.

    Args:
        speed_B: Forward speed at the start [m/s].
        acceleration_BK: Along the path [m/s^2].
        curvature_BK: Of the path [1/m].
        step_s: Time of a step [s].
    """
    after_BK = speed_B.unsqueeze(1) + acceleration_BK.cumsum(dim=1) * step_s
    middle_BK = after_BK - 0.5 * step_s * acceleration_BK
    rate_BK = middle_BK * curvature_BK
    yaw_BK = (rate_BK.cumsum(dim=1) - 0.5 * rate_BK) * step_s
    step_BK2 = torch.stack([middle_BK * yaw_BK.cos(), middle_BK * yaw_BK.sin()], dim=-1) * step_s
    return step_BK2.cumsum(dim=1), torch.stack([middle_BK, rate_BK], dim=-1)


def bernstein(steps: int, points: int) -> Tensor:
    """Return the weight of each control point of a Bezier curve at the middle of each step, [K, P]."""
    share_K1 = ((torch.arange(steps) + 0.5) / steps).unsqueeze(1)
    degree = points - 1
    number_P = torch.arange(points)
    choose_P = torch.tensor([float(math.comb(degree, index)) for index in range(points)])
    result: Tensor = choose_P * share_K1**number_P * (1.0 - share_K1) ** (degree - number_P)
    return result


__all__ = ["CONTROL_POINTS", "STEPS", "STEP_S", "TrajectoryHead", "bernstein", "path_loss", "unicycle"]
