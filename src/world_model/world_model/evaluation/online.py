"""The online predictor over one episode, frame by frame, told what its graph would have known.

Shape suffixes: T = frames, H = horizons, D = latent size, A = action size, F = feature size, K = neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from wm_core.projection import Projection
from world_model.data.episodes import Episode
from world_model.data.known import Known, known_of
from world_model.evaluation.bank import MemoryBank
from world_model.evaluation.bases import SeenEpisode, Stretch
from world_model.evaluation.horizons import plan_ahead
from world_model.runtime.artifacts import Artifact
from world_model.runtime.handed_on import Learned
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.predictor import Observation, Predictor
from world_model.runtime.retrieved import Memory
from world_model.training.displacement import pose_or_none

NOISE_M = 0.1
NOISE_RAD = 0.05
MEAN_COUNT = 4


@dataclass(frozen=True)
class OnlineRun:
    """What one pass of the predictor gave, and what its memory's answers alone would have said: [T, H, D].

    ``without_THD`` is the combination of what needs no memory. Parts of the combinations: ``network_THD`` and
    ``network_without_THD`` (the network, with memories and without), ``running_mean_THD``, ``ridge_THD``, and
    ``copied_THD``, the plain copy of memories (the forecast without memory where there was none). ``learned`` is what
    the experts know at the end.
    """

    latent_THD: np.ndarray
    network_THD: np.ndarray
    copied_THD: np.ndarray
    without_THD: np.ndarray
    network_without_THD: np.ndarray
    running_mean_THD: np.ndarray
    ridge_THD: np.ndarray
    nearest_THD: np.ndarray
    mean_THD: np.ndarray
    knn_THD: np.ndarray
    gate_TH: np.ndarray
    learned: Learned


def known_to(artifact: Artifact, episode: Episode) -> Known:
    """Return what the graph of an artifact would have known of an episode's poses, and kept."""
    manifest = artifact.manifest
    return known_of(episode, MotionModel.from_manifest(manifest.motion), manifest.step_s)


def run_online(
    episode: Episode,
    known: Known,
    seen: SeenEpisode,
    artifact: Artifact,
    horizons: Sequence[int],
    known_future: bool,
    use_memory: bool = True,
    without: Collection[str] = (),
    motion_state: Mapping[str, Any] | None = None,
    experts: Learned | None = None,
    again: int | None = None,
) -> OnlineRun:
    """Return one pass of the online predictor and a plain exact memory along an episode.

    Without ``use_memory`` it is the network that was trained without, and nothing is asked; ``without`` switches parts
    of the predictor off. ``known`` tells the poses, and in which order frames are seen and kept. At row ``again`` the
    robot is started a second time: its memory stays.
    """
    step_s = artifact.manifest.step_s
    times_s = [step * step_s for step in horizons]
    make = partial(Predictor, artifact, horizons_s=times_s, use_memory=use_memory, without=without)
    start, predictor = partial(_started, make, motion_state, experts), make()
    bank = MemoryBank.of(artifact.manifest)
    changes = {each.first: each for each in seen.stretches if each.projection is not None and each.projection.is_fitted}
    latent_TD = seen.stretches[0].latent_TD
    shape = (len(episode), len(horizons), latent_TD.shape[1])
    latent, network, copied, base, nearest, mean, knn = (np.empty(shape, np.float32) for _ in range(7))
    alone, usual, ridge = (np.empty(shape, np.float32) for _ in range(3))
    gate_TH = np.zeros(shape[:2], np.float32)
    action_TA, stamp_T = np.asarray(episode.action_TA), np.asarray(episode.stamp_T)
    row_of = {int(stamp): row for row, stamp in enumerate(episode.stamp_T)}
    for t in known.order:
        if t < 0:
            bank.observe(kept_observation(episode, known, seen, latent_TD, ~t))
            continue
        if t in changes:
            latent_TD = _change_basis(changes[t], predictor, bank)
        if t in (0, again):
            predictor = start(next(each.projection for each in seen.stretches if t < each.end))
        observation = told_observation(episode, known, seen, latent_TD, t)
        plan_SA = plan_ahead(action_TA, stamp_T, t, max(horizons), step_s) if known_future else None
        requests = predictor.observe(observation, plan_SA)
        answers = bank.answer(requests) if use_memory and requests else None
        prediction = predictor.predict(answers)
        for h, forecast in enumerate(prediction.forecasts):
            latent[t, h], base[t, h], gate_TH[t, h] = forecast.latent_D, forecast.without_memory_D, forecast.gate
            network[t, h], alone[t, h] = forecast.network_D, forecast.network_without_D
            usual[t, h], ridge[t, h] = forecast.mean_D, forecast.ridge_D
            copied[t, h] = forecast.without_memory_D if forecast.copied_D is None else forecast.copied_D
        anticipated = answers[:-1] if answers else [[] for _ in horizons]
        appearance = answers[-1] if answers else []
        nearest[t], mean[t] = _copies(anticipated, latent_TD[t])
        knn[t] = _successors(appearance, row_of, latent_TD, stamp_T[: t + 1], [step * step_s for step in horizons])
    return OnlineRun(
        latent, network, copied, base, alone, usual, ridge, nearest, mean, knn, gate_TH, predictor.learned()
    )


def _started(
    make: Callable[[], Predictor],
    motion_state: Mapping[str, Any] | None,
    experts: Learned | None,
    projection: Projection | None,
) -> Predictor:
    """Return a predictor as a graph starts it: with what its robot's profile holds, in the basis of the first frame."""
    predictor = make()
    if motion_state is not None:
        predictor.motion.restore(motion_state)
    if projection is not None and projection.is_fitted:
        predictor.rebase(projection)
    if experts is not None and experts.entries["encoder_id"] == predictor.encoder_id:
        predictor.begin(experts)
    return predictor


def _change_basis(stretch: Stretch, predictor: Predictor, bank: MemoryBank) -> np.ndarray:
    """Let predictor and memory go on in another basis, and return the latents in it."""
    assert stretch.projection is not None
    predictor.rebase(stretch.projection)
    bank.reproject(stretch.projection)
    return stretch.latent_TD


def told_observation(episode: Episode, known: Known, seen: SeenEpisode, latent_TD: np.ndarray, row: int) -> Observation:
    """Return a frame as its state tells it: with the pose known then.

    Args:
        episode: Whose frame.
        known: What was known of it.
        seen: Its features.
        latent_TD: Latents in the present basis.
        row: Which frame.
    """
    position_m, yaw_rad = known.std_T2[row]
    std_3 = np.array([position_m, position_m, yaw_rad])
    told = std_3 if np.isfinite(std_3).any() else None
    return _observation(episode, known.pose_T4[row], told, seen, latent_TD, row)


def kept_observation(episode: Episode, known: Known, seen: SeenEpisode, latent_TD: np.ndarray, row: int) -> Observation:
    """Return a frame as the memory takes it, with its measured pose; arguments as ``told_observation``."""
    return _observation(episode, known.kept_T4[row], None, seen, latent_TD, row)


def _observation(
    episode: Episode, pose_4: np.ndarray, std_3: np.ndarray | None, seen: SeenEpisode, latent_TD: np.ndarray, row: int
) -> Observation:
    action_A = np.asarray(episode.action_TA[row])
    code_F = None if seen.code_TF is None else seen.code_TF[row]
    action = action_A if np.isfinite(action_A).all() else None
    return Observation(int(episode.stamp_T[row]), latent_TD[row], pose_or_none(pose_4), action, std_3, code_F)


def with_noise(known: Known, seed: int) -> Known:
    """Return what was known with white noise added to every pose (0.1 m, 0.05 rad)."""
    rng = np.random.default_rng(seed)
    return known.with_noise(rng.normal(size=known.pose_T4.shape) * np.array([NOISE_M, NOISE_M, 0.0, NOISE_RAD]))


def _copies(anticipated: Sequence[Sequence[Memory]], latent_D: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    nearest = [found[0].latent_D if found else latent_D for found in anticipated]
    mean = [np.mean([m.latent_D for m in found[:MEAN_COUNT]], axis=0) if found else latent_D for found in anticipated]
    return np.stack(nearest), np.stack(mean)


def _successors(
    appearance: Sequence[Memory],
    row_of: dict[int, int],
    latent_TD: np.ndarray,
    past_T: np.ndarray,
    horizons_s: Sequence[float],
) -> np.ndarray:
    """Return what followed the most alike memory at each horizon, by stamps, as far as it has been seen, [H, D]."""
    now = len(past_T) - 1
    if not appearance:
        return np.repeat(latent_TD[now : now + 1], len(horizons_s), axis=0)
    start_ns = int(past_T[row_of[appearance[0].stamp_ns]])
    wanted_H = start_ns + np.round(np.array(horizons_s) * 1e9).astype(np.int64)
    after_H = np.clip(np.searchsorted(past_T, wanted_H), 1, max(now, 1))
    nearer_H = wanted_H - past_T[after_H - 1] <= past_T[np.minimum(after_H, now)] - wanted_H
    return latent_TD[np.minimum(np.where(nearer_H, after_H - 1, after_H), now)]
