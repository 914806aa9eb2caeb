"""From actions to where the robot will be: the motion model that says at which pose to ask the memory.

Shape suffixes: S = steps ahead, A = action size, 3 = (forward [m], left [m], yaw [rad]) in the robot's frame.
"""

import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from wm_core.se2 import Pose2, turned_std
from world_model.errors import ArtifactError, ObservationError
from world_model.runtime.motion_model import MotionModel, action_features, expected_error
from world_model.runtime.motion_start import MotionStart
from world_model.runtime.stepping import StepCounter

__all__ = [
    "MotionModel",
    "MotionTracker",
    "action_features",
    "displacement_at",
    "expected_error",
    "integrate_twist",
    "pose_error",
]

# A pause this long [s] or a step this far beside the expected one [m] (a localisation that found itself again) starts
# the smoothing of poses anew.
_SMOOTHED_GAP_STEPS = 10
_JUMP_M = 0.5
# What a model that fits misses of the poses is white. From this autocorrelation on the model is doubted, from that on
# poses are taken as they are measured. Judged over about so many poses.
_WHITE, _BIASED = 0.2, 0.5
_JUDGED_POSES = 20


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
        at_whole_H3: np.ndarray = moved_S3[np.maximum(whole_H.astype(int), 1) - 1]
        return at_whole_H3
    at_S, from_zero_S3 = np.arange(len(moved_S3) + 1), np.concatenate([np.zeros((1, 3)), moved_S3])
    return np.stack([np.interp(step_H, at_S, column_S) for column_S in from_zero_S3.T], axis=1)


def pose_error(moved_H3: np.ndarray, pose: Pose2 | None, std_3: np.ndarray | None) -> np.ndarray:
    """Return the standard errors of expected poses that come of those of the present one, [H, 3]; 0 where not told.

    Args:
        moved_H3: Displacements (forward [m], left [m], turn [rad]): a wrong yaw throws them aside.
        pose: Present pose.
        std_3: Its standard errors (x [m], y [m], yaw [rad]); NaN counts as none.
    """
    if pose is None or std_3 is None:
        return np.zeros(moved_H3.shape)
    ahead, left, yaw = np.nan_to_num(turned_std(std_3, pose.yaw))
    aside_H2 = moved_H3[:, 1::-1] * yaw
    return np.column_stack([np.hypot((ahead, left), aside_H2), np.full(len(moved_H3), yaw)])


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
        self._before_3: np.ndarray | None = None
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
        self._before_3 = self._twist_3
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
            if measured_3 is None:
                return None
            carried_3 = np.array(self._model.residual_share) * measured_3 if self._weights_F3 is None else measured_3
            return integrate_twist(np.tile(carried_3, (steps, 1)), self._step_s)
        twist_S3 = self._driven_twist(steps, plan_SA)
        if measured_3 is not None and len(self._modelled) > 0:
            residual_3 = measured_3 - np.mean(self._modelled, axis=0)
            twist_S3 = twist_S3 + np.array(self._model.residual_share) * residual_3
        return integrate_twist(twist_S3, self._step_s)

    def start(self) -> MotionStart:
        """Return the model as it is now, to follow plans from here; what is observed later does not change it."""
        measured_3 = self._measured_twist()
        if not self._started:
            return MotionStart(self._model, self._step_s, measured_3=measured_3)
        has_residual = measured_3 is not None and len(self._modelled) > 0
        residual_3 = measured_3 - np.mean(self._modelled, axis=0) if has_residual else None
        earlier_L3 = np.array(list(self._pending)[:-1]).reshape(-1, 3)
        before_3 = self._before_3
        return MotionStart(self._model, self._step_s, before_3, earlier_L3, None, residual_3)

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
        twist_T3: np.ndarray = action_features(self._model.limited(action_TA)) @ self._weights_F3
        return twist_T3

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
