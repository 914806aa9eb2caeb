"""What ``wm adapt`` adapts, part by part: learned, judged on what was held out, and kept where it is better."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wm_core.errors import ProjectionError
from world_model.commands.common import config_path, reporting
from world_model.commands.scratch import scratch_folder
from world_model.commands.slow_profile import start_in_background
from world_model.data.bag_options import BagOptions
from world_model.data.bags import episodes_as_taken, with_actions_of
from world_model.data.episodes import DatasetManifest, Episode, EpisodeSet, EpisodeWriter
from world_model.errors import DataError
from world_model.evaluation.adaptation import (
    Verdict,
    features_of,
    is_shipped,
    judge_experts,
    judge_forecasts,
    judge_motion,
    judge_projection,
    learned_experts,
    learned_motion,
    learned_projection,
    stamps_of,
)
from world_model.evaluation.slow_adaptation import can_be_judged
from world_model.export.graphs import try_runtimes
from world_model.export.torchscript import carry_slow_branch
from world_model.runtime.adapted import adapted_artifact, keep_adapted
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.calibration import FUTURES, SHIPPED, STATE_VERSION, MotionCalibration
from world_model.runtime.fitting import save_projection, saved_projection
from world_model.runtime.handed_on import keep_experts, known_experts
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.profile import MOTION, Profile
from world_model.runtime.ranges import TrainingRange
from world_model.training.config import TrainConfig, load_config
from world_model.training.pipeline import run_training
from world_model.typed_config import parse_overrides

# The share of what is learned from that says when to stop. What judges must not say that, or it would flatter.
_STOPS = 0.2
# So many times the length of a sequence with its furthest target is the least that says something.
_SPARE = 1.1
# A held-out part of less is no evidence, and from less nothing is learned [s].
_LEAST_HELD_OUT_S = 5.0
_SCRATCH = ".adapting-"


@dataclass
class Outcome:
    """What was judged and what was kept: part -> verdicts, part -> where it was written."""

    verdicts: dict[str, list[Verdict]]
    kept: dict[str, str]


def duration_s(episode: Episode) -> float:
    """Return how long an episode lasts [s]."""
    return float(episode.stamp_T[-1] - episode.stamp_T[0]) * 1e-9


def held_out_from_s(options: argparse.Namespace, episodes: Sequence[Episode]) -> list[float]:
    """Return when the part of each recording begins that judges [s]."""
    return [(1.0 - options.held_out) * duration_s(episode) for episode in episodes]


def parts(options: argparse.Namespace, episodes: Sequence[Episode]) -> tuple[list[Episode], list[Episode]]:
    """Return the parts to learn from and those that judge."""
    splits_s = held_out_from_s(options, episodes)
    learned = [episode.cut(0.0, at_s) for episode, at_s in zip(episodes, splits_s)]
    return learned, [episode.cut(at_s, float("inf")) for episode, at_s in zip(episodes, splits_s)]


def adapt_motion(
    options: argparse.Namespace,
    artifact: Artifact,
    episodes: Sequence[Episode],
    profile: Profile,
    outcome: Outcome,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Keep what was learned of the motion where it is better than what was there; return what is there now.

    What was learned for another count of actions is no use to a robot with these: the shipped model takes its place.
    """
    manifest = artifact.manifest
    limits = TrainingRange(
        artifact.action_statistics(), np.array(manifest.latent_mean), np.array(manifest.latent_variance)
    )
    shipped = limits.limiting(MotionModel.from_manifest(manifest.motion))
    learned, held_out = parts(options, episodes)
    before = MotionCalibration(shipped, manifest.step_s, manifest.action_dim, manifest.horizon_s, ())
    former = profile.read(MOTION, STATE_VERSION)
    if former is not None and former.entries.get("action_dim") != manifest.action_dim:
        say(f"the profile's {before.misfit(former.entries)}: it begins anew")
        profile.write(MOTION, STATE_VERSION, before.state())
        former = None
    if former is not None:
        before.restore(former.entries)
    after = learned_motion(learned, manifest, shipped)
    verdicts = judge_motion(held_out, manifest, before, after)
    outcome.verdicts["motion"] = verdicts
    for verdict, future in zip(verdicts, FUTURES):
        if former is None and not verdict.is_better:
            after.names[future] = SHIPPED
    # What a former drive taught goes only where nothing becomes worse for it.
    if not any(each.is_better for each in verdicts) or (former is not None and any(each.is_worse for each in verdicts)):
        return before.state()
    profile.write(MOTION, STATE_VERSION, after.state())
    outcome.kept["motion"] = str(profile.folder)
    return after.state()


def adapt_projection(
    options: argparse.Namespace,
    artifact: Artifact,
    episodes: Sequence[Episode],
    profile: Profile,
    outcome: Outcome,
    say: Callable[[str], None],
) -> None:
    """Fit the robot's own projection where its profile has none; one that is in use stays, and memories with it."""
    fixed = artifact.projection
    assert fixed is not None
    if saved_projection(profile, fixed.space, fixed.z_dim) is not None:
        say("the profile has a projection already: it stays, for the memories that were made with it")
        return
    learned, held_out = parts(options, episodes)
    try:
        own = learned_projection(features_of(learned, artifact), stamps_of(learned), fixed.space, fixed.z_dim)
    except ProjectionError as error:
        say(f"no projection was fitted: {error}")
        return
    verdict = judge_projection(features_of(held_out, artifact), stamps_of(held_out), fixed, own)
    outcome.verdicts["projection"] = [verdict]
    if verdict.is_better:
        save_projection(profile, own)
        outcome.kept["projection"] = str(profile.folder)


def adapt_experts(
    options: argparse.Namespace,
    artifact: Artifact,
    episodes: Sequence[Episode],
    profile: Profile,
    state: Mapping[str, Any],
    outcome: Outcome,
    say: Callable[[str], None],
) -> None:
    """Keep what the experts learned, in the basis that the robot's next start begins with, where it pays there."""
    fixed = artifact.projection
    projection = None if fixed is None else saved_projection(profile, fixed.space, fixed.z_dim)
    if fixed is not None and projection is None:
        say("experts begin anew each time: the profile has no projection, so the next start has another basis")
        return
    in_use = adapted_artifact(profile, artifact) or artifact
    learned, _ = parts(options, episodes)
    after = learned_experts(learned, in_use, state, projection)
    assert after is not None
    before = known_experts(profile)
    if before is not None and (misfit := before.misfit(after)):
        say(f"the profile's {misfit}: they begin anew")
        before = None
    at_s = held_out_from_s(options, episodes)
    robot = {"motion_state": state, "projection": projection}
    verdicts = judge_experts(episodes, at_s, in_use, robot, before, after)
    outcome.verdicts["experts"] = verdicts
    if is_shipped(verdicts):
        keep_experts(profile, after)
        outcome.kept["experts"] = str(profile.folder)


def tuning(options: argparse.Namespace, artifact: Artifact) -> TrainConfig:
    """Return how the transition is to be fine-tuned.

    Raises:
        ConfigError: The configuration, or an entry that is set, is none.
    """
    overrides = {"start_from": str(artifact.path), "name": f"{artifact.manifest.name}-adapted"}
    return load_config(config_path(options.config), overrides | parse_overrides(options.set))


def adapt_transition(
    options: argparse.Namespace,
    artifact: Artifact,
    episodes: Sequence[Episode],
    profile: Profile,
    state: Mapping[str, Any],
    outcome: Outcome,
) -> None:
    """Fine-tune the transition to the parts to learn from, and keep it where the held-out parts say so."""
    learned, _ = parts(options, episodes)
    at_s = held_out_from_s(options, episodes)
    with scratch_folder(profile.folder, _SCRATCH) as path, reporting() as report:
        config = tuning(options, artifact)
        write_set(path / "set", learned, artifact, config)
        run_training(config, path / "set", path / "run", workers=1, report=report)
        if artifact.has("world_action"):
            carry_slow_branch(str(artifact.path), path / "run" / "artifact")
        after = load_artifact(path / "run" / "artifact")
        report.say("judging the held-out part, before and after")
        verdicts = judge_forecasts(episodes, at_s, artifact, after, state)
        outcome.verdicts["transition"] = verdicts
        if not is_shipped(verdicts):
            return
        try_runtimes(after.path, report.say)
        # Once all of it is there: who stops this leaves nothing in the profile that it does not name.
        place = after.path.rename(_new_folder(profile.folder))
    keep_adapted(profile, place, artifact)
    outcome.kept["transition"] = str(place)


def write_set(path: Path, learned: Sequence[Episode], artifact: Artifact, config: TrainConfig) -> None:
    """Write what is learned from; the last fifth of a part says when to stop, where that is long enough to judge."""
    manifest = artifact.manifest
    writer = EpisodeWriter(
        path,
        DatasetManifest(
            image_size=manifest.image_size,
            step_s=manifest.step_s,
            action_dim=manifest.action_dim,
            source={"kind": "recordings of one robot"},
        ),
    )
    least_s = _SPARE * (config.optimiser.sequence + max(config.horizons)) * manifest.step_s
    for number, episode in enumerate(learned):
        seconds = duration_s(episode)
        stops_s = _STOPS * seconds if config.patience and _STOPS * seconds >= least_s else 0.0
        writer.write(replace(episode.cut(0.0, seconds - stops_s), name=f"part-{number:03d}"), "train")
        if stops_s:
            last = episode.cut(seconds - stops_s, float("inf"))
            writer.write(replace(last, name=f"part-{number:03d}-stops"), "valid")


def _new_folder(folder: Path) -> Path:
    """Return a folder for an artifact that is not there yet."""
    number = 1
    while (folder / f"artifact-{number}").exists():
        number += 1
    return folder / f"artifact-{number}"


def adapt_to(
    paths: Sequence[Path],
    options: argparse.Namespace,
    artifact: Artifact,
    profile: Profile,
    say: Callable[[str], None],
) -> Outcome:
    """Learn from recordings, judge, keep what is better, and say so."""
    started = time.monotonic()
    if options.live:
        torch.set_num_threads(1)
    episodes = _episodes(paths, options, artifact, say)
    artifact = with_actions_of(episodes, artifact, say)
    outcome = Outcome({}, {})
    state = adapt_motion(options, artifact, episodes, profile, outcome, say)
    if artifact.projection is not None and not options.motion_only:
        adapt_projection(options, artifact, episodes, profile, outcome, say)
    if not options.motion_only and not artifact.has("transition"):
        say(f"artifact '{artifact.manifest.name}' has no network to fine-tune")
    elif not options.motion_only:
        adapt_transition(options, artifact, episodes, profile, state, outcome)
    if not options.motion_only:
        adapt_experts(options, artifact, episodes, profile, state, outcome, say)
    for line in table(outcome):
        say(line)
    follows = ""
    if not options.motion_only and not options.no_slow and artifact.has("world_action"):
        follows = _begin_slow_branch(options, episodes, artifact, profile, say)
    say(f"after {time.monotonic() - started:.0f} s: " + _kept_line(outcome) + follows)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(entries(outcome), indent=1) + "\n")
    return outcome


def _begin_slow_branch(
    options: argparse.Namespace,
    episodes: Sequence[Episode],
    artifact: Artifact,
    profile: Profile,
    say: Callable[[str], None],
) -> str:
    """Let another process adapt the slow branch, where what is held out can judge it, and return what follows."""
    learned, held_out = parts(options, episodes)
    if not can_be_judged(held_out):
        held_s = sum(map(duration_s, held_out))
        say(f"the slow branch stays as it is: {held_s:.0f} s are held out, and less than about 24 s do not judge it")
        return ""
    process = start_in_background(learned, held_out, artifact, profile)
    say(f"the slow branch is adapted in the background (process {process}, {profile.folder}/slow_branch.log)")
    return "; the slow branch is kept later, where it is better"


def _episodes(
    paths: Sequence[Path], options: argparse.Namespace, artifact: Artifact, say: Callable[[str], None]
) -> list[Episode]:
    episodes: list[Episode] = []
    asked = BagOptions(
        image_topic=options.image_topic,
        pose_topic=options.pose_topic,
        action_topic=options.action_topic,
        camera_offset_s=options.camera_offset_s,
    )
    for path in paths:
        if (path / "manifest.json").is_file():
            episodes += _fitting(EpisodeSet(path), artifact)
        else:
            episodes += episodes_as_taken(path, artifact.manifest, asked, say)
    long = [episode for episode in episodes if options.held_out * duration_s(episode) >= _LEAST_HELD_OUT_S]
    if not long:
        least_s = _LEAST_HELD_OUT_S / options.held_out
        raise DataError(f"no part of the recordings lasts {least_s:.0f} s: the held-out part would say nothing")
    return long


def _fitting(converted: EpisodeSet, artifact: Artifact) -> list[Episode]:
    """Return the episodes of a converted set, which must be as the artifact takes them."""
    mine, theirs = artifact.manifest, converted.manifest
    fits = mine.takes_any_actions or mine.action_dim == theirs.action_dim
    if mine.image_size != theirs.image_size or not fits:
        raise DataError(
            f"{converted.path} has images of {theirs.image_size} px and {theirs.action_dim} actions, artifact "
            f"'{mine.name}' takes {mine.image_size} px and {mine.action_dim}"
        )
    return list(converted.episodes())


def table(outcome: Outcome) -> list[str]:
    """Return the table of verdicts, in Markdown."""
    lines = ["", "| held-out part | before | after | after / before (95 %) | n | |", "|---" * 6 + "|"]
    for part, verdicts in outcome.verdicts.items():
        for each in verdicts:
            interval = f"{each.ratio:.3f} ({each.low:.3f} to {each.high:.3f})"
            values = f"{each.before:.4g} | {each.after:.4g} | {interval}" if each.count else "- | - | -"
            lines.append(f"| {part}: {each.what} | {values} | {each.count} | {'better' if each.is_better else ''} |")
    return lines


def _kept_line(outcome: Outcome) -> str:
    if not outcome.kept:
        return "nothing was better than what was there; nothing was written"
    kept = [f"{part} kept in {where}" for part, where in outcome.kept.items()]
    return ", ".join(kept + [f"{part} no better and not kept" for part in outcome.verdicts if part not in outcome.kept])


def entries(outcome: Outcome) -> dict[str, Any]:
    """Return all verdicts as JSON-ready entries."""
    verdicts = {part: [each.entries() for each in rows] for part, rows in outcome.verdicts.items()}
    return {"verdicts": verdicts, "kept": outcome.kept}
