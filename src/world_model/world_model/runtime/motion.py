"""From actions to where the robot will be: the motion model that says at which pose to ask the memory.

Shape suffixes: S = steps ahead, A = action size, 3 = (forward [m], left [m], yaw [rad]) in the robot's frame.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from wm_core.se2 import Pose2
from world_model.errors import ArtifactError, ObservationError
from world_model.runtime.stepping import StepCounter

# A pause this long [s] or a step this far beside the expected one [m] (a localisation that found itself again) starts
# the smoothing of poses anew.
_SMOOTHED_GAP_STEPS = 10
_JUMP_M = 0.5
# What a model that fits misses of the poses is white. From this autocorrelation on the model is doubted, from that on
# poses are taken as they are measured. Judged over about so many poses.
_WHITE, _BIASED = 0.2, 0.5
_JUDGED_POSES = 20


@dataclass(frozen=True, kw_only=True)
class MotionModel:
    """A twist that follows delayed actions with a lag, plus a share of what the poses said it was not.

    Attributes:
        weights: Twist (3 rows) from action features (see ``action_features``); empty: hold the measured velocity.
        delay_steps: Steps before an action has any effect.
        lag_steps: Time constant with which the twist follows it, in steps.
        residual_share: Share (0..1, per twist component) of measured minus modelled velocity that is carried on.
        window_s: Time over which the poses' velocity is measured [s].
        pose_gain: Share (0..1; position, yaw) of what a measured pose says beyond the expected one that is
            believed; 1 takes poses as they are measured.
        error_horizons_s: Times ahead [s], ascending, of the rows of ``error_std``.
        error_std: Standard errors (forward [m], left [m], turn [rad]) of the displacement when the actions that follow
            are known; empty: not measured, taken for 0.
    """

    weights: tuple[tuple[float, ...], ...] = ()
    delay_steps: int = 0
    lag_steps: float = 0.0
    residual_share: tuple[float, float, float] = (1.0, 1.0, 1.0)
    window_s: float = 0.25
    pose_gain: tuple[float, float] = (1.0, 1.0)
    error_horizons_s: tuple[float, ...] = ()
    error_std: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        """Refuse a weight table that is not three rows of one length."""
        if self.weights and (len(self.weights) != 3 or len({len(row) for row in self.weights}) != 1):
            raise ArtifactError("manifest: motion.weights must be three rows of equal length, or empty")
        if self.delay_steps < 0 or self.lag_steps < 0 or self.window_s <= 0:
            raise ArtifactError("manifest: motion delay, lag and window must not be negative")
        if len(self.pose_gain) != 2 or not all(0 < gain <= 1 for gain in self.pose_gain):
            raise ArtifactError(f"manifest: motion.pose_gain is {list(self.pose_gain)}, expected two numbers in 0..1")
        if len(self.error_std) != len(self.error_horizons_s) or any(len(row) != 3 for row in self.error_std):
            raise ArtifactError("manifest: motion.error_std must be three numbers for each of motion.error_horizons_s")

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
                for name in ("residual_share", "pose_gain", "error_horizons_s")
                if name in rest
            }
            return cls(**rows, **tables, **rest)  # type: ignore[arg-type]
        except TypeError as error:
            raise ArtifactError(f"manifest: motion: {error}") from error

    def to_manifest(self) -> dict[str, Any]:
        """Return the parameters as JSON-ready entries."""
        return asdict(self)

    @property
    def gain(self) -> float:
        """Share of the way to the commanded twist covered in one step."""
        return 1.0 if self.lag_steps <= 0 else 1.0 - math.exp(-1.0 / self.lag_steps)


def expected_error(model: MotionModel, horizons_s: Sequence[float]) -> np.ndarray:
    """Return the standard errors of the displacement when the actions are known, [H, 3]; linear between horizons."""
    if not model.error_std:
        return np.zeros((len(horizons_s), 3))
    table_H3 = np.array(model.error_std)
    return np.stack([np.interp(horizons_s, model.error_horizons_s, table_H3[:, axis]) for axis in range(3)], axis=1)


def action_features(action_TA: np.ndarray) -> np.ndarray:
    """Return what the twist is linear in: one, the actions, and the products of pairs of actions, [T, F]."""
    count = action_TA.shape[1]
    products = [action_TA[:, i] * action_TA[:, j] for i in range(count) for j in range(i + 1, count)]
    return np.column_stack([np.ones(len(action_TA)), action_TA, *products]).astype(np.float64)


def integrate_twist(twist_S3: np.ndarray, step_s: float) -> np.ndarray:
    """Return the displacement after each step of a twist, [S, 3], by the midpoint rule."""
    turn_S = np.cumsum(twist_S3[:, 2]) * step_s
    middle_S = turn_S - 0.5 * twist_S3[:, 2] * step_s
    cosine_S, sine_S = np.cos(middle_S), np.sin(middle_S)
    forward_S = np.cumsum(twist_S3[:, 0] * cosine_S - twist_S3[:, 1] * sine_S) * step_s
    left_S = np.cumsum(twist_S3[:, 0] * sine_S + twist_S3[:, 1] * cosine_S) * step_s
    return np.column_stack([forward_S, left_S, turn_S])


def displacement_at(moved_S3: np.ndarray, horizons_s: Sequence[float], step_s: float) -> np.ndarray:
    """Return the displacement at some times ahead, [H, 3], linear between steps; ``moved_S3`` reaches as far."""
    step_H = np.asarray(horizons_s) / step_s
    whole_H = np.round(step_H)
    if np.abs(step_H - whole_H).max() < 1e-6:
        return moved_S3[np.maximum(whole_H.astype(int), 1) - 1]
    at_S, from_zero_S3 = np.arange(len(moved_S3) + 1), np.concatenate([np.zeros((1, 3)), moved_S3])
    return np.stack([np.interp(step_H, at_S, column_S) for column_S in from_zero_S3.T], axis=1)


def with_pose_error(std_H3: np.ndarray, moved_H3: np.ndarray, pose_std_3: np.ndarray) -> np.ndarray:
    """Return the standard errors of expected poses when the present one has errors of its own, [H, 3].

    Args:
        std_H3: Standard errors of the displacements (forward [m], left [m], turn [rad]).
        moved_H3: The displacements: a wrong yaw throws them aside.
        pose_std_3: Standard errors of the present pose, ahead, to the left and of its yaw; NaN counts as none.
    """
    ahead, left, yaw = np.nan_to_num(pose_std_3)
    own_H3 = np.column_stack(
        [np.hypot(ahead, moved_H3[:, 1] * yaw), np.hypot(left, moved_H3[:, 0] * yaw), np.full(len(moved_H3), yaw)]
    )
    return np.asarray(np.hypot(std_H3, own_H3))


class Whiteness:
    """Tells whether what a filter's model misses is noise, or the same again and again.

    Source: Mehra, On the Identification of Variances and Adaptive Kalman Filtering (1970), with lag one only.
    """

    def __init__(self) -> None:
        self._last = (0.0, 0.0)
        self._square = self._product = 0.0

    def update(self, first: float, second: float) -> float:
        """Return how much the model is to be doubted (0..1) after it missed by this."""
        keep = 1.0 - 1.0 / _JUDGED_POSES
        self._square = keep * self._square + first * first + second * second
        self._product = keep * self._product + first * self._last[0] + second * self._last[1]
        self._last = (first, second)
        alike = self._product / self._square if self._square > 0.0 else 0.0
        return min(max((alike - _WHITE) / (_BIASED - _WHITE), 0.0), 1.0)


class MotionTracker:
    """The motion model run along one episode, one observation at a time, at whatever rate they come.

    Between observations further apart than a step the last action is held.

    Args:
        model: Fitted parameters.
        step_s: Step that the model was fitted at [s].
        action_dim: Action size A.
    """

    def __init__(self, model: MotionModel, step_s: float, action_dim: int) -> None:
        self._model = model
        self._step_s = step_s
        self._action_dim = action_dim
        expected = action_features(np.zeros((1, action_dim))).shape[1]
        if model.weights and len(model.weights[0]) != expected:
            raise ArtifactError(
                f"manifest: motion.weights has {len(model.weights[0])} columns, {action_dim} actions need {expected}"
            )
        self._weights_F3 = np.array(model.weights, np.float64).T if model.weights else None
        self._window = max(round(model.window_s / step_s), 1)
        self._counter = StepCounter(step_s)
        self.reset()

    def reset(self) -> None:
        """Forget poses and actions."""
        self._counter.reset()
        self._poses: deque[tuple[int, Pose2]] = deque()
        self._modelled: deque[np.ndarray] = deque(maxlen=self._window)
        self._pending: deque[np.ndarray] = deque(maxlen=self._model.delay_steps + 1)
        self._twist_3 = np.zeros(3)
        self._started = False
        self._pose: tuple[int, Pose2] | None = None
        self._doubt = (Whiteness(), Whiteness())

    @property
    def pose(self) -> Pose2 | None:
        """The last pose, smoothed: what was expected and a share of what was measured; ``None`` without one."""
        return self._pose[1] if self._pose is not None else None

    def update(self, stamp_ns: int, pose: Pose2 | None, action_A: np.ndarray | None) -> None:
        """Take one observation; ``action_A`` is the one taken now.

        Raises:
            ObservationError: The action has the wrong length or is not finite.
        """
        steps = self._counter.advance(stamp_ns)
        twist_N3 = self._hold(steps - 1)
        self._pose = None if pose is None else (stamp_ns, self._smoothed(stamp_ns, pose, twist_N3))
        if pose is None:
            self._poses.clear()
        else:
            self._remember(stamp_ns, pose)
        if action_A is None or self._weights_F3 is None:
            return
        if action_A.shape != (self._action_dim,) or not np.all(np.isfinite(action_A)):
            raise ObservationError(f"action is {action_A!r}, expected {self._action_dim} finite values")
        command_3 = self._command(action_A[None])[0]
        if self._started and steps == 0:
            self._pending[-1] = command_3
        elif self._started:
            self._follow(command_3)
        else:
            self._pending.append(command_3)
            self._twist_3 = self._pending[0].copy()
            self._started = True

    def _hold(self, steps: int) -> np.ndarray:
        """Let steps pass with the last action; return the twist of each since the last observation, [N, 3]."""
        rows = [self._twist_3.copy()]
        if self._started:
            # A longer silence than the delay and the window changes nothing any more.
            for _ in range(min(steps, self._window + self._model.delay_steps + _SMOOTHED_GAP_STEPS)):
                self._follow(self._pending[-1])
                rows.append(self._twist_3.copy())
        return np.stack(rows)

    def _follow(self, command_3: np.ndarray) -> None:
        """Let a step end and the next one begin with this command."""
        self._modelled.append(self._twist_3.copy())
        self._pending.append(command_3)
        self._twist_3 = self._twist_3 + self._model.gain * (self._pending[0] - self._twist_3)

    def _remember(self, stamp_ns: int, pose: Pose2) -> None:
        """Keep the poses of the window, at least two however slowly they come."""
        if self._poses and stamp_ns < self._poses[-1][0]:
            self._poses.clear()
        self._poses.append((stamp_ns, pose))
        oldest_ns = stamp_ns - (self._window + 0.5) * self._step_s * 1e9
        while len(self._poses) > 2 and self._poses[0][0] < oldest_ns:
            self._poses.popleft()

    def displacements(self, steps: int, plan_SA: np.ndarray | None = None) -> np.ndarray | None:
        """Return where the robot will be after 1..``steps`` steps, [S, 3] in its present frame.

        Args:
            steps: How many steps ahead.
            plan_SA: Actions that follow the present one, if known; else the last action is held.

        Returns:
            Displacements, or ``None`` when neither poses nor actions say anything about motion.
        """
        measured_3 = self._measured_twist()
        if not self._started:
            return None if measured_3 is None else integrate_twist(np.tile(measured_3, (steps, 1)), self._step_s)
        twist_S3 = self._driven_twist(steps, plan_SA)
        if measured_3 is not None and len(self._modelled) > 0:
            residual_3 = measured_3 - np.mean(self._modelled, axis=0)
            twist_S3 = twist_S3 + np.array(self._model.residual_share) * residual_3
        return integrate_twist(twist_S3, self._step_s)

    def _smoothed(self, stamp_ns: int, measured: Pose2, twist_N3: np.ndarray) -> Pose2:
        """Return the measured pose less its white noise: a Kalman filter at its steady state, driven by actions."""
        position_gain, yaw_gain = self._model.pose_gain
        if self._pose is None or not self._started or position_gain == yaw_gain == 1.0:
            return measured
        last_ns, last = self._pose
        elapsed_s = (stamp_ns - last_ns) * 1e-9
        # The twists kept so far are those of the steps that end now.
        expected = last.moved(integrate_twist(twist_N3, elapsed_s / len(twist_N3))[-1])
        forward, left, turn = measured.relative_to(expected)
        if not 0.0 < elapsed_s < _SMOOTHED_GAP_STEPS * self._step_s or math.hypot(forward, left) > _JUMP_M:
            return measured
        # A model of another robot would pull the pose along with it: what it misses then looks alike each time.
        position, yaw = (doubt.update(*values) for doubt, values in zip(self._doubt, ((forward, left), (turn, 0.0))))
        position_gain += position * (1.0 - position_gain)
        yaw_gain += yaw * (1.0 - yaw_gain)
        moved = expected.moved((position_gain * forward, position_gain * left, yaw_gain * turn))
        return Pose2(moved.x, moved.y, measured.z, moved.yaw)

    def _command(self, action_TA: np.ndarray) -> np.ndarray:
        return action_features(action_TA) @ self._weights_F3

    def _driven_twist(self, steps: int, plan_SA: np.ndarray | None) -> np.ndarray:
        command_C3 = np.stack(self._pending)
        if plan_SA is not None and len(plan_SA):
            command_C3 = np.concatenate([command_C3, self._command(np.asarray(plan_SA, np.float64))])
        # Until the delay line has filled, its oldest command stays in force.
        missing = self._model.delay_steps + 1 - len(self._pending)
        index_S = np.clip(np.arange(1, steps + 1) - missing, 0, len(command_C3) - 1)
        # Plain floats: a numpy call per step would cost more than the rest of the predictor.
        gain = self._model.gain
        forward, left, turn = self._twist_3.tolist()
        rows = []
        for to_forward, to_left, to_turn in command_C3[index_S].tolist():
            # The twist kept so far is that of the step that starts now.
            rows.append((forward, left, turn))
            forward += gain * (to_forward - forward)
            left += gain * (to_left - left)
            turn += gain * (to_turn - turn)
        return np.array(rows)

    def _measured_twist(self) -> np.ndarray | None:
        if len(self._poses) < 2:
            return None
        (stamp_ns, first), (last_ns, last) = self._poses[0], self._poses[-1]
        elapsed_s = (last_ns - stamp_ns) * 1e-9
        if elapsed_s <= 0:
            return None
        forward, left, turn = last.relative_to(first)
        # The chord of an arc, turned back by half the turn, is the velocity in the robot's own frame.
        cosine, sine = math.cos(turn / 2), math.sin(turn / 2)
        return np.array([forward * cosine + left * sine, left * cosine - forward * sine, turn]) / elapsed_s
