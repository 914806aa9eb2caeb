"""Finds the motion model that fits what was logged, a small piece of work at a time.

The work is a generator that says after each piece how many rows it went over, so that whoever runs it beside a stream
can stop in time; nothing depends on a clock.

Shape suffixes: N = rows (one a step), M = starts, A = action size, F = action features, 3 = (forward, left, turn).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from world_model.runtime.motion_log import MotionRows
from world_model.runtime.motion_model import MotionModel, action_features
from world_model.runtime.motion_paths import (
    arcs,
    displacement_of,
    followed,
    held_twist,
    known_twist,
    missed,
    modelled_twist,
    relative,
    residual_twist,
)

LONGEST_DELAY_S = 0.5
LAGS_STEPS = (0.0, 1.0, 2.0, 3.5, 6.0, 10.0)
WINDOWS_S = (0.1, 0.25, 0.5)
# The measured twist is taken over so many steps to both sides, and the modelled one averaged alike.
_REACH = 2
# After a gap the lag must have forgotten what was not seen.
WARM_STEPS = 25
_LEAST_ROWS, _LEAST_STARTS = 40, 15
# Twist errors beyond so many robust standard deviations are no motion: a localisation that jumped.
_OUTLIER = 5.0
_RIDGE = 1e-4
# Of more actions products of pairs are not fitted: they cost more than a frame's share of time, and say little.
_MOST_PAIRED = 6
# Of more actions nothing is fitted, and poses alone tell of the motion.
_MOST_ACTIONS = 20
# So much beyond the range of actions that was seen the model may be led on.
_BEYOND = 0.25
# Squared errors of a displacement count at most this [m^2, rad^2].
LARGEST = 4.0
_MOST_STARTS = 200
_NEAR_STEPS, _FAR_STEPS = 5, 15
_NEAR_LAGS, _AROUND_LAGS = (0.6, 0.8, 1.0, 1.25, 1.6), (0.8, 1.0, 1.25)

Work = Generator[int, None, MotionModel | None]


@dataclass(frozen=True)
class Target:
    """What a fit is to explain.

    Attributes:
        rows: The log.
        twist_N3: Measured twist, centred on the step that begins at each row; 0 where not known.
        good_N: 1 where it is known, 0 elsewhere.
        start_M: Starts whose future is known.
        step_s: Step [s].
        steps: How far ahead a model is to be good.
    """

    rows: MotionRows
    twist_N3: np.ndarray
    good_N: np.ndarray
    start_M: np.ndarray
    step_s: float
    steps: int


def starts(rows: MotionRows, steps: int, warm: int = WARM_STEPS, driven: bool = False) -> np.ndarray:
    """Return the rows from which a displacement can be judged ``steps`` later, [M].

    Args:
        rows: The log.
        steps: How far ahead.
        warm: Rows before a start that must belong to the same stretch.
        driven: The actions must be known too, all along.
    """
    count = len(rows)
    known_N = np.isfinite(rows.pose_N3[:, 2])
    if driven:
        known_N = known_N & np.isfinite(rows.action_NA).all(axis=1)
    broken_N = np.concatenate([[0], np.cumsum(~known_N)])
    first_M = np.arange(warm, max(count - steps, warm))
    whole_M = broken_N[first_M + steps + 1] == broken_N[first_M - warm]
    whole_M &= rows.fresh_N[first_M + steps] - rows.fresh_N[first_M - warm] == steps + warm
    start_M: np.ndarray = first_M[whole_M]
    return start_M


def target_of(rows: MotionRows, step_s: float, steps: int, driven: bool) -> Target:
    """Return what a fit to some rows is to explain."""
    centre_M = starts(rows, _REACH + 1, driven=driven)
    twist_N3, good_N = np.zeros((len(rows), 3)), np.zeros(len(rows))
    moved_M3 = relative(rows.pose_N3[centre_M + _REACH + 1], rows.pose_N3[centre_M - _REACH])
    twist_N3[centre_M] = arcs(moved_M3, (2 * _REACH + 1) * step_s)
    good_N[centre_M] = 1.0
    start_M = starts(rows, steps, driven=driven)
    return Target(rows, twist_N3, good_N, start_M[:: max(len(start_M) // _MOST_STARTS, 1)], step_s, steps)


def search(target: Target, near: MotionModel | None, error_horizons_s: Sequence[float]) -> Work:
    """Look for the driven model that fits best; ``None`` where too little is known.

    Args:
        target: What to explain.
        near: A model to look around; ``None``: everywhere.
        error_horizons_s: Times ahead at which the errors are measured [s].
    """
    if target.rows.action_NA.shape[1] > _MOST_ACTIONS:
        return None
    gains = GainFit(target)
    if target.good_N.sum() < max(_LEAST_ROWS, 4 * gains.feature_count) or len(target.start_M) < _LEAST_STARTS:
        return None
    coarse = near
    if coarse is None:
        coarse = yield from _coarse(target, gains)
    best = yield from _refined(target, gains, coarse, _NEAR_LAGS if near is None else _AROUND_LAGS)
    least_A, most_A = _range_of(target.rows.action_NA[target.good_N > 0])
    best = replace(best, least=least_A, most=most_A)
    best = yield from carried(target, best)
    best = replace(best, pose_gain=pose_gains(target, best))
    yield 3 * len(target.rows)
    return (yield from measured_errors(target, best, error_horizons_s))


def search_held(target: Target, error_horizons_s: Sequence[float]) -> Work:
    """Look for the model without actions that fits best: which window, and how much of the twist is carried on."""
    if len(target.start_M) < _LEAST_STARTS:
        return None
    best = yield from carried(target, MotionModel())
    return (yield from measured_errors(target, best, error_horizons_s))


class GainFit:
    """Least-squares gains for a delay and a lag, [F, 3], and the squared error of the twist that they leave."""

    def __init__(self, target: Target) -> None:
        self._target = target
        action_NA = np.nan_to_num(target.rows.action_NA)
        count = action_NA.shape[1]
        feature_NF = action_features(action_NA)
        self._all = feature_NF.shape[1]
        self._feature_NF = feature_NF if count <= _MOST_PAIRED else feature_NF[:, : 1 + count]
        self.feature_count = self._feature_NF.shape[1]
        self.cost = len(target.rows) * self.feature_count / 4
        self._weight_N = target.good_N.copy()

    def weights(self, gain_F3: np.ndarray) -> tuple[tuple[float, ...], ...]:
        """Return gains as a model's weights, 0 of what is not fitted."""
        whole_F3 = np.zeros((self._all, 3))
        whole_F3[: self.feature_count] = gain_F3
        return tuple(tuple(row) for row in whole_F3.T.tolist())

    def averaged(self, lag: float) -> np.ndarray:
        """Return the features that follow with a lag, averaged as the measured twist is, [N, F]."""
        gain = MotionModel(lag_steps=lag).gain
        return _boxed(followed(self._feature_NF, gain))

    def solve(self, averaged_NF: np.ndarray, delay: int) -> tuple[float, np.ndarray]:
        """Return the mean squared error of the twist and the gains."""
        late_NF = averaged_NF[: len(averaged_NF) - delay]
        weight_N, twist_N3 = self._weight_N[delay:], self._target.twist_N3[delay:]
        weighed_NF = late_NF * weight_N[:, None]
        seconds = max(float(weight_N.sum()), 1.0)
        gram_FF = weighed_NF.T @ late_NF / seconds
        moment_F3 = weighed_NF.T @ twist_N3 / seconds
        scale_F = np.sqrt(gram_FF.diagonal()) + 1e-9
        ridge_FF = gram_FF / np.outer(scale_F, scale_F) + _RIDGE * np.eye(len(scale_F))
        gain_F3 = np.linalg.solve(ridge_FF, moment_F3 / scale_F[:, None]) / scale_F[:, None]
        explained = 2.0 * np.sum(gain_F3 * moment_F3) - np.sum(gain_F3 * (gram_FF @ gain_F3))
        total = float((weight_N @ np.square(twist_N3)).sum()) / seconds
        return total - float(explained), gain_F3

    def leave_out(self, averaged_NF: np.ndarray, delay: int, gain_F3: np.ndarray) -> None:
        """Leave out rows that a model misses by far more than usual."""
        left_N3 = self._target.twist_N3[delay:] - averaged_NF[: len(averaged_NF) - delay] @ gain_F3
        good_N = self._target.good_N[delay:] > 0
        spread_3 = 1.4826 * np.median(np.abs(left_N3[good_N]), axis=0) + 1e-6
        self._weight_N[delay:] = good_N & (np.abs(left_N3) < _OUTLIER * spread_3).all(axis=1)


def _coarse(target: Target, gains: GainFit) -> Generator[int, None, MotionModel]:
    """Return the delay and lag whose gains leave the least of the twist unexplained."""
    found: list[tuple[float, int, float]] = []
    longest = round(LONGEST_DELAY_S / target.step_s)
    for lag in LAGS_STEPS:
        averaged_NF = gains.averaged(lag)
        yield round(2 * gains.cost)
        for delay in range(longest + 1):
            found.append((gains.solve(averaged_NF, delay)[0], delay, lag))
            if delay % 4 == 3:
                yield round(2 * gains.cost)
    _, delay, lag = min(found)
    averaged_NF = gains.averaged(lag)
    gains.leave_out(averaged_NF, delay, gains.solve(averaged_NF, delay)[1])
    yield round(2 * gains.cost)
    return MotionModel(delay_steps=delay, lag_steps=lag)


def _refined(
    target: Target, gains: GainFit, coarse: MotionModel, factors: Sequence[float]
) -> Generator[int, None, MotionModel]:
    """Return the model with delay and lag such that known actions lead to the right place, not only the right twist."""

    def fitted(delay: int, lag: float) -> tuple[float, MotionModel]:
        model = MotionModel(delay_steps=delay, lag_steps=lag, residual_share=(0.0, 0.0, 0.0))
        _, gain_F3 = gains.solve(gains.averaged(lag), delay)
        model = replace(model, weights=gains.weights(gain_F3))
        return loss(known_errors(target, model)), model

    fits: list[tuple[float, MotionModel]] = []
    for delay in range(max(coarse.delay_steps - 1, 0), coarse.delay_steps + 2):
        middle = max(coarse.lag_steps, 0.5)
        tried: list[tuple[float, float]] = []
        for lag in (middle * factor for factor in factors):
            fits.append(fitted(delay, lag))
            tried.append((lag, fits[-1][0]))
            yield round(gains.cost * 2) + 40 * len(target.start_M)
        fits.append(fitted(delay, _lowest(tried)))
        yield round(gains.cost * 2) + 40 * len(target.start_M)
    return min(fits, key=lambda fit: fit[0])[1]


def _lowest(tried: Sequence[tuple[float, float]]) -> float:
    """Return where the parabola through the least of some values and its neighbours is lowest."""
    least = min(range(len(tried)), key=lambda index: tried[index][1])
    middle = min(max(least, 1), len(tried) - 2)
    (a, fa), (b, fb), (c, fc) = tried[middle - 1 : middle + 2]
    below = (b - a) * (fb - fc) - (b - c) * (fb - fa)
    if abs(below) < 1e-15:
        return tried[least][0]
    lowest = b - 0.5 * ((b - a) ** 2 * (fb - fc) - (b - c) ** 2 * (fb - fa)) / below
    return min(max(lowest, 0.8 * a), 1.2 * c)


def known_errors(target: Target, model: MotionModel) -> np.ndarray:
    """Return true minus expected displacement where the actions are known, [M, 3]."""
    twist_MS3 = known_twist(modelled_twist(target.rows, model)[0], target.start_M, target.steps)
    return missed(target.rows, target.start_M, displacement_of(twist_MS3, target.step_s), target.steps)


def both_errors(target: Target, model: MotionModel) -> tuple[np.ndarray, np.ndarray]:
    """Return true minus expected displacement with the actions known, and with the present one held, [M, 3] each.

    As ``MotionTracker`` expects it from poses as they are measured.
    """
    twist_N3, command_N3 = modelled_twist(target.rows, model)
    start_M, steps, step_s = target.start_M, target.steps, target.step_s
    window = max(round(model.window_s / step_s), 1)
    left_M3 = np.array(model.residual_share) * residual_twist(target.rows, twist_N3, start_M, window, step_s)
    kinds = [known_twist(twist_N3, start_M, steps)]
    if model.weights:
        kinds.append(held_twist(twist_N3, command_N3, start_M, steps, model))
    errors = [missed(target.rows, start_M, displacement_of(kind + left_M3[:, None], step_s), steps) for kind in kinds]
    return errors[0], errors[-1]


def loss(error_M3: np.ndarray) -> float:
    """Return the mean squared error of a displacement; 1 rad counts as 1 m, a single error at most ``LARGEST``."""
    return float(np.minimum(np.square(error_M3).sum(axis=1), LARGEST).mean())


def carried(target: Target, model: MotionModel) -> Generator[int, None, MotionModel]:
    """Return the model with the window and the shares of the residual that foretell best, both futures alike."""
    best, least = model, math.inf
    for window_s in WINDOWS_S:
        bare = replace(model, window_s=window_s, residual_share=(0.0, 0.0, 0.0))
        known_M3, held_M3 = both_errors(target, bare)
        yield 60 * len(target.start_M)
        twist_N3 = modelled_twist(target.rows, model)[0]
        window = max(round(window_s / target.step_s), 1)
        left_M3 = residual_twist(target.rows, twist_N3, target.start_M, window, target.step_s)
        yield 20 * len(target.start_M)
        moved_M3 = left_M3 * (target.steps * target.step_s)
        linear = _share((known_M3[:, :2], held_M3[:, :2]), moved_M3[:, :2])
        turning = _share((known_M3[:, 2:], held_M3[:, 2:]), moved_M3[:, 2:])
        tried = replace(bare, residual_share=(linear, linear, turning))
        for each in (bare, tried):
            value = sum(math.log(loss(errors) + 1e-9) for errors in both_errors(target, each))
            best, least = (each, value) if value < least else (best, least)
            yield 60 * len(target.start_M)
    return best


def _share(errors: Sequence[np.ndarray], moved_MX: np.ndarray) -> float:
    """Return how much of a displacement makes some errors least, each of them weighed by how large it is, 0..1."""
    product = square = 0.0
    for error_MX in errors:
        weight_M1 = 1.0 / (np.square(error_MX).sum(axis=1, keepdims=True) + np.mean(np.square(error_MX)) + 1e-9)
        product += float((weight_M1 * error_MX * moved_MX).sum())
        square += float((weight_M1 * moved_MX * moved_MX).sum())
    return round(min(max(product / square, 0.0), 1.0), 3) if square > 0 else 0.0


def pose_gains(target: Target, model: MotionModel) -> tuple[float, float]:
    """Return how much of a measured pose to believe: the Kalman gain at its steady state, from what the model misses.

    Over one step that is noise of two poses, over many mostly what the model errs.
    """
    white_3, drift_3 = _noise(target, model)
    gains = []
    for part in (slice(0, 2), slice(2, 3)):
        white, drift = float(white_3[part].mean()), float(drift_3[part].mean())
        variance = 0.5 * drift + math.sqrt(0.25 * drift * drift + drift * white)
        gains.append(round(min(max(variance / (variance + white), 0.1), 1.0), 3))
    return gains[0], gains[1]


def _noise(target: Target, model: MotionModel) -> tuple[np.ndarray, np.ndarray]:
    """Return the variance of the white noise of a pose, and by how much a step adds to what the model misses, [3] each.

    Poses extrapolated from the two before err alike for a few steps, so neighbours are not compared.
    """
    near_3, far_3 = _spread(target, model, _NEAR_STEPS), _spread(target, model, _FAR_STEPS)
    drift_3 = np.maximum((far_3 - near_3) / (_FAR_STEPS - _NEAR_STEPS), 1e-9)
    return np.maximum(0.5 * (near_3 - _NEAR_STEPS * drift_3), 1e-12), drift_3


def _spread(target: Target, model: MotionModel, steps: int) -> np.ndarray:
    """Return the variance of what the model misses after so many steps, without the largest fiftieth, [3]."""
    start_M = starts(target.rows, steps, driven=True)
    if not len(start_M):
        return np.zeros(3)
    start_M = start_M[:: max(len(start_M) // _MOST_STARTS, 1)]
    errors_M3 = known_errors(replace(target, steps=steps, start_M=start_M), model)
    centred_M3 = np.abs(errors_M3 - errors_M3.mean(axis=0))
    variance_3: np.ndarray = np.square(np.minimum(centred_M3, np.quantile(centred_M3, 0.98, axis=0))).mean(axis=0)
    return variance_3


def measured_errors(
    target: Target, model: MotionModel, horizons_s: Sequence[float]
) -> Generator[int, None, MotionModel]:
    """Return the model with its standard errors at some horizons, measured from smoothed poses."""
    white_3 = _noise(target, model)[0] if model.weights else np.zeros(3)
    yield 20 * len(target.start_M)
    gain_3 = np.array([model.pose_gain[0], model.pose_gain[0], model.pose_gain[1]])
    # Of the white noise of the present pose the filter leaves this much.
    less_3 = white_3 * (1.0 - gain_3 / (2.0 - gain_3))
    used, rows = [], []
    for horizon_s in horizons_s:
        steps = max(round(horizon_s / target.step_s), _NEAR_STEPS)
        start_M = starts(target.rows, steps, driven=bool(model.weights))
        if len(start_M) < _LEAST_STARTS:
            break
        start_M = start_M[:: max(len(start_M) // _MOST_STARTS, 1)]
        errors_M3 = np.abs(both_errors(replace(target, steps=steps, start_M=start_M), model)[0])
        cut_M3 = np.minimum(errors_M3, np.quantile(errors_M3, 0.99, axis=0))
        square_3 = np.square(cut_M3).mean(axis=0)
        used.append(float(horizon_s))
        rows.append(tuple(np.round(np.sqrt(np.maximum(square_3 - less_3, 0.25 * square_3)), 5).tolist()))
        yield (steps + 20) * len(start_M)
    return replace(model, error_horizons_s=tuple(used), error_std=tuple(rows))


def _range_of(action_NA: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    least_A, most_A = action_NA.min(axis=0), action_NA.max(axis=0)
    beyond_A = _BEYOND * (most_A - least_A)
    # 0, which stands for "no command", is always inside.
    return (
        tuple(np.minimum(least_A - beyond_A, 0.0).round(6).tolist()),
        tuple(np.maximum(most_A + beyond_A, 0.0).round(6).tolist()),
    )


def _boxed(value_NF: np.ndarray) -> np.ndarray:
    """Return the mean of each row and its ``_REACH`` neighbours to both sides; at the ends 0 stands for what lacks."""
    width = 2 * _REACH + 1
    sum_NF = np.cumsum(np.concatenate([np.zeros((_REACH + 1, value_NF.shape[1])), value_NF]), axis=0)
    last_NF = np.concatenate([sum_NF, np.repeat(sum_NF[-1:], _REACH, axis=0)])
    boxed_NF: np.ndarray = (last_NF[width:] - last_NF[:-width]) / width
    return boxed_NF
