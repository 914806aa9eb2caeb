"""What is to be imagined and what came of it.

Shape suffixes: B = candidates, S = steps, A = action size, D = latent size, K = memories, 3 = (x, y, yaw).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from wm_core.bounds import LARGEST_ACTION, LARGEST_POSITION_M
from world_model.errors import ImaginationError

LONGEST_S = 5.0
"""Furthest that is imagined [s]."""
MOST_CELLS = 65_536
"""Most steps of all candidates together."""
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Plan:
    """What is done: actions, or the path that results from some that are not known.

    Attributes:
        action_BSA: Actions, the first is taken now; NaN: not known.
        pose_BS3: Where the robot will be after each step; ``None``: where the motion model says.
    """

    action_BSA: np.ndarray
    pose_BS3: np.ndarray | None = None

    @property
    def count(self) -> int:
        """Candidates, B."""
        return int(self.action_BSA.shape[0])

    @property
    def steps(self) -> int:
        """Steps, S."""
        return int(self.action_BSA.shape[1])

    @classmethod
    def of_actions(cls, action_BSA: np.ndarray, action_dim: int, step_s: float, horizon_s: float = 0.0) -> Plan:
        """Return a plan of actions, the last of which is held until the horizon.

        Args:
            action_BSA: Actions [B, S, A], or those of one candidate [S, A], or one that is held [A].
            action_dim: A.
            step_s: Time of one step [s].
            horizon_s: How far ahead [s]; 0: as far as there are actions.

        Raises:
            ImaginationError: ``action-size``, ``no-actions``, ``not-finite``, ``action-too-large``, ``horizon`` or
                ``too-many``.
        """
        action_BSA = np.array(action_BSA, np.float32)
        if action_BSA.ndim not in (1, 2, 3) or action_BSA.shape[-1] != action_dim:
            raise ImaginationError(
                "action-size", f"actions of shape {list(action_BSA.shape)}, expected {action_dim} numbers for each step"
            )
        while action_BSA.ndim < 3:
            action_BSA = action_BSA[None]
        if not action_BSA.size:
            raise ImaginationError("no-actions", f"actions of shape {list(action_BSA.shape)}, expected at least one")
        _check_finite(action_BSA, "actions")
        _check_within(action_BSA, "action-too-large", LARGEST_ACTION)
        given = int(action_BSA.shape[1])
        steps = steps_until(horizon_s, step_s) if horizon_s else given
        _check_size(len(action_BSA), steps, step_s)
        row_S = np.minimum(np.arange(steps), given - 1)
        return cls(action_BSA[:, row_S])

    @classmethod
    def of_path(
        cls,
        pose_P3: np.ndarray,
        spacing_s: float,
        action_dim: int,
        step_s: float,
        start_3: np.ndarray,
        horizon_s: float = 0.0,
    ) -> Plan:
        """Return a plan that follows poses.

        Args:
            pose_P3: Where the robot will be, the first one spacing from now.
            spacing_s: Time between them [s]; 0: one step.
            action_dim: A.
            step_s: Time of one step [s].
            start_3: Where it is now.
            horizon_s: How far ahead [s]; 0: to the end of the path. Beyond that the robot stands there.

        Raises:
            ImaginationError: ``no-path``, ``not-finite``, ``pose-too-far``, ``horizon`` or ``too-many``.
        """
        pose_P3 = np.asarray(pose_P3, np.float64)
        if pose_P3.ndim != 2 or pose_P3.shape[1:] != (3,) or not len(pose_P3):
            raise ImaginationError("no-path", f"a path of shape {list(pose_P3.shape)}, expected poses x, y, yaw")
        _check_finite(pose_P3, "path")
        _check_within(pose_P3, "pose-too-far", LARGEST_POSITION_M)
        spacing_s = spacing_s or step_s
        if not (np.isfinite(spacing_s) and spacing_s > 0.0):
            raise ImaginationError("horizon", f"poses {spacing_s:g} s apart, expected more than 0")
        steps = steps_until(horizon_s or len(pose_P3) * spacing_s, step_s)
        _check_size(1, steps, step_s)
        whole_P3 = np.concatenate([np.asarray(start_3, np.float64)[None], pose_P3])
        whole_P3[:, 2] = np.unwrap(whole_P3[:, 2])
        time_S, time_P = np.arange(1, steps + 1) * step_s, np.arange(len(whole_P3)) * spacing_s
        pose_S3 = np.stack([np.interp(time_S, time_P, column_P) for column_P in whole_P3.T], axis=1)
        return cls(np.full((1, steps, action_dim), np.nan, np.float32), pose_S3[None])


def steps_until(horizon_s: float, step_s: float) -> int:
    """Return how many steps a time ahead has.

    Raises:
        ImaginationError: ``horizon``: less than a step, more than ``LONGEST_S``, or no number.
    """
    if not (np.isfinite(horizon_s) and step_s * (1.0 - _ROUNDING) <= horizon_s <= LONGEST_S + _ROUNDING):
        raise ImaginationError("horizon", f"{horizon_s:g} s ahead, expected {step_s:g} to {LONGEST_S:g} s")
    return max(int(np.floor(horizon_s / step_s + _ROUNDING)), 1)


def _check_size(candidates: int, steps: int, step_s: float) -> None:
    steps_until(steps * step_s, step_s)
    if candidates * steps > MOST_CELLS:
        raise ImaginationError("too-many", f"{candidates} candidates of {steps} steps, at most {MOST_CELLS} in all")


def _check_finite(values: np.ndarray, name: str) -> None:
    if not np.isfinite(values).all():
        raise ImaginationError("not-finite", f"{name}: a value is not finite")


def _check_within(values: np.ndarray, reason: str, largest: float) -> None:
    far = float(np.abs(values).max())
    if far > largest:
        raise ImaginationError(reason, f"a value of {far:g}, expected at most {largest:g}")


@dataclass(frozen=True)
class Imagined:
    """What follows, step by step.

    Attributes:
        time_S: Times ahead [s].
        latent_BSD: What is seen.
        base_BSD: What would be, had nothing been remembered.
        copied_BSD: What memories alone say; as ``base_BSD`` where there are none.
        pose_BS3: Where the robot is; NaN without a pose.
        std_BS3: Standard errors of that (x [m], y [m], yaw [rad]).
        gate_BS: How much memories had to say (0..1).
        revisit_BS: Whether a memory lies within 1 m and 30 degrees of the place.
        uncertainty_BS: Squared error that is expected, in units of the latents' variance.
        id_BSK: Memories that were asked, nearest first; 0: none.
        covered_BS: Whether all that is remembered there was at hand.
        outcome_BS2: Reward, and probability that the episode goes on; ``None`` without a trained head.
    """

    time_S: np.ndarray
    latent_BSD: np.ndarray
    base_BSD: np.ndarray
    copied_BSD: np.ndarray
    pose_BS3: np.ndarray
    std_BS3: np.ndarray
    gate_BS: np.ndarray
    revisit_BS: np.ndarray
    uncertainty_BS: np.ndarray
    id_BSK: np.ndarray
    covered_BS: np.ndarray
    outcome_BS2: np.ndarray | None = None

    @property
    def has_poses(self) -> bool:
        """Whether it is known where the robot will be."""
        return bool(np.isfinite(self.pose_BS3).all())

    @staticmethod
    def joined(parts: Sequence[Imagined]) -> Imagined:
        """Return parts that follow one another as one."""
        widest = max(part.id_BSK.shape[2] for part in parts)
        parts = [replace(part, id_BSK=_widened(part.id_BSK, widest)) for part in parts]
        first, values = parts[0], dict[str, Any]()
        for item in fields(Imagined):
            each = [getattr(part, item.name) for part in parts]
            is_known = getattr(first, item.name) is not None
            values[item.name] = np.concatenate(each, axis=0 if item.name == "time_S" else 1) if is_known else None
        return Imagined(**values)


def _widened(id_BSK: np.ndarray, width: int) -> np.ndarray:
    return np.pad(id_BSK, ((0, 0), (0, 0), (0, width - id_BSK.shape[2])))
