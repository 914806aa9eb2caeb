"""The motion model's parameters: which twist follows from which action, how late, how slowly, and how surely.

Shape suffixes: T = frames, A = action size, F = action features, H = horizons, 3 = (forward [m], left [m], yaw [rad]).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from world_model.errors import ArtifactError

_MOST_STEPS, _LONGEST_WINDOW_S = 1000, 60.0


@dataclass(frozen=True, kw_only=True)
class MotionModel:
    """A twist that follows delayed actions with a lag, plus a share of what the poses said it was not.

    Attributes:
        weights: Twist (3 rows) from action features (see ``action_features``); empty: hold the measured velocity.
        delay_steps: Steps before an action has any effect.
        lag_steps: Time constant with which the twist follows it, in steps.
        residual_share: Share (0..1, per twist component) of measured minus modelled velocity that is carried on;
            without weights the modelled velocity is 0.
        window_s: Time over which the poses' velocity is measured [s].
        pose_gain: Share (0..1; position, yaw) of what a measured pose says beyond the expected one that is
            believed; 1 takes poses as they are measured.
        error_horizons_s: Times ahead [s], ascending, of the rows of ``error_std``.
        error_std: Standard errors (forward [m], left [m], turn [rad]) of the displacement when the actions that follow
            are known; empty: not measured, taken for 0.
        least: Smallest value that counts of each action, as far as the weights were fitted; empty: no limit.
        most: Largest value that counts.
    """

    weights: tuple[tuple[float, ...], ...] = ()
    delay_steps: int = 0
    lag_steps: float = 0.0
    residual_share: tuple[float, float, float] = (1.0, 1.0, 1.0)
    window_s: float = 0.25
    pose_gain: tuple[float, float] = (1.0, 1.0)
    error_horizons_s: tuple[float, ...] = ()
    error_std: tuple[tuple[float, ...], ...] = ()
    least: tuple[float, ...] = ()
    most: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a weight table that is not three rows of one length."""
        if self.weights and (len(self.weights) != 3 or len({len(row) for row in self.weights}) != 1):
            raise ArtifactError("manifest: motion.weights must be three rows of equal length, or empty")
        numbers = (*self.residual_share, *self.error_horizons_s, *self.least, *self.most, self.lag_steps, self.window_s)
        tables = [value for row in (*self.weights, *self.error_std) for value in row]
        if not all(map(math.isfinite, (*numbers, *tables))) or len(self.residual_share) != 3:
            raise ArtifactError("manifest: motion holds a value that is not finite, or not three of residual_share")
        if type(self.delay_steps) is not int or self.delay_steps < 0 or self.lag_steps < 0 or self.window_s <= 0:
            raise ArtifactError("manifest: motion delay, lag and window must not be negative")
        if self.delay_steps > _MOST_STEPS or self.window_s > _LONGEST_WINDOW_S:
            raise ArtifactError(
                f"manifest: motion.delay_steps {self.delay_steps} or window_s {self.window_s:g}, at most {_MOST_STEPS} "
                f"and {_LONGEST_WINDOW_S:g} s"
            )
        if len(self.pose_gain) != 2 or not all(0 < gain <= 1 for gain in self.pose_gain):
            raise ArtifactError(f"manifest: motion.pose_gain is {list(self.pose_gain)}, expected two numbers in 0..1")
        if len(self.error_std) != len(self.error_horizons_s) or any(len(row) != 3 for row in self.error_std):
            raise ArtifactError("manifest: motion.error_std must be three numbers for each of motion.error_horizons_s")
        if len(self.least) != len(self.most) or any(low > high for low, high in zip(self.least, self.most)):
            raise ArtifactError("manifest: motion.least must be as many numbers as motion.most, none above its own")

    @classmethod
    def from_manifest(cls, entries: Mapping[str, Any]) -> "MotionModel":
        """Return the model whose parameters a manifest lists.

        Raises:
            ArtifactError: An entry is unknown or malformed.
        """
        try:
            rest = dict(entries)
            tables = {
                name: tuple(tuple(float(value) for value in row) for row in rest.pop(name, ()))
                for name in ("weights", "error_std")
            }
            rows = {
                name: tuple(float(value) for value in rest.pop(name))
                for name in ("residual_share", "pose_gain", "error_horizons_s", "least", "most")
                if name in rest
            }
            return cls(**rows, **tables, **rest)  # type: ignore[arg-type]
        except ArtifactError:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise ArtifactError(f"manifest: motion: {error}") from error

    def to_manifest(self) -> dict[str, Any]:
        """Return the parameters as JSON-ready entries."""
        return asdict(self)

    @property
    def gain(self) -> float:
        """Share of the way to the commanded twist covered in one step."""
        return 1.0 if self.lag_steps <= 0 else 1.0 - math.exp(-1.0 / self.lag_steps)

    def limited(self, action_TA: np.ndarray) -> np.ndarray:
        """Return the actions as far as they count, [..., A]."""
        if not self.least:
            return action_TA
        limited_TA: np.ndarray = np.minimum(np.maximum(action_TA, self.least), self.most)
        return limited_TA


def expected_error(model: MotionModel, horizons_s: Sequence[float]) -> np.ndarray:
    """Return the standard errors of the displacement when the actions are known, [H, 3]; linear between horizons."""
    if not model.error_std:
        return np.zeros((len(horizons_s), 3))
    table_H3 = np.array(model.error_std)
    return np.stack([np.interp(horizons_s, model.error_horizons_s, table_H3[:, axis]) for axis in range(3)], axis=1)


def action_features(action_TA: np.ndarray) -> np.ndarray:
    """Return what the twist is linear in: one, the actions, and the products of pairs of actions, [T, F]."""
    first, second = np.triu_indices(action_TA.shape[1], 1)
    products_TP = action_TA[:, first] * action_TA[:, second]
    return np.column_stack([np.ones(len(action_TA)), action_TA, products_TP]).astype(np.float64)
