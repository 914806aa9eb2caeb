"""``wm adapt``: one robot's recordings into its profile: its motion, and a transition fine-tuned to it where that pays.

The last part of each recording is held out; what is no better there than what was there before is not kept (exit code 3
where nothing was better). Artifacts are never changed: a fine-tuned one gets a folder of its own in the profile.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from world_model.commands.adapting import (
    Outcome,
    adapt_experts,
    adapt_motion,
    adapt_projection,
    adapt_transition,
    duration_s,
    parts,
    tuning,
)
from world_model.commands.common import add_camera_offset, add_set, check_output, described, guarded
from world_model.commands.live import add_live, live_recording
from world_model.commands.slow_profile import start_in_background
from world_model.data.bag_options import BagOptions
from world_model.data.bags import episodes_as_taken, with_actions_of
from world_model.data.episodes import Episode, EpisodeSet
from world_model.errors import ConfigError, DataError
from world_model.evaluation.slow_adaptation import can_be_judged
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.profile import Profile, profile_folder

NOTHING_BETTER = 3
FINETUNE = "finetune"
# A held-out part of less is no evidence, and from less nothing is learned [s].
_LEAST_HELD_OUT_S = 5.0


def main(arguments: Sequence[str] | None = None, prog: str = "wm-adapt") -> int:
    """Run the command line and return its exit code: 0, 2 for wrong input, 3 where nothing was better."""
    options = parse(arguments, prog)
    outcomes: list[Outcome] = []
    code = guarded(prog, lambda: outcomes.append(_adapt(options)))
    return code or (0 if outcomes[0].kept else NOTHING_BETTER)


def parse(arguments: Sequence[str] | None = None, prog: str = "wm-adapt") -> argparse.Namespace:
    """Return what a command line asks for."""
    parser = argparse.ArgumentParser(prog=prog, description=described(__doc__))
    parser.add_argument(
        "recording", nargs="*", type=Path, help="recordings of one robot, folders of them, or converted sets"
    )
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
    parser.add_argument("--config", default=FINETUNE, help="how the transition is fine-tuned (default: finetune)")
    add_set(parser)
    parser.add_argument("--json", type=Path, help="write all verdicts here")
    for topic in ("image", "pose", "action"):
        parser.add_argument(
            f"--{topic}-topic", help="of a recording, by default chosen by what it holds; with --live of the graph"
        )
    add_camera_offset(parser)
    options = parser.parse_args(arguments)
    if bool(options.recording) == options.live:
        parser.error("give recordings, or --live, and not both")
    return options


def _adapt(options: argparse.Namespace) -> Outcome:
    console = Console(highlight=False, width=160)

    def say(text: str) -> None:
        console.print(text, markup=False)

    artifact = load_artifact(options.artifact)
    _check(options, artifact)
    profile = Profile(profile_folder(options.profile, options.namespace))
    with _recordings(options, profile, say) as paths:
        return _adapt_to(paths, options, artifact, profile, say)


def _check(options: argparse.Namespace, artifact: Artifact) -> None:
    """Refuse what cannot be, or would do nothing, before anything is read.

    Raises:
        ConfigError: Names the option.
        OSError: A file cannot be written.
    """
    if not 0.05 <= options.held_out <= 0.9:
        raise ConfigError(f"--held-out is {options.held_out}, expected 0.05 to 0.9")
    if not options.profile:
        raise ConfigError("--profile is empty, expected a folder or a name")
    for name in ("seconds", "keep"):
        if getattr(options, name) is not None and not options.live:
            raise ConfigError(f"--{name} is of --live, and recordings are given")
    tunes = artifact.has("transition") and not options.motion_only
    if tunes:
        tuning(options, artifact)
    elif options.set or options.config != FINETUNE:
        why = "--motion-only" if artifact.has("transition") else f"artifact '{artifact.manifest.name}'"
        raise ConfigError(f"--config and --set say how a network is fine-tuned, and with {why} none is")
    check_output(options.json)


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


if __name__ == "__main__":
    sys.exit(main())
