"""One episode through the online predictor and through every baseline, frame by frame, as the graph would see it.

Shape suffixes: T = frames, H = horizons, D = latent size, A = action size, F = regression features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from wm_core.memory.keyframes import EXCLUDE_RECENT_S, select_states
from wm_core.memory.reference_batch import StateColumns
from wm_core.projection import Projection
from world_model.data.encoding import ridge_features
from world_model.data.episodes import Episode
from world_model.data.known import Known
from world_model.evaluation.bases import SeenEpisode, Stretch, see
from world_model.evaluation.horizons import between_rows, targets
from world_model.evaluation.online import OnlineRun, known_to, run_online, with_noise
from world_model.runtime.artifacts import Artifact
from world_model.runtime.handed_on import Learned
from world_model.runtime.switches import EVIDENCE
from world_model.training.sequences import revisits


@dataclass(frozen=True)
class EpisodeForecasts:
    """What each predictor said of one episode. Arrays of forecasts are [T, H, D], NaN where it ends or has a gap.

    Attributes:
        stamp_T: Stamps of the frames, int64 ns.
        latent_TD: What was seen.
        target_THD: What really came.
        target_row_TH: Frame that shows it, -1 where none does.
        forecast: Predictor name -> forecasts.
        gate_TH: How much memories had to say in ours.
        revisit_TH: Whether the place of the target had been seen at least 20 s before.
        judged_T: Frames that count.
        target_part_TH: How far what came lies on the way from that frame to the next: 0 where the frame shows it, more
            where it is interpolated; ``None``: 0 everywhere.
        variance_D: The unit of errors in the basis of these latents; ``None``: the training set's, or none yet.
        is_own: Whether latents are projected features: then all of their dimensions count in one unit.
        has_unit: Whether there is a unit: before a robot's own projection is fitted there is none.
    """

    name: str
    stamp_T: np.ndarray
    latent_TD: np.ndarray
    target_THD: np.ndarray
    target_row_TH: np.ndarray
    forecast: dict[str, np.ndarray]
    gate_TH: np.ndarray
    revisit_TH: np.ndarray
    judged_T: np.ndarray
    target_part_TH: np.ndarray | None = None
    variance_D: np.ndarray | None = None
    is_own: bool = False
    has_unit: bool = True

    def seen_at_targets(self, value_TX: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return values of the frames at the targets of some rows, [rows, H, X]; of no meaning where there is none."""
        row_NH = self.target_row_TH[rows]
        if self.target_part_TH is None:
            return np.asarray(value_TX[row_NH])
        return between_rows(value_TX, row_NH, self.target_part_TH[rows])


def forecast_episode(
    episode: Episode,
    artifact: Artifact,
    horizons: Sequence[int],
    *,
    ridge_HFD: np.ndarray | None = None,
    known_future: bool = True,
    start_s: float = 0.0,
    burn_in: int = 20,
    noise_seed: int = 0,
    without: Sequence[str] = (),
    only_ours: bool = False,
    motion_state: Mapping[str, Any] | None = None,
    projection: Projection | None = None,
    seen: SeenEpisode | None = None,
    experts: Learned | None = None,
    anew: bool = False,
) -> list[EpisodeForecasts]:
    """Return every predictor's forecasts of one episode, one entry for each basis that its latents are in.

    The predictor is told expected poses where none was measured yet; the memory keeps the measured ones that followed.
    Rows of another basis than an entry's are not judged in it, nor forecasts whose time comes in another.

    Args:
        episode: Aligned episode.
        artifact: Ours.
        horizons: Steps ahead.
        ridge_HFD: Ridge regression weights per horizon, on ``ridge_features``.
        known_future: Tell the recorded actions that follow; else the last action is held.
        start_s: Frames before this are remembered but not judged [s].
        burn_in: First frames that are not judged.
        noise_seed: Seed of the run with extra pose noise.
        without: Parts of the predictor; each is switched off in one more run, named by ``name_without``.
        only_ours: Leave out what takes a run of its own: pose noise, and the network trained without memory.
        motion_state: What a profile knows of the robot's motion.
        projection: The robot's own, where its profile holds one: it is in use from the first frame.
        seen: The episode as the artifact sees it, where that is known already.
        experts: What the profile knows of experts; every start begins with it.
        anew: At ``start_s`` the robot is started a second time: memories stay, and what its profile holds.

    Raises:
        ConfigError: ``without`` names no part.
        DataError: The episode lacks something the encoder takes.
    """
    seen = see(artifact, episode, own=projection) if seen is None else seen
    known = known_to(artifact, episode)
    second_T = (episode.stamp_T - episode.stamp_T[0]) * 1e-9
    again = int(np.searchsorted(second_T, start_s)) if anew else None
    run = partial(run_online, episode, seen=seen, artifact=artifact, horizons=horizons, known_future=known_future)
    run = partial(run, motion_state=motion_state, experts=experts, again=again)
    ours = run(known=known)
    forecast = _of_one_run(ours, _as_it_came(seen)) | _of_runs_without(ours, run, known, without)
    forecast |= {} if only_ours else _of_other_runs(artifact, run, known, noise_seed)
    forecast |= {} if ridge_HFD is None else _of_ridge(seen, episode, ridge_HFD)
    row_TH, part_TH = targets(np.asarray(episode.stamp_T), horizons, artifact.manifest.step_s)
    judged_T = (second_T >= start_s) & (np.arange(len(episode)) >= burn_in)
    revisit_TH = _revisits(episode, known, seen.stretches[0].latent_TD, np.where(part_TH > 0.5, row_TH + 1, row_TH))
    about = episode.name, np.asarray(episode.stamp_T, np.int64), _as_it_came(seen), np.empty(0), row_TH
    whole = EpisodeForecasts(*about, forecast, ours.gate_TH, revisit_TH, judged_T, part_TH)
    return [_within(whole, stretch) for stretch in seen.stretches]


def _of_runs_without(
    ours: OnlineRun, run: Callable[..., OnlineRun], known: Known, without: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the forecasts of one more run for each part that is switched off."""
    # Evidence comes after the network, which knows nothing of it: no run of its own is needed.
    return {
        name_without(part): ours.network_THD if part == EVIDENCE else run(known=known, without=(part,)).latent_THD
        for part in without
    }


def _of_other_runs(
    artifact: Artifact, run: Callable[..., OnlineRun], known: Known, noise_seed: int
) -> dict[str, np.ndarray]:
    """Return the forecasts with extra pose noise, and those of the network that was trained without memory."""
    forecast = {"ours, pose noise": run(known=with_noise(known, noise_seed)).latent_THD}
    if artifact.has("without_memory"):
        forecast["without memory"] = run(known=known, use_memory=False).latent_THD
    return forecast


def _of_ridge(seen: SeenEpisode, episode: Episode, ridge_HFD: np.ndarray) -> dict[str, np.ndarray]:
    """Return the forecasts of ridge regression, [T, H, D]; none where the basis changed on the way."""
    if len(seen.stretches) != 1:
        return {}
    feature_TF = ridge_features(seen.stretches[0].latent_TD, np.asarray(episode.action_TA))
    return {"ridge regression": np.asarray(np.einsum("tf,hfd->thd", feature_TF, ridge_HFD), np.float32)}


def _as_it_came(seen: SeenEpisode) -> np.ndarray:
    """Return the latents of all frames, each in the basis of its time, [T, D]."""
    return np.concatenate([stretch.latent_TD[stretch.first : stretch.end] for stretch in seen.stretches])


def _within(whole: EpisodeForecasts, stretch: Stretch) -> EpisodeForecasts:
    """Return the forecasts that were made, and came true, in one basis."""
    row_T = np.arange(len(whole.judged_T))
    row_TH, part_TH = whole.target_row_TH, whole.target_part_TH
    assert part_TH is not None
    row_TH = np.where(row_TH + (part_TH > 0.0) < stretch.end, row_TH, -1)
    return replace(
        whole,
        latent_TD=stretch.latent_TD,
        target_THD=np.where((row_TH >= 0)[..., None], between_rows(stretch.latent_TD, row_TH, part_TH), np.nan),
        target_row_TH=row_TH,
        judged_T=whole.judged_T & (row_T >= stretch.first) & (row_T < stretch.end),
        variance_D=stretch.variance_D,
        is_own=stretch.projection is not None,
        has_unit=stretch.variance_D is not None,
    )


def name_without(part: str) -> str:
    """Return what our predictor is called where one of its parts is switched off."""
    return f"ours, without {part}"


def _of_one_run(ours: OnlineRun, latent_TD: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "ours": ours.latent_THD,
        "ours, network alone": ours.network_THD,
        "ours, copies alone": ours.copied_THD,
        "ours, memory emptied": ours.without_THD,
        "network without memory": ours.network_without_THD,
        "persistence": np.repeat(latent_TD[:, None], ours.latent_THD.shape[1], axis=1),
        "running mean": ours.running_mean_THD,
        "online ridge": ours.ridge_THD,
        "latent-KNN successor": ours.knn_THD,
        "nearest memory at forecast pose": ours.nearest_THD,
        "mean of 4 nearest": ours.mean_THD,
    }


def _revisits(episode: Episode, known: Known, latent_TD: np.ndarray, row_TH: np.ndarray) -> np.ndarray:
    """Return whether the place of each target had been seen before, by the poses that were measured, bool [T, H]."""
    pose_T4 = np.asarray(episode.pose_T4)
    pose_T4 = np.where(np.isfinite(pose_T4), pose_T4, known.pose_T4)
    kept_N = select_states(np.asarray(episode.stamp_T), pose_T4)
    table = StateColumns(episode.stamp_T[kept_N], pose_T4[kept_N], latent_TD[kept_N])
    pose_T3 = pose_T4[:, [0, 1, 3]]
    columns = []
    for column in range(row_TH.shape[1]):
        rows = row_TH[:, column]
        there_T3 = np.where((rows >= 0)[:, None], pose_T3[rows], np.nan)
        columns.append(revisits(table, there_T3, np.asarray(episode.stamp_T), EXCLUDE_RECENT_S))
    return np.stack(columns, axis=1)
