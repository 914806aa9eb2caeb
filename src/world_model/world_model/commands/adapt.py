"""``wm adapt``: one robot's recordings into its profile: its motion, and a transition fine-tuned to it where that pays.

The last part of each recording is held out; what is no better there than what was there before is not kept (exit code 3
where nothing was better). Artifacts are never changed: a fine-tuned one gets a folder of its own in the profile.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from wm_core.errors import ProjectionError
from world_model.commands.common import add_set, config_path, described, guarded, reporting
from world_model.commands.live import add_live, live_recording
from world_model.commands.slow_profile import start_in_background
from world_model.data.bag_options import BagOptions
from world_model.data.bags import read_recording, unusable
from world_model.data.episodes import DatasetManifest, Episode, EpisodeSet, EpisodeWriter
from world_model.errors import ConfigError, DataError
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
from world_model.export.graphs import try_runtimes
from world_model.export.torchscript import carry_slow_branch
from world_model.runtime.adapted import adapted_artifact, keep_adapted
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.calibration import FUTURES, SHIPPED, STATE_VERSION, MotionCalibration
from world_model.runtime.fitting import save_projection, saved_projection
from world_model.runtime.handed_on import keep_experts, known_experts
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.profile import MOTION, Profile, profile_folder
from world_model.runtime.ranges import TrainingRange
from world_model.training.config import TrainConfig, load_config
from world_model.training.pipeline import run_training
from world_model.typed_config import parse_overrides

NOTHING_BETTER = 3
# A held-out part of less is no evidence, and from less nothing is learned [s].
_LEAST_HELD_OUT_S = 5.0
# The share of what is learned from that says when to stop. What judges must not say that, or it would flatter.
_STOPS = 0.2
# So many times the length of a sequence with its furthest target is the least that says something.
_SPARE = 1.1


@dataclass
class Outcome:
    """What was judged and what was kept: part -> verdicts, part -> where it was written."""

    verdicts: dict[str, list[Verdict]]
    kept: dict[str, str]


def main(arguments: Sequence[str] | None = None, prog: str = "wm-adapt") -> int:
    """Run the command line and return its exit code: 0, 2 for wrong input, 3 where nothing was better."""
    options = parse(arguments, prog)
    outcomes: list[Outcome] = []
    code = guarded(prog, lambda: outcomes.append(_adapt(options)))
    return code or (0 if outcomes[0].kept else NOTHING_BETTER)


def parse(arguments: Sequence[str] | None = None, prog: str = "wm-adapt") -> argparse.Namespace:
    """Return what a command line asks for."""
    parser = argparse.ArgumentParser(prog=prog, description=described(__doc__))
    parser.add_argument("recording", nargs="*", type=Path, help="recordings of one robot, or converted sets")
    add_live(parser)
    parser.add_argument(
        "--artifact", default="artifact://generic", help="what to start from (default: artifact://generic)"
    )
    parser.add_argument(
        "--profile", default="profile",
        help="folder of the robot's profile, or a name in ~/.ros/world_model/NAMESPACE (default: profile)",
    )  # fmt: skip
    parser.add_argument("--namespace", default="", help="of the robot, where the profile is a name")
    parser.add_argument("--held-out", type=float, default=0.25, help="last part of each recording that judges (0.25)")
    parser.add_argument("--motion-only", action="store_true", help="fine-tune no network: seconds instead of minutes")
    parser.add_argument("--no-slow", action="store_true", help="do not adapt the slow branch afterwards")
    parser.add_argument("--config", default="finetune", help="how the transition is fine-tuned (default: finetune)")
    add_set(parser)
    parser.add_argument("--json", type=Path, help="write all verdicts here")
    for topic in ("image", "pose", "action"):
        parser.add_argument(
            f"--{topic}-topic", help="of a recording, by default chosen by what it holds; with --live of the graph"
        )
    options = parser.parse_args(arguments)
    if bool(options.recording) == options.live:
        parser.error("give recordings, or --live, and not both")
    return options


def _adapt(options: argparse.Namespace) -> Outcome:
    console = Console(highlight=False, width=160)

    def say(text: str) -> None:
        console.print(text, markup=False)

    if not 0.05 <= options.held_out <= 0.9:
        raise ConfigError(f"--held-out is {options.held_out}, expected 0.05 to 0.9")
    artifact = load_artifact(options.artifact)
    profile = Profile(profile_folder(options.profile, options.namespace))
    with _recordings(options, profile, say) as paths:
        return _adapt_to(paths, options, artifact, profile, say)


@contextmanager
def _recordings(options: argparse.Namespace, profile: Profile, say: Callable[[str], None]) -> Iterator[list[Path]]:
    """Give the recordings to learn from: those that are there, or what is recorded now."""
    if not options.live:
        yield options.recording
        return
    with live_recording(options, profile.folder, say) as place:
        # It holds one topic for each input, under the name that was found.
        options.image_topic = options.pose_topic = options.action_topic = None
        torch.set_num_threads(1)
        yield [place]


def _adapt_to(
    paths: Sequence[Path],
    options: argparse.Namespace,
    artifact: Artifact,
    profile: Profile,
    say: Callable[[str], None],
) -> Outcome:
    """Learn from recordings, judge, keep what is better, and say so."""
    started = time.monotonic()
    episodes = _episodes(paths, options, artifact, say)
    outcome = Outcome({}, {})
    state = _adapt_motion(options, artifact, episodes, profile, outcome)
    if artifact.projection is not None and not options.motion_only:
        _adapt_projection(options, artifact, episodes, profile, outcome, say)
    if not options.motion_only and not artifact.has("transition"):
        say(f"artifact '{artifact.manifest.name}' has no network to fine-tune")
    elif not options.motion_only:
        _adapt_transition(options, artifact, episodes, profile, state, outcome)
    if not options.motion_only:
        _adapt_experts(options, artifact, episodes, profile, state, outcome, say)
    for line in table(outcome):
        say(line)
    if not options.motion_only and not options.no_slow and artifact.has("world_action"):
        process = start_in_background(*_parts(options, episodes), artifact, profile)
        say(f"the slow branch is adapted in the background (process {process}, {profile.folder}/slow_branch.log)")
    say(f"after {time.monotonic() - started:.0f} s: " + _kept_line(outcome))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(entries(outcome), indent=1) + "\n")
    return outcome


def _episodes(
    paths: Sequence[Path], options: argparse.Namespace, artifact: Artifact, say: Callable[[str], None]
) -> list[Episode]:
    manifest, episodes = artifact.manifest, list[Episode]()
    asked = BagOptions(
        image_topic=options.image_topic,
        pose_topic=options.pose_topic,
        action_topic=options.action_topic,
        rate_hz=1.0 / manifest.step_s,
        image_size=manifest.image_size,
        action_dim=manifest.action_dim,
    )
    for path in paths:
        if (path / "manifest.json").is_file():
            episodes += _fitting(EpisodeSet(path), artifact)
            continue
        recording = read_recording(path, asked)
        for line in recording.account.lines():
            say(line)
        if not recording.episodes:
            raise DataError(unusable(recording.account))
        episodes += recording.episodes
    long = [episode for episode in episodes if options.held_out * _seconds(episode) >= _LEAST_HELD_OUT_S]
    if not long:
        least_s = _LEAST_HELD_OUT_S / options.held_out
        raise DataError(f"no part of the recordings lasts {least_s:.0f} s: the held-out part would say nothing")
    return long


def _fitting(converted: EpisodeSet, artifact: Artifact) -> list[Episode]:
    """Return the episodes of a converted set, which must be as the artifact takes them."""
    mine, theirs = artifact.manifest, converted.manifest
    if (mine.image_size, mine.action_dim) != (theirs.image_size, theirs.action_dim):
        raise DataError(
            f"{converted.path} has images of {theirs.image_size} px and {theirs.action_dim} actions, artifact "
            f"'{mine.name}' takes {mine.image_size} px and {mine.action_dim}"
        )
    return list(converted.episodes())


def _seconds(episode: Episode) -> float:
    return float(episode.stamp_T[-1] - episode.stamp_T[0]) * 1e-9


def _held_out_from_s(options: argparse.Namespace, episodes: Sequence[Episode]) -> list[float]:
    """Return when the part of each recording begins that judges [s]."""
    return [(1.0 - options.held_out) * _seconds(episode) for episode in episodes]


def _parts(options: argparse.Namespace, episodes: Sequence[Episode]) -> tuple[list[Episode], list[Episode]]:
    """Return the parts to learn from and those that judge."""
    splits_s = _held_out_from_s(options, episodes)
    learned = [episode.cut(0.0, at_s) for episode, at_s in zip(episodes, splits_s)]
    return learned, [episode.cut(at_s, float("inf")) for episode, at_s in zip(episodes, splits_s)]


def _adapt_motion(
    options: argparse.Namespace, artifact: Artifact, episodes: Sequence[Episode], profile: Profile, outcome: Outcome
) -> dict[str, Any]:
    """Keep what was learned of the motion where it is better than what was there; return what is there now."""
    manifest = artifact.manifest
    limits = TrainingRange(
        artifact.action_statistics(), np.array(manifest.latent_mean), np.array(manifest.latent_variance)
    )
    shipped = limits.limiting(MotionModel.from_manifest(manifest.motion))
    learned, held_out = _parts(options, episodes)
    before = MotionCalibration(shipped, manifest.step_s, manifest.action_dim, manifest.horizon_s, ())
    former = profile.read(MOTION, STATE_VERSION)
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


def _adapt_projection(
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
    learned, held_out = _parts(options, episodes)
    try:
        own = learned_projection(features_of(learned, artifact), stamps_of(learned), fixed.space, fixed.z_dim)
    except ProjectionError as error:
        say(f"no projection was fitted: {error}")
        return
    verdict = judge_projection(features_of(held_out, artifact), fixed, own)
    outcome.verdicts["projection"] = [verdict]
    if verdict.is_better:
        save_projection(profile, own)
        outcome.kept["projection"] = str(profile.folder)


def _adapt_experts(
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
    learned, _ = _parts(options, episodes)
    after = learned_experts(learned, in_use, state, projection)
    assert after is not None
    before = known_experts(profile)
    if before is not None and before.entries["encoder_id"] != after.entries["encoder_id"]:
        say(f"the profile's experts are of the basis {before.entries['encoder_id']}, not of this one")
        before = None
    at_s = _held_out_from_s(options, episodes)
    robot = {"motion_state": state, "projection": projection}
    verdicts = judge_experts(episodes, at_s, in_use, robot, before, after)
    outcome.verdicts["experts"] = verdicts
    if is_shipped(verdicts):
        keep_experts(profile, after)
        outcome.kept["experts"] = str(profile.folder)


def _adapt_transition(
    options: argparse.Namespace,
    artifact: Artifact,
    episodes: Sequence[Episode],
    profile: Profile,
    state: Mapping[str, Any],
    outcome: Outcome,
) -> None:
    """Fine-tune the transition to the parts to learn from, and keep it where the held-out parts say so."""
    learned, _ = _parts(options, episodes)
    at_s = _held_out_from_s(options, episodes)
    profile.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=profile.folder, prefix=".adapting-") as folder, reporting() as report:
        path = Path(folder)
        overrides = {"start_from": str(artifact.path), "name": f"{artifact.manifest.name}-adapted"}
        config = load_config(config_path(options.config), overrides | parse_overrides(options.set))
        _write_set(path / "set", learned, artifact, config)
        run_training(config, path / "set", path / "run", workers=1, report=report)
        if artifact.has("world_action"):
            carry_slow_branch(str(artifact.path), path / "run" / "artifact")
        after = load_artifact(path / "run" / "artifact")
        report.say("judging the held-out part, before and after")
        verdicts = judge_forecasts(episodes, at_s, artifact, after, state)
        outcome.verdicts["transition"] = verdicts
        if not is_shipped(verdicts):
            return
        place = _new_folder(profile.folder)
        shutil.move(str(after.path), place)
        try_runtimes(place, report.say)
    keep_adapted(profile, place, artifact)
    outcome.kept["transition"] = str(place)


def _write_set(path: Path, learned: Sequence[Episode], artifact: Artifact, config: TrainConfig) -> None:
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
        seconds = _seconds(episode)
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


if __name__ == "__main__":
    sys.exit(main())
