"""A motion model along many rows at once: the same as ``MotionTracker``, for every start at a time.

Shape suffixes: N = rows (one a step), M = starts, S = steps ahead, A = action size, F = action features,
3 = (forward, left, turn) or (x, y, yaw).
"""

from __future__ import annotations

import numpy as np

from world_model.runtime.motion_log import MotionRows
from world_model.runtime.motion_model import MotionModel, action_features

_NEGLIGIBLE = 1e-6


def followed(command_NF: np.ndarray, gain: float, delay: int = 0) -> np.ndarray:
    """Return what follows commands with a first-order lag, after a delay [steps], [N, F]; it begins at the first.

    The recursion ``y[t] = (1 - gain) y[t-1] + gain x[t]`` by doubling: a handful of passes instead of one per row.
    """
    if delay:
        command_NF = np.concatenate([np.repeat(command_NF[:1], delay, axis=0), command_NF])[: len(command_NF)]
    keep = 1.0 - gain
    result_NF = gain * command_NF
    result_NF[0] = command_NF[0]
    reach = 1
    while keep > _NEGLIGIBLE and reach < len(result_NF):
        moved_NF = keep * result_NF[:-reach]
        result_NF[reach:] += moved_NF
        keep, reach = keep * keep, 2 * reach
    return result_NF


def modelled_twist(rows: MotionRows, model: MotionModel) -> tuple[np.ndarray, np.ndarray]:
    """Return the twist during the step that begins at each row, and the twist commanded there, [N, 3] each."""
    if not model.weights:
        nothing_N3 = np.zeros((len(rows), 3))
        return nothing_N3, nothing_N3
    action_NA = np.nan_to_num(model.limited(rows.action_NA))
    command_N3 = action_features(action_NA) @ np.array(model.weights).T
    return followed(command_N3, model.gain, model.delay_steps), command_N3


def relative(end_M3: np.ndarray, begin_M3: np.ndarray) -> np.ndarray:
    """Return poses in the frames of others, [..., 3]; yaws must not jump at half a turn."""
    dx_M, dy_M = end_M3[..., 0] - begin_M3[..., 0], end_M3[..., 1] - begin_M3[..., 1]
    cosine_M, sine_M = np.cos(begin_M3[..., 2]), np.sin(begin_M3[..., 2])
    turn_M = end_M3[..., 2] - begin_M3[..., 2]
    return np.stack([dx_M * cosine_M + dy_M * sine_M, dy_M * cosine_M - dx_M * sine_M, turn_M], axis=-1)


def arcs(moved_M3: np.ndarray, elapsed_s: float) -> np.ndarray:
    """Return the constant twist that leads to each displacement, [..., 3]: the chord turned back by half the turn."""
    half_M = 0.5 * moved_M3[..., 2]
    cosine_M, sine_M = np.cos(half_M), np.sin(half_M)
    forward_M, left_M = moved_M3[..., 0], moved_M3[..., 1]
    along_M, aside_M = forward_M * cosine_M + left_M * sine_M, left_M * cosine_M - forward_M * sine_M
    return np.stack([along_M, aside_M, moved_M3[..., 2]], axis=-1) / elapsed_s


def displacement_of(twist_MS3: np.ndarray, step_s: float) -> np.ndarray:
    """Return where a sequence of twists leads, [M, 3], by the midpoint rule."""
    turn_MS = np.cumsum(twist_MS3[..., 2], axis=1) * step_s
    middle_MS = turn_MS - 0.5 * step_s * twist_MS3[..., 2]
    cosine_MS, sine_MS = np.cos(middle_MS), np.sin(middle_MS)
    forward_MS, left_MS = twist_MS3[..., 0], twist_MS3[..., 1]
    forward_M = (forward_MS * cosine_MS - left_MS * sine_MS).sum(axis=1) * step_s
    left_M = (forward_MS * sine_MS + left_MS * cosine_MS).sum(axis=1) * step_s
    return np.stack([forward_M, left_M, turn_MS[:, -1]], axis=1)


def residual_twist(
    rows: MotionRows, twist_N3: np.ndarray, start_M: np.ndarray, window: int, step_s: float
) -> np.ndarray:
    """Return the measured less the modelled twist over the ``window`` steps before each start, [M, 3]."""
    moved_M3 = relative(rows.pose_N3[start_M], rows.pose_N3[start_M - window])
    sum_N3 = np.concatenate([np.zeros((1, 3)), np.cumsum(twist_N3, axis=0)])
    modelled_M3 = (sum_N3[start_M] - sum_N3[start_M - window]) / window
    residual_M3: np.ndarray = arcs(moved_M3, window * step_s) - modelled_M3
    return residual_M3


def known_twist(twist_N3: np.ndarray, start_M: np.ndarray, steps: int) -> np.ndarray:
    """Return the modelled twist of each step ahead where the actions that follow are known, [M, S, 3]."""
    return twist_N3[start_M[:, None] + np.arange(steps)]


def held_twist(
    twist_N3: np.ndarray, command_N3: np.ndarray, start_M: np.ndarray, steps: int, model: MotionModel
) -> np.ndarray:
    """Return the modelled twist of each step ahead where the action of the start is held, [M, S, 3]."""
    # What is left of the twist of the start, and what each command adds to each later step.
    keep, ahead_S = 1.0 - model.gain, np.arange(steps)
    back_S = np.minimum(ahead_S[1:] - model.delay_steps, 0)
    gap_SS = ahead_S[:, None] - ahead_S[None, 1:]
    share_SS = np.where(gap_SS >= 0, model.gain * keep ** np.maximum(gap_SS, 0), 0.0)
    left_MS3 = (keep**ahead_S)[:, None] * twist_N3[start_M][:, None]
    result_MS3: np.ndarray = left_MS3 + share_SS @ command_N3[start_M[:, None] + back_S]
    return result_MS3


def missed(rows: MotionRows, start_M: np.ndarray, moved_M3: np.ndarray, steps: int) -> np.ndarray:
    """Return true minus expected displacement, [M, 3], in the frame of each start."""
    difference_M3: np.ndarray = relative(rows.pose_N3[start_M + steps], rows.pose_N3[start_M]) - moved_M3
    return difference_M3
