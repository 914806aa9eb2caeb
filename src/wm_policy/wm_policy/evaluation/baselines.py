"""What a policy has to beat: predictors of where a robot goes that need little learning, or none.

Paths are [N, S, 2]: forward and left [m] at every 0.1 s, seen from where the robot was.

Shape suffixes: N = samples, S = steps, T = frames, H = times after a visit, X = numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from wm_policy.heads.base import mlp
from wm_policy.heads.trajectory import STEP_S
from wm_policy.runtime.observer import ObserverSettings
from wm_policy.runtime.policy import Processor
from wm_policy.training.samples import Samples
from world_model.data.episodes import Episode
from world_model.runtime.motion import MotionModel, MotionTracker, displacement_at
from world_model.training.displacement import pose_or_none

JUDGED_STEPS = 30
_RIDGE, _MLP_STEPS = 1e-2, 800
_PLACE = 10
"""Numbers of a visit before what followed it."""


def driven_on(episodes: Sequence[Episode], samples: Samples, motion: MotionModel, step_s: float) -> np.ndarray:
    """Return where a motion model says that the robot comes with its last action held, [N, S, 2]."""
    path_NS2 = np.full((len(samples), JUDGED_STEPS, 2), np.nan)
    times_s = [STEP_S * (step + 1) for step in range(JUDGED_STEPS)]
    steps = int(np.ceil(times_s[-1] / step_s)) + 1
    for number, episode in enumerate(episodes):
        rows = np.flatnonzero(samples.episode_N == number)
        wanted = {int(samples.stamp_N[row]): row for row in rows}
        tracker = MotionTracker(motion, step_s, episode.action_TA.shape[1])
        for stamp, pose_4, action_A in zip(episode.stamp_T, episode.pose_T4, episode.action_TA):
            known = np.isfinite(action_A).all()
            tracker.update(int(stamp), pose_or_none(pose_4), np.asarray(action_A) if known else None)
            moved_S3 = tracker.displacements(steps) if int(stamp) in wanted else None
            if moved_S3 is not None:
                path_NS2[wanted[int(stamp)]] = displacement_at(moved_S3, times_s, step_s)[:, :2]
    return path_NS2


def nearest_drive(samples: Samples, settings: ObserverSettings, otherwise_NS2: np.ndarray) -> np.ndarray:
    """Return what followed the nearest visit, done again from here, [N, S, 2]; without a visit something else.

    Args:
        samples: With their visits.
        settings: When it is told where the robot was.
        otherwise_NS2: Where no visit is known for long enough.
    """
    first_NM, count = samples.inputs["memory"][:, 0].astype(np.float64), len(settings.follow_s)
    forward_NH = first_NM[:, _PLACE : _PLACE + count]
    left_NH = first_NM[:, _PLACE + count : _PLACE + 2 * count]
    # From the memory's own pose, which stood a little beside and turned.
    away_NH, aside_NH = forward_NH - first_NM[:, :1], left_NH - first_NM[:, 1:2]
    sine_N1, cosine_N1 = first_NM[:, 2:3], first_NM[:, 3:4]
    own_NH2 = np.stack([away_NH * cosine_N1 + aside_NH * sine_N1, aside_NH * cosine_N1 - away_NH * sine_N1], axis=-1)
    own_NH2 = np.concatenate([np.zeros((len(samples), 1, 2)), own_NH2], axis=1)
    at_S, at_H = STEP_S * (np.arange(JUDGED_STEPS) + 1), np.concatenate([[0.0], settings.follow_s])
    path_NS2: np.ndarray = otherwise_NS2.copy()
    reach = int(np.searchsorted(at_H, at_S[-1])) + 1
    for row in np.flatnonzero(np.isfinite(own_NH2[:, :reach]).all(axis=(1, 2))):
        for axis in range(2):
            path_NS2[row, :, axis] = np.interp(at_S, at_H[:reach], own_NH2[row, :reach, axis]) * samples.unit_N[row]
    return path_NS2


def ego_numbers(samples: Samples, processor: Processor, with_views: bool) -> np.ndarray:
    """Return what the robot knows of its own motion, and of what it sees, as numbers side by side, [N, X]."""
    batch = processor.batch(samples.inputs, batched=True)
    names = ["ego", "forecast", "speed", *(["view"] if with_views else [])]
    return np.asarray(np.concatenate([batch[name].reshape(len(samples), -1) for name in names], axis=1))


def ridge(train: Samples, test: Samples, processor: Processor) -> np.ndarray:
    """Return the paths of a linear regression on views and ego status, [N, S, 2]."""
    known_N, target_NX = _learned(train)
    feature_NX = _with_one(ego_numbers(train, processor, True)[known_N])
    gram_XX = feature_NX.T @ feature_NX + _RIDGE * len(feature_NX) * np.eye(feature_NX.shape[1])
    weight_XY = np.linalg.solve(gram_XX, feature_NX.T @ target_NX[known_N])
    return _in_metres(_with_one(ego_numbers(test, processor, True)) @ weight_XY, test)


def ego_mlp(train: Samples, test: Samples, processor: Processor, seed: int) -> np.ndarray:
    """Return the paths of a small network that sees nothing but its own motion, [N, S, 2].

    Source: Li et al. 2024, "Is Ego Status All You Need for Open-Loop End-to-End Autonomous Driving?"
    """
    torch.manual_seed(seed)
    known_N, target_NX = _learned(train)
    feature_NX = torch.from_numpy(ego_numbers(train, processor, False)[known_N]).float()
    wanted_NX = torch.from_numpy(target_NX[known_N]).float()
    network = mlp([feature_NX.shape[1], 128, 128, wanted_NX.shape[1]])
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=_MLP_STEPS)
    for _ in range(_MLP_STEPS):
        rows = torch.randint(len(feature_NX), (128,))
        loss = nn.functional.huber_loss(network(feature_NX[rows]), wanted_NX[rows], delta=0.1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        said_NX = network(torch.from_numpy(ego_numbers(test, processor, False)).float()).numpy()
    return _in_metres(said_NX, test)


def _learned(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    known_N = np.asarray(samples.targets["path_valid"][:, :JUDGED_STEPS].all(axis=1))
    return known_N, samples.targets["path"][:, :JUDGED_STEPS].reshape(len(samples), -1).astype(np.float64)


def _with_one(feature_NX: np.ndarray) -> np.ndarray:
    return np.asarray(np.column_stack([feature_NX, np.ones(len(feature_NX))]), np.float64)


def _in_metres(said_NX: np.ndarray, samples: Samples) -> np.ndarray:
    return np.asarray(said_NX.reshape(len(samples), JUDGED_STEPS, 2) * samples.unit_N[:, None, None])
