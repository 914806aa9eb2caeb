"""Fits the motion model to recorded episodes: which delay, lag and gains turn actions into displacement.

Shape suffixes: T = frames, A = action size, F = action features, 3 = (forward, left, turn).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.signal import lfilter

from world_model.errors import DataError
from world_model.runtime.motion import MotionModel, MotionTracker, action_features
from world_model.training.displacement import Track, expected_motion, missed_displacement, pose_or_none

_DELAYS = tuple(range(9))
_LAGS = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0)
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_WINDOWS_S = (0.1, 0.25, 0.5)
_GAINS = (1.0, 0.6, 0.35, 0.2, 0.1)
_GAIN_HORIZON_S = 0.5
_RIDGE = 1e-4
_REACH = 2


def fit_motion(tracks: Sequence[Track], step_s: float, horizon_s: float = 1.0) -> MotionModel:
    """Return the motion model that best foretells where these episodes were ``horizon_s`` later.

    Args:
        tracks: Episodes; frames without a pose or an action are left out.
        step_s: Time between frames [s].
        horizon_s: Time ahead to be good at [s].

    Raises:
        DataError: No episode has both poses and actions for long enough.
    """
    usable = [track for track in tracks if np.isfinite(track.pose_T4).all(axis=1).sum() > 4 * horizon_s / step_s]
    if not usable:
        raise DataError(f"no episode has poses for {4 * horizon_s} s: the motion model cannot be fitted")
    candidates = [MotionModel()]
    if all(np.isfinite(track.action_TA).all(axis=1).mean() > 0.5 for track in usable):
        candidates.append(fit_driven(usable, step_s, horizon_s))
    tries = [
        replace(candidate, residual_share=(linear, linear, turning), window_s=window_s)
        for candidate in candidates
        for linear, turning, window_s in itertools.product(_SHARES, _SHARES, _WINDOWS_S)
        if candidate.weights or linear == turning == 1.0
    ]
    # Translation and turn share the window only; on few frames of few episodes every combination is affordable.
    sample = usable[:: max(len(usable) // 4, 1)][:4]

    def misses(model: MotionModel) -> float:
        # Both futures count alike by ratio: what is wrong of a held action would drown what is wrong of the model.
        errors = [
            sum(displacement_error(track, model, step_s, horizon_s, stride=29, known_future=known) for track in sample)
            for known in (True, False)
        ]
        return float(np.sum(np.log(np.array(errors) + 1e-9)))

    return _with_pose_gain(min(tries, key=misses), sample, step_s)


def displacement_error(
    track: Track, model: MotionModel, step_s: float, horizon_s: float, stride: int = 1, known_future: bool = False
) -> float:
    """Return the mean squared error of the expected pose, in square metres (1 rad counts as 1 m).

    Args:
        track: Episode to run along.
        model: Motion model.
        step_s: Time between frames [s].
        horizon_s: Time ahead [s].
        stride: Only every so many frames are forecast.
        known_future: Use the recorded actions that follow instead of holding the present one.
    """
    tracker = MotionTracker(model, step_s, track.action_TA.shape[1])
    steps = round(horizon_s / step_s)
    errors = []
    for row in range(len(track.stamp_T) - steps):
        pose = pose_or_none(track.pose_T4[row])
        action_A = track.action_TA[row] if np.isfinite(track.action_TA[row]).all() else None
        tracker.update(int(track.stamp_T[row]), pose, action_A)
        later = pose_or_none(track.pose_T4[row + steps])
        if row % stride or tracker.pose is None or later is None:
            continue
        plan_SA = track.action_TA[row + 1 : row + steps] if known_future else None
        if plan_SA is not None and not np.isfinite(plan_SA).all():
            continue
        moved_S3 = tracker.displacements(steps, plan_SA)
        if moved_S3 is not None:
            forward, left, turn = later.relative_to(tracker.pose.moved(moved_S3[-1]))
            errors.append(forward**2 + left**2 + turn**2)
    return float(np.mean(errors)) if errors else float("inf")


def with_measured_errors(
    model: MotionModel, tracks: Sequence[Track], step_s: float, horizons_s: Sequence[float]
) -> MotionModel:
    """Return the model with the standard errors of its displacements while the actions are known.

    They include what the poses themselves err. The largest hundredth of the errors is cut off: a lost localisation is
    no property of the motion.
    """
    steps = [max(round(horizon_s / step_s), 1) for horizon_s in horizons_s]
    missed_NH3 = np.concatenate([_missed(track, model, step_s, steps) for track in tracks])
    rows = []
    for column in range(len(steps)):
        missed_N3 = missed_NH3[np.isfinite(missed_NH3[:, column]).all(axis=1), column]
        if not len(missed_N3):
            return model
        cut_N3 = np.minimum(np.abs(missed_N3), np.quantile(np.abs(missed_N3), 0.99, axis=0))
        rows.append(tuple(round(float(value), 5) for value in np.sqrt(np.mean(cut_N3**2, axis=0))))
    return replace(model, error_horizons_s=tuple(step * step_s for step in steps), error_std=tuple(rows))


def _missed(track: Track, model: MotionModel, step_s: float, steps: Sequence[int]) -> np.ndarray:
    """Return true minus expected displacement with known actions, [T, H, 3], NaN where something is not known."""
    moved_TH3, pose_T3, _ = expected_motion(track, model, steps, step_s, known_future=True)
    missed_TH3 = missed_displacement(track.pose_T4, pose_T3, moved_TH3, steps)
    unknown_T = ~np.isfinite(track.action_TA).all(axis=1)
    before_T = np.append(0, np.cumsum(unknown_T))
    row_T = np.arange(len(unknown_T))
    doubtful_T = before_T[np.minimum(row_T + max(steps), len(unknown_T))] > before_T[row_T + 1]
    missed_TH3[doubtful_T] = np.nan
    return missed_TH3


def fit_driven(tracks: Sequence[Track], step_s: float, horizon_s: float = 1.0) -> MotionModel:
    """Return delay, lag and gains of actions alone: ``fit_motion`` without momentum, in a tenth of its time.

    Args:
        tracks: Episodes with poses and actions.
        step_s: Time between frames [s].
        horizon_s: Time ahead to be good at [s].
    """
    twist_N3 = np.concatenate([_centred_twist(track, step_s) for track in tracks])
    fits = [_with_gains(tracks, twist_N3, delay, lag) for delay, lag in itertools.product(_DELAYS, _LAGS)]
    return _refined(tracks, twist_N3, min(fits, key=lambda fit: fit[0])[1], step_s, horizon_s)


def _with_gains(tracks: Sequence[Track], twist_N3: np.ndarray, delay: int, lag: float) -> tuple[float, MotionModel]:
    """Return the least-squares gains for a delay and a lag [steps], and the mean squared error of the twist."""
    model = MotionModel(delay_steps=delay, lag_steps=lag)
    feature_NF = np.concatenate([_filtered(track.action_TA, model) for track in tracks])
    good_N = np.isfinite(twist_N3).all(axis=1) & np.isfinite(feature_NF).all(axis=1)
    feature_NF, twist_N3 = feature_NF[good_N], twist_N3[good_N]
    gram_FF = feature_NF.T @ feature_NF / len(feature_NF) + _RIDGE * np.eye(feature_NF.shape[1])
    weight_F3 = np.linalg.solve(gram_FF, feature_NF.T @ twist_N3 / len(feature_NF))
    weights = tuple(tuple(round(float(value), 6) for value in row) for row in weight_F3.T)
    return float(np.mean((feature_NF @ weight_F3 - twist_N3) ** 2)), replace(model, weights=weights)


def _refined(
    tracks: Sequence[Track], twist_N3: np.ndarray, coarse: MotionModel, step_s: float, horizon_s: float
) -> MotionModel:
    """Return the model with delay and lag such that known actions lead to the right place, not only the right twist.

    A lag that is half a step off misses by centimetres and degrees after a second: as much as the memories are apart.
    """
    sample = tracks[:: max(len(tracks) // 6, 1)][:6]

    def fitted(delay: int, lag: float) -> tuple[float, MotionModel]:
        model = replace(_with_gains(tracks, twist_N3, delay, lag)[1], residual_share=(0.0, 0.0, 0.0))
        errors = [displacement_error(t, model, step_s, horizon_s, stride=17, known_future=True) for t in sample]
        return sum(errors), model

    best = fitted(coarse.delay_steps, coarse.lag_steps)
    for delay in range(max(coarse.delay_steps - 1, 0), coarse.delay_steps + 2):
        found = minimize_scalar(
            lambda lag, delay=delay: fitted(delay, float(lag))[0],
            bounds=(0.0, 2.0 * coarse.lag_steps + 1.0),
            method="bounded",
            options={"xatol": 0.05, "maxiter": 12},
        )
        best = min(best, fitted(delay, round(float(found.x), 2)), key=lambda fit: fit[0])
    return best[1]


def _with_pose_gain(model: MotionModel, tracks: Sequence[Track], step_s: float) -> MotionModel:
    """Return the model with the share of measured poses to believe: whatever foretells the next half second best."""
    if not model.weights:
        return model

    def misses(gains: tuple[float, float]) -> float:
        tried = replace(model, pose_gain=gains)
        return sum(displacement_error(t, tried, step_s, _GAIN_HORIZON_S, stride=7, known_future=True) for t in tracks)

    return replace(model, pose_gain=min(itertools.product(_GAINS, _GAINS), key=misses))


def _filtered(action_TA: np.ndarray, model: MotionModel) -> np.ndarray:
    feature_TF = action_features(np.asarray(action_TA, np.float64))
    delayed_TF = np.concatenate([np.repeat(feature_TF[:1], model.delay_steps, axis=0), feature_TF])[: len(feature_TF)]
    start_F = delayed_TF[:1] * (1.0 - model.gain)
    followed_TF = lfilter([model.gain], [1.0, -(1.0 - model.gain)], delayed_TF, axis=0, zi=start_F)[0]
    # Averaged over the same steps as the measured twist, or delays would look like lag.
    kernel = np.ones(2 * _REACH + 1) / (2 * _REACH + 1)
    return np.stack([np.convolve(column_T, kernel, mode="same") for column_T in followed_TF.T], axis=1)


def _centred_twist(track: Track, step_s: float, reach: int = _REACH) -> np.ndarray:
    """Return the twist over [t - reach, t + 1 + reach] steps, which is centred on the step that starts at t."""
    count = len(track.stamp_T)
    twist_T3 = np.full((count, 3), np.nan)
    before_X, after_X = np.arange(count - 2 * reach - 1), np.arange(2 * reach + 1, count)
    start_X4, end_X4 = track.pose_T4[before_X], track.pose_T4[after_X]
    elapsed_X = (track.stamp_T[after_X] - track.stamp_T[before_X]) * 1e-9
    turn_X = (end_X4[:, 3] - start_X4[:, 3] + np.pi) % (2 * np.pi) - np.pi
    middle_X = start_X4[:, 3] + turn_X / 2
    dx_X, dy_X = end_X4[:, 0] - start_X4[:, 0], end_X4[:, 1] - start_X4[:, 1]
    forward_X = dx_X * np.cos(middle_X) + dy_X * np.sin(middle_X)
    left_X = dy_X * np.cos(middle_X) - dx_X * np.sin(middle_X)
    twist_T3[reach : reach + len(before_X)] = np.stack([forward_X, left_X, turn_X], axis=1) / elapsed_X[:, None]
    return twist_T3
