"""One episode through the online predictor and through every baseline, frame by frame, as the graph would see it.

Shape suffixes: T = frames, H = horizons, D = latent size, A = action size, F = regression features.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from wm_core.memory.keyframes import EXCLUDE_RECENT_S, select_states
from wm_core.memory.reference_batch import StateColumns
from wm_core.projection import Projection
from world_model.data.encoding import ridge_features
from world_model.data.episodes import Episode
from world_model.data.known import Known, known_of
from world_model.evaluation.bank import MemoryBank
from world_model.evaluation.bases import SeenEpisode, Stretch, see
from world_model.runtime.artifacts import Artifact
from world_model.runtime.handed_on import Learned
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.predictor import Observation, Predictor
from world_model.runtime.retrieved import Memory
from world_model.runtime.stepping import judging_tolerance_s, may_judge_between
from world_model.runtime.switches import EVIDENCE
from world_model.training.displacement import pose_or_none
from world_model.training.sequences import revisits

NOISE_M = 0.1
NOISE_RAD = 0.05
MEAN_COUNT = 4


@dataclass(frozen=True)
class EpisodeForecasts:
    """What each predictor said of one episode. Arrays of forecasts are [T, H, D], NaN where it ends or has a gap.

    Attributes:
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


def between_rows(value_TX: np.ndarray, row_TH: np.ndarray, part_TH: np.ndarray) -> np.ndarray:
    """Return values a part of the way from some rows to those after them, [T, H, X]."""
    start_THX = value_TX[row_TH]
    end_THX = value_TX[np.minimum(row_TH + 1, len(value_TX) - 1)]
    part_TH1 = part_TH[..., None].astype(value_TX.dtype)
    return np.asarray(np.where(part_TH1 > 0.0, start_THX + part_TH1 * (end_THX - start_THX), start_THX))


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
    said = forecast, ours.gate_TH, revisit_TH, judged_T, part_TH
    whole = EpisodeForecasts(episode.name, _as_it_came(seen), np.empty(0), row_TH, *said)
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


def target_rows(stamp_T: np.ndarray, horizons: Sequence[int], step_s: float) -> np.ndarray:
    """Return the row of the frame nearest to each horizon [T, H], -1 where none lies within the tolerance.

    The tolerance is ``judging_tolerance_s``: half a step, or a tenth of the horizon where that is more.
    """
    row_TH = np.full((len(stamp_T), len(horizons)), -1, np.int64)
    for column, step in enumerate(horizons):
        wanted_T = stamp_T + round(step * step_s * 1e9)
        after_T = np.clip(np.searchsorted(stamp_T, wanted_T), 1, len(stamp_T) - 1)
        nearer_T = wanted_T - stamp_T[after_T - 1] <= stamp_T[after_T] - wanted_T
        chosen_T = np.where(nearer_T, after_T - 1, after_T)
        tolerance_ns = int(judging_tolerance_s(step * step_s, step_s) * 1e9)
        fits_T = (np.abs(stamp_T[chosen_T] - wanted_T) <= tolerance_ns) & (stamp_T[chosen_T] > stamp_T)
        row_TH[:, column] = np.where(fits_T, chosen_T, -1)
    return row_TH


def targets(stamp_T: np.ndarray, horizons: Sequence[int], step_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which frames show each horizon [T, H], -1 where none does, and how far on the way to the next [T, H].

    The nearest frame as in ``target_rows``; where none is near, a part of the way between the two around it, if they
    lie close enough (``may_judge_between``).
    """
    row_TH = target_rows(stamp_T, horizons, step_s)
    part_TH = np.zeros(row_TH.shape)
    for column, step in enumerate(horizons):
        wanted_T = stamp_T + round(step * step_s * 1e9)
        before_T = np.searchsorted(stamp_T, wanted_T) - 1
        open_T = (row_TH[:, column] < 0) & (before_T + 1 < len(stamp_T)) & (before_T > np.arange(len(stamp_T)))
        for row in np.flatnonzero(open_T):
            before = int(before_T[row])
            gap_ns = int(stamp_T[before + 1] - stamp_T[before])
            if may_judge_between(gap_ns * 1e-9, step * step_s):
                row_TH[row, column], part_TH[row, column] = before, (wanted_T[row] - stamp_T[before]) / gap_ns
    return row_TH, part_TH


def plan_ahead(action_TA: np.ndarray, stamp_T: np.ndarray, t: int, steps: int, step_s: float) -> np.ndarray | None:
    """Return the recorded actions in force at each step after the present one, [S, A]; None where one is not known.

    An action counts from half a step before its frame, as everywhere; what lies behind the last frame is left out.

    Args:
        action_TA: Recorded actions.
        stamp_T: Stamps of their frames [ns].
        t: Present row.
        steps: How many steps are looked ahead; the plan holds one less.
        step_s: Step of the model [s].
    """
    half_ns = round(0.5e9 * step_s)
    when_S = int(stamp_T[t]) + np.round(np.arange(1, steps) * step_s * 1e9).astype(np.int64)
    when_S = when_S[when_S <= int(stamp_T[-1]) + half_ns]
    row_S = np.searchsorted(stamp_T, when_S + half_ns, side="right") - 1
    plan_SA = action_TA[row_S]
    return plan_SA if len(plan_SA) and np.isfinite(plan_SA).all() else None


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
