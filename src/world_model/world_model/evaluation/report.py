"""The evaluation of an artifact: forecasts, scores, costs, pictures, and a folder that holds them all.

Shape suffixes: T = frames, H = horizons, D = latent size.
"""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from world_model.data.bags import BagOptions, episodes_as_taken, with_actions_of
from world_model.data.encoding import encode_episode, frames_of
from world_model.data.episodes import Episode, EpisodeSet
from world_model.data.known import with_pose_delay
from world_model.data.pixel_space import PixelSpace
from world_model.data.rates import measured_step_s
from world_model.data.simulated import SimulatedRun, parse_seeds, simulate_episode
from world_model.errors import DataError
from world_model.evaluation.bank import MemoryBank
from world_model.evaluation.comparable import NAMES, comparable
from world_model.evaluation.known_robot import known_robot
from world_model.evaluation.options import EvaluationOptions
from world_model.evaluation.runner import EpisodeForecasts, forecast_episode, name_without
from world_model.evaluation.scores import SPACES, Scores, ratios, score, summary
from world_model.runtime.artifact_folder import REFERENCE_NAME
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.fitting import FRAMES
from world_model.runtime.metrics import too_slow
from world_model.runtime.predictor import Observation, Predictor
from world_model.training.displacement import pose_or_none

OURS = "ours"
BASELINES = (
    "persistence",
    "ridge regression",
    "latent-KNN successor",
    "nearest memory at forecast pose",
    "mean of 4 nearest",
    "without memory",
    "ours, memory emptied",
    "running mean",
    "online ridge",
)


def evaluate(
    model_path: str, options: EvaluationOptions, say: Callable[[str], None] = lambda _: None
) -> tuple[dict[str, Any], list[Episode], list[EpisodeForecasts]]:
    """Return the evaluation as JSON-ready entries, the episodes, and the forecasts with recorded future actions.

    The top level holds, by predictor, then horizon in steps, then ``revisit | first``, the mean NMSE in the latent
    space with recorded future actions; ``details`` holds both kinds of future, all spaces,
    intervals and ratios; ``about`` what was run; ``model_path`` itself what ``comparable`` returns.

    Raises:
        DataError: The data cannot be read.
        ArtifactError: The artifact cannot be loaded.
        ProfileError: The profile is damaged, or does not fit the artifact.
    """
    started = time.monotonic()
    artifact = load_artifact(model_path)
    known_robot(artifact, options.profile)  # a profile that is none is refused before anything is read
    episodes = load_episodes(options, artifact, say)
    robot = known_robot(with_actions_of(episodes, artifact, say), options.profile)
    artifact = robot.artifact
    for line in robot.says() if options.profile else ():
        say(f"from the profile, {line}")
    jobs = [(index, known) for known in (True, False) for index in range(len(episodes))]
    work = partial(_forecast, model_path, options, episodes)
    check_length(options, episodes, artifact.manifest.step_s)
    say(f"{len(episodes)} episode(s), {sum(len(episode) for episode in episodes)} frames, two kinds of future")
    if options.workers > 1 and len(jobs) > 1:
        with ProcessPoolExecutor(options.workers, mp_context=torch.multiprocessing.get_context("spawn")) as pool:
            runs = list(pool.map(work, jobs))
    else:
        runs = [work(job) for job in jobs]
    recorded, held = ([run for each in half for run in each] for half in (runs[: len(episodes)], runs[len(episodes) :]))
    # One entry for each basis: an episode comes as often as its latents changed theirs, and once more.
    seen = [episode for episode, each in zip(episodes, runs) for _ in each]
    space = pixel_space(artifact)
    variance_D = np.array(artifact.manifest.latent_variance)
    images = [episode.image_TSSC for episode in seen]
    details = {}
    for kind, forecasts in (("recorded", recorded), ("held", held)):
        scores = score([_unjudged(run) for run in forecasts], images, variance_D, space)
        details[kind] = _details(scores, options.horizons, options.without)
    result: dict[str, Any] = {
        name: {step: {kind: cell["mean"] for kind, cell in kinds.items()} for step, kinds in by_step.items()}
        for name, by_step in details["recorded"]["latent"].items()
    }
    result["details"] = details
    horizons_s = [step * artifact.manifest.step_s for step in options.horizons]
    latents = [run.latent_TD for run in recorded]
    result[model_path] = comparable({"known": recorded, "held": held}, seen, latents, horizons_s, variance_D)
    result["cost"] = cost(artifact, episodes[0])
    result["about"] = about(artifact, options, episodes, time.monotonic() - started)
    result["about"]["not_scored"] = not_scored(seen, recorded, options.horizons, artifact.manifest.step_s)
    if unit := without_unit(recorded):
        result["about"]["not_scored"]["unit"] = unit
    return result, seen, recorded


def without_unit(runs: Sequence[EpisodeForecasts]) -> str:
    """Return why some frames, or all, are not judged in the unit of the live graph; empty where all are."""
    without = [run for run in runs if not run.has_unit]
    if not without:
        return ""
    frames = sum(int(run.judged_T.sum()) for run in without)
    which = "latents are" if len(without) == len(runs) else f"latents of {frames} frames are"
    return (
        f"{which} not scored in the live unit: before {FRAMES} frames at 20 Hz in motion there is no projection of the "
        "robot's own; in the recording's own variance they are"
    )


def check_length(options: EvaluationOptions, episodes: Sequence[Episode], step_s: float) -> None:
    """Refuse to judge after the end of all episodes: beyond it there is nothing, and foreseeing it takes hours.

    Raises:
        DataError: Says what lies when.
    """
    longest_s = max((float(episode.stamp_T[-1] - episode.stamp_T[0]) * 1e-9 for episode in episodes), default=0.0)
    for what, second in (("judging is to begin", options.start_s), ("a horizon lies", max(options.horizons) * step_s)):
        if second > longest_s:
            raise DataError(f"{what} at {second:g} s, and the longest episode has {longest_s:g} s")


def _unjudged(run: EpisodeForecasts) -> EpisodeForecasts:
    """Return forecasts of which none is judged where there is no unit of errors yet."""
    return run if run.has_unit else replace(run, judged_T=np.zeros_like(run.judged_T))


def not_scored(
    episodes: Sequence[Episode], forecasts: Sequence[EpisodeForecasts], horizons: Sequence[int], step_s: float
) -> dict[str, str]:
    """Return why nothing was scored at a horizon, by steps ahead: no frame comes at that time, or too soon ends all."""
    gap_s = min((measured_step_s(episode.stamp_T) for episode in episodes), default=0.0)
    reasons = {}
    for column, step in enumerate(horizons):
        if any((run.target_row_TH[run.judged_T, column] >= 0).any() for run in forecasts):
            continue
        slow = too_slow(gap_s, step * step_s, step_s)
        why = f"camera too slow, a frame each {gap_s:.3f} s" if slow else "no frame so far ahead"
        reasons[str(step)] = f"{step * step_s:.2f} s ahead is not scored: {why}"
    return reasons


def load_episodes(
    options: EvaluationOptions, artifact: Artifact, say: Callable[[str], None] = lambda _: None
) -> list[Episode]:
    """Return the episodes that ``data`` names; of a recording, ``say`` is told the account.

    Raises:
        DataError: Nothing there that can be evaluated.
    """
    episodes, delay_s = _loaded(options, artifact, say), options.pose_delay_s
    return episodes if delay_s is None else [with_pose_delay(episode, delay_s) for episode in episodes]


def _loaded(options: EvaluationOptions, artifact: Artifact, say: Callable[[str], None]) -> list[Episode]:
    manifest = artifact.manifest
    if options.data.startswith("sim:"):
        runs = [
            SimulatedRun(
                seed=seed,
                duration_s=options.seconds,
                still=options.still,
                exact_pose=options.still,
                image_size=manifest.image_size,
                step_s=manifest.step_s,
                depth="depth" in manifest.inputs,
                proprioception="proprioception" in manifest.inputs,
                pose_delay_s=options.pose_delay_s,
            )
            for seed in parse_seeds(options.data.removeprefix("sim:"))
        ]
        with ProcessPoolExecutor(max(options.workers, 1)) as pool:
            return list(pool.map(simulate_episode, runs))
    path = Path(options.data)
    if (path / "manifest.json").is_file():
        episodes = list(EpisodeSet(path).episodes("test")) or list(EpisodeSet(path).episodes())
    elif path.exists():
        asked = BagOptions(
            image_topic=options.image_topic,
            pose_topic=options.pose_topic,
            action_topic=options.action_topic,
            camera_offset_s=options.camera_offset_s,
            pose_delay_s=options.pose_delay_s,
        )
        episodes = episodes_as_taken(path, manifest, asked, say)
    else:
        raise DataError(f"{options.data} is neither a recording, nor a converted set, nor sim:SEEDS")
    for episode in episodes:
        fits = manifest.takes_any_actions or episode.action_TA.shape[1] == manifest.action_dim
        if episode.image_TSSC.shape[1] != manifest.image_size or not fits:
            raise DataError(
                f"episode {episode.name} has images of {episode.image_TSSC.shape[1]} px and "
                f"{episode.action_TA.shape[1]} actions, artifact '{manifest.name}' takes {manifest.image_size} px and "
                f"{manifest.action_dim}"
            )
    return episodes


def pixel_space(artifact: Artifact) -> PixelSpace | None:
    """Return the fixed pixel space of an artifact, or ``None`` when it has none."""
    return PixelSpace.load(artifact.path / REFERENCE_NAME) if REFERENCE_NAME in artifact.manifest.files else None


def cost(artifact: Artifact, episode: Episode, frames: int = 400) -> dict[str, float]:
    """Return medians in milliseconds on one thread: encoder, context, retrieval, forecast with and without."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    encoder, predictor, bank = artifact.encoder(), Predictor(artifact), MemoryBank.of(artifact.manifest)
    times: dict[str, list[float]] = {n: [] for n in ("encode", "observe", "retrieve", "predict", "predict_without")}
    inputs = artifact.manifest.inputs
    latent_TD = encode_episode(encoder, episode, inputs)
    frame = frames_of(episode, slice(1), inputs)
    first = max(len(episode) - frames, 0)
    for t in range(len(episode)):
        observation = Observation(int(episode.stamp_T[t]), latent_TD[t], pose_or_none(episode.pose_T4[t]), None)
        if t < first:
            bank.observe(observation)
            continue
        ticks = [time.perf_counter()]

        def lap() -> None:
            ticks.append(time.perf_counter())  # noqa: B023 - called within the iteration

        with torch.inference_mode():
            encoder(*frame)
        lap()
        requests = predictor.observe(observation)
        lap()
        answers = bank.answer(requests) if requests else None
        lap()
        predictor.predict(answers)
        lap()
        predictor.predict(None)
        lap()
        bank.observe(observation)
        for name, before, after in zip(times, ticks, ticks[1:]):
            times[name].append((after - before) * 1e3)
    torch.set_num_threads(threads)
    result = {f"{name}_ms": round(float(np.median(values)), 4) for name, values in times.items()}
    result["total_ms"] = round(sum(v for name, v in result.items() if name != "predict_without_ms"), 4)
    result["memory_count"] = len(bank)
    return result


def write_json(result: dict[str, Any], path: Path) -> None:
    """Write an evaluation to a file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


def table(result: dict[str, Any], future: str, space: str) -> str:
    """Return one Markdown table: predictors by horizon, revisit and first visit."""
    by_name = result["details"][future][space]
    steps = list(next(iter(by_name.values())))
    head = "| predictor | " + " | ".join(f"{step} rev | {step} first" for step in steps) + " |"
    lines = [head, "|---" * (2 * len(steps) + 1) + "|"]
    for name, by_step in by_name.items():
        cells = [by_step[step][kind]["mean"] for step in steps for kind in ("revisit", "first")]
        lines.append(f"| {name} | " + " | ".join("-" if cell is None else f"{cell:.3f}" for cell in cells) + " |")
    return "\n".join(lines)


def own_table(cells: Mapping[str, Any]) -> str:
    """Return a Markdown table of one future of one space of ``comparable``: predictors by horizon, with counts."""
    columns = [(horizon_s, kind) for horizon_s in cells for kind in ("revisits", "first")]
    words = {"revisits": "rev", "first": "first"}
    lines = ["| predictor | " + " | ".join(f"{float(at):g} s {words[kind]}" for at, kind in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for name in (name for name in NAMES if name in cells[columns[0][0]][columns[0][1]]):
        values = [cells[at][kind][name] for at, kind in columns]
        told = " | ".join("-" if value is None else f"{value:.3f}" for value in values)
        lines.append(f"| {name.replace('_', ' ')} | {told} |")
    return "\n".join([*lines, "| forecasts | " + " | ".join(str(cells[at][kind]["n"]) for at, kind in columns) + " |"])


def _forecast(
    model_path: str, options: EvaluationOptions, episodes: Sequence[Episode], job: tuple[int, bool]
) -> list[EpisodeForecasts]:
    torch.set_num_threads(1)
    index, known_future = job
    artifact = load_artifact(model_path).with_actions(episodes[index].action_TA.shape[1])
    robot = known_robot(artifact, options.profile)
    return forecast_episode(
        episodes[index],
        robot.artifact,
        options.horizons,
        ridge_HFD=_ridge(robot.artifact, options.horizons),
        known_future=known_future,
        start_s=options.start_s,
        without=options.without,
        only_ours=options.only_ours,
        motion_state=robot.motion_state,
        projection=robot.projection,
        experts=robot.experts,
        anew=options.anew,
    )


def _ridge(artifact: Artifact, horizons: Sequence[int]) -> np.ndarray | None:
    if REFERENCE_NAME not in artifact.manifest.files:
        return None
    with np.load(artifact.path / REFERENCE_NAME) as file:
        steps = file["ridge_steps"].tolist() if "ridge_steps" in file else []
        return file["ridge"][[steps.index(step) for step in horizons]] if set(horizons) <= set(steps) else None


def _details(scores: Scores, horizons: Sequence[int], without: Sequence[str]) -> dict[str, Any]:
    against = (*BASELINES, *map(name_without, without))
    spaces = [space for space in SPACES if space in scores.error]
    details: dict[str, Any] = {space: summary(scores, horizons, space) for space in spaces}
    details["ratio_to"] = {
        space: {name: ratios(scores, horizons, space, OURS, name) for name in against if name in scores.error[space]}
        for space in spaces
    }
    details["gate"] = {
        str(step): {
            kind: round(float(scores.gate_NH[:, c][scores.revisit_NH[:, c] == flag].mean()), 4)
            for kind, flag in (("revisit", True), ("first", False))
            if (scores.revisit_NH[:, c] == flag).any()
        }
        for c, step in enumerate(horizons)
    }
    return details


def about(
    artifact: Artifact, options: EvaluationOptions, episodes: Sequence[Episode], seconds: float
) -> dict[str, Any]:
    """Return what was run, on what, by which commit."""
    folder = Path(__file__).parent
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=False)
    return {
        "artifact": artifact.manifest.name,
        "encoder_id": artifact.manifest.encoder_id,
        "files": artifact.manifest.files,
        "options": json.loads(json.dumps(asdict(options), default=str)),
        "frames": {episode.name: len(episode) for episode in episodes},
        "commit": commit.stdout.strip() or "unknown",
        "machine": f"{platform.machine()}, {platform.system()}",
        "seconds": round(seconds, 1),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
