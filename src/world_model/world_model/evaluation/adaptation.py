"""Was it worth it? What was learned from the first part of a robot's recordings, judged on the rest, before and after.

Shape suffixes: T = frames, M = starts, N = judged frames, 3 = (forward [m], left [m], turn [rad]).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from wm_core.projection import FeatureSpace, Projection
from world_model.data.episodes import Episode
from world_model.evaluation.bases import see
from world_model.evaluation.comparable import in_own_unit, pixel_spaces
from world_model.evaluation.intervals import BLOCK_S, block_sums, ratio_interval
from world_model.evaluation.online import known_to, run_online
from world_model.evaluation.runner import EpisodeForecasts, forecast_episode
from world_model.evaluation.scores import score
from world_model.runtime.artifacts import Artifact
from world_model.runtime.calibration import FUTURES, MotionCalibration
from world_model.runtime.fitting import gathered
from world_model.runtime.handed_on import Learned
from world_model.runtime.manifest import Manifest
from world_model.runtime.motion_log import MotionLog
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.motion_search import LARGEST, Target, both_errors, starts
from world_model.training.displacement import pose_or_none

# What comes of chance is not shipped: the upper end of the ratio's interval must not exceed this ...
_MOST_DOUBT = 1.02
# ... and a horizon that was not aimed at must not become worse than this.
_MOST_WORSE = 1.02
# A squared error of the pose that is not worth speaking of [m^2].
_LEAST_M2 = 0.02**2
_HELD: dict[str, Any] = {"known_future": False, "only_ours": True}
_KINDS = {"revisits": True, "first visits": False}


@dataclass(frozen=True)
class Verdict:
    """Mean error of the held-out part before and after, their ratio with a 95 % interval, and how many were judged.

    A difference of less than ``least`` is none.
    """

    what: str
    before: float
    after: float
    ratio: float
    low: float
    high: float
    count: int
    least: float = 0.0

    @property
    def is_better(self) -> bool:
        """Whether what was learned may take the place of what was there."""
        gained = self.before - self.after
        return self.count > 0 and self.ratio < 1.0 and self.high <= _MOST_DOUBT and gained >= self.least

    @property
    def is_worse(self) -> bool:
        """Whether what was learned is worse by more than chance and rounding may be."""
        return self.count > 0 and self.ratio > _MOST_WORSE and self.after - self.before >= self.least

    def entries(self) -> dict[str, Any]:
        """Return it as JSON-ready entries; what is not known is ``None``."""
        known = {name: None if value != value else value for name, value in asdict(self).items()}
        return {**known, "better": self.is_better}


def learned_motion(episodes: Sequence[Episode], manifest: Manifest, shipped: MotionModel) -> MotionCalibration:
    """Return what driving along some episodes, as the graph would, teaches of the motion."""
    horizons_s = shipped.error_horizons_s or (manifest.step_s, manifest.horizon_s)
    calibration = MotionCalibration(shipped, manifest.step_s, manifest.action_dim, manifest.horizon_s, horizons_s)
    for episode in episodes:
        calibration.restart()
        for stamp_ns, row_4, action_A in zip(episode.stamp_T.tolist(), episode.pose_T4, episode.action_TA):
            known = action_A if np.isfinite(action_A).all() else None
            calibration.observe(stamp_ns, pose_or_none(np.asarray(row_4)), known)
            calibration.learn()
    calibration.finish()
    return calibration


def judge_motion(
    episodes: Sequence[Episode], manifest: Manifest, before: MotionCalibration, after: MotionCalibration
) -> list[Verdict]:
    """Return how far the expected pose is off at the far horizon, in metres (1 rad counts as 1 m), squared.

    Args:
        episodes: Held-out parts.
        manifest: Of the artifact.
        before: What is there.
        after: What was learned from other parts.
    """
    verdicts = []
    for future in FUTURES:
        index, sums = FUTURES.index(future), []
        for episode in episodes:
            target = _target(episode, manifest)
            if not len(target.start_M):
                continue
            errors = [both_errors(target, model)[index] for model in (after.model(future), before.model(future))]
            square_M2 = np.stack([np.minimum(np.square(each).sum(axis=1), LARGEST) for each in errors], axis=1)
            sums.append(block_sums(square_M2, (target.start_M * target.step_s // BLOCK_S).astype(np.int64)))
        what = f"squared error of the pose in {manifest.horizon_s:g} s, actions {future} [m^2]"
        verdicts.append(verdict_of(what, np.concatenate(sums) if sums else np.zeros((0, 3)), _LEAST_M2))
    return verdicts


def _target(episode: Episode, manifest: Manifest) -> Target:
    log = MotionLog(manifest.step_s, manifest.action_dim, 4 * len(episode) + 1)
    for stamp_ns, row_4, action_A in zip(episode.stamp_T.tolist(), episode.pose_T4, episode.action_TA):
        known = action_A if np.isfinite(action_A).all() else None
        log.append(stamp_ns, pose_or_none(np.asarray(row_4)), known)
    rows, steps = log.rows(0, log.total), max(round(manifest.horizon_s / manifest.step_s), 1)
    start_M = starts(rows, steps, driven=True)
    if not len(start_M):
        start_M = starts(rows, steps)
    return Target(rows, np.zeros((0, 3)), np.zeros(0), start_M, manifest.step_s, steps)


def features_of(episodes: Sequence[Episode], artifact: Artifact) -> np.ndarray:
    """Return the features of all frames, int8 [N, F]."""
    network = artifact.features()
    return np.concatenate([network.encode_all(episode.image_TSSC) for episode in episodes])


def stamps_of(episodes: Sequence[Episode]) -> np.ndarray:
    """Return the stamps of all frames [ns], int64 [N]."""
    return np.concatenate([episode.stamp_T for episode in episodes])


def learned_projection(code_NF: np.ndarray, stamp_N: np.ndarray, space: FeatureSpace, z_dim: int) -> Projection:
    """Return the projection that a live node fits on these frames; where they end before, the one fitted on all.

    Args:
        code_NF: Their features, int8 [N, F].
        stamp_N: Their stamps [ns].
        space: Of the features.
        z_dim: Latent size.

    Raises:
        ProjectionError: They are too few, or all alike.
    """
    collector, _ = gathered(space, zip(code_NF, stamp_N.tolist()))
    return collector.fit(z_dim)


def judge_projection(code_NF: np.ndarray, stamp_N: np.ndarray, before: Projection, after: Projection) -> Verdict:
    """Return which share of the variance of held-out features each projection leaves out.

    Args:
        code_NF: The features, int8 [N, F].
        stamp_N: Their stamps [ns]: what follows within 2 s is one piece of evidence, however fast the camera.
        before: What is there.
        after: What was learned from other parts.
    """
    feature_NF = before.space.dequantise(code_NF).astype(np.float64)
    feature_NF -= feature_NF.mean(axis=0)
    spread = float(feature_NF.var(axis=0).sum()) + 1e-12
    lost = []
    for projection in (after, before):
        directions_FZ, _ = np.linalg.qr(projection.components.T.astype(np.float64))
        left_NF = feature_NF - feature_NF @ directions_FZ @ directions_FZ.T
        lost.append(np.square(left_NF).sum(axis=1) / spread)
    sums = block_sums(np.stack(lost, axis=1), stamp_N // round(BLOCK_S * 1e9))
    return verdict_of("share of the features' variance that is left out", sums)


def judge_forecasts(
    episodes: Sequence[Episode],
    held_out_s: Sequence[float],
    before: Artifact,
    after: Artifact,
    motion_state: Mapping[str, Any],
) -> list[Verdict]:
    """Return the errors of whole recordings' last parts, in the recordings' own pixel components or own variance.

    What came before is driven along and remembered, the last action is held. The first verdict is of the far horizon,
    all held-out frames; others tell revisits and first visits apart and judge the next step.

    Args:
        episodes: Whole recordings.
        held_out_s: Where the held-out part of each begins [s].
        before: What was there.
        after: What was learned.
        motion_state: What was learned of the motion; both have it.
    """
    runs = []
    for artifact in (after, before):
        run = partial(forecast_episode, artifact=artifact, motion_state=motion_state, **_HELD)
        runs.append(_runs(run, episodes, held_out_s, before.manifest))
    return _verdicts(runs, episodes, before.manifest)


def learned_experts(
    episodes: Sequence[Episode], artifact: Artifact, motion_state: Mapping[str, Any], projection: Projection | None
) -> Learned | None:
    """Return what the experts know after some drives, each of which goes on from the one before.

    Args:
        episodes: The drives.
        artifact: Whose predictor drives along.
        motion_state: What is known of the motion.
        projection: The robot's own, where its profile holds one.
    """
    learned = None
    for episode in episodes:
        run = run_online(
            episode,
            known_to(artifact, episode),
            see(artifact, episode, own=projection),
            artifact,
            _horizons(artifact.manifest),
            known_future=False,
            motion_state=motion_state,
            experts=learned,
        )
        learned = run.learned
    return learned


def judge_experts(
    episodes: Sequence[Episode],
    held_out_s: Sequence[float],
    artifact: Artifact,
    robot: Mapping[str, Any],
    before: Learned | None,
    after: Learned,
) -> list[Verdict]:
    """Return the errors of whole recordings' last parts where the robot is started anew there, as ``judge_forecasts``.

    Args:
        episodes: Whole recordings.
        held_out_s: Where the held-out part of each begins [s].
        artifact: Whose predictor drives along.
        robot: ``motion_state`` and ``projection``, which both have.
        before: What experts began with so far; ``None`` for nothing.
        after: What they are to begin with.
    """
    run = partial(forecast_episode, artifact=artifact, anew=True, **robot, **_HELD)
    runs = [
        _runs(partial(run, experts=experts), episodes, held_out_s, artifact.manifest) for experts in (after, before)
    ]
    return _verdicts(runs, episodes, artifact.manifest)


def _horizons(manifest: Manifest) -> tuple[int, int]:
    return 1, max(round(manifest.horizon_s / manifest.step_s), 1)


def _runs(
    run: Callable[..., list[EpisodeForecasts]],
    episodes: Sequence[Episode],
    held_out_s: Sequence[float],
    manifest: Manifest,
) -> list[list[EpisodeForecasts]]:
    """Return the forecasts of each episode's held-out part."""
    return [
        run(episode, horizons=_horizons(manifest), start_s=start_s) for episode, start_s in zip(episodes, held_out_s)
    ]


def _verdicts(
    each: Sequence[list[list[EpisodeForecasts]]], episodes: Sequence[Episode], manifest: Manifest
) -> list[Verdict]:
    """Return the verdicts on forecasts after and before, of each episode."""
    runs = [[run for entries in one for run in entries] for one in each]
    images = [np.asarray(episode.image_TSSC) for episode, entries in zip(episodes, each[0]) for _ in entries]
    error_NH2, revisit_NH, block_N = _paired(runs, images)
    far = f"NMSE {manifest.horizon_s:g} s ahead"
    everything_N = np.ones(len(block_N), bool)
    wanted = [(far, 1, everything_N)]
    wanted += [(f"{far}, {kind}", 1, revisit_NH[:, 1] == flag) for kind, flag in _KINDS.items()]
    wanted += [(f"NMSE {manifest.step_s:g} s ahead", 0, everything_N)]
    verdicts = []
    for what, column, chosen_N in wanted:
        good_N = chosen_N & np.isfinite(error_NH2[:, column]).all(axis=1)
        verdicts.append(verdict_of(what, block_sums(error_NH2[good_N, column], block_N[good_N])))
    return verdicts


def _paired(
    runs: Sequence[Sequence[EpisodeForecasts]], images: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return errors after and before, [N, H, 2], whether each is a revisit, [N, H], and its block."""
    columns = []
    for forecasts in runs:
        latents = [run.latent_TD for run in forecasts]
        own_D = np.maximum(np.concatenate(latents).var(axis=0), 1e-9)
        space = pixel_spaces(forecasts, images, latents)
        scores = score([in_own_unit(run) for run in forecasts], images, own_D, space)
        columns.append(scores.error["latent" if space is None else "pixel_components"]["ours"])
    return np.stack(columns, axis=2), scores.revisit_NH, scores.block_N


def verdict_of(what: str, sums: np.ndarray, least: float = 0.0) -> Verdict:
    """Return the verdict of sums of errors after and before, block by block."""
    count = float(sums[:, 2].sum()) if len(sums) else 0.0
    if not count:
        return Verdict(what, math.nan, math.nan, math.nan, math.nan, math.nan, 0, least)
    after, before = sums[:, 0].sum() / count, sums[:, 1].sum() / count
    ratio = ratio_interval(sums[:, :2])
    return Verdict(what, round(float(before), 5), round(float(after), 5), **ratio, count=int(count), least=least)


def is_shipped(verdicts: Sequence[Verdict]) -> bool:
    """Return whether forecasts became better where it was aimed at, and nowhere surely worse."""
    aimed, *others = verdicts
    return aimed.is_better and not any(each.is_worse for each in others)
