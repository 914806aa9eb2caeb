"""``wm adapt``: one robot's recordings into its profile: its motion, and a transition fine-tuned to it where that pays.

The last part of each recording is held out; what is no better there than what was there before is not kept (exit code 3
where nothing was better). Artifacts are never changed: a fine-tuned one gets a folder of its own in the profile.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from world_model.commands.common import add_camera_offset, add_set, check_folder, check_output, described, guarded
from world_model.commands.live import add_live, check_live, live_recording
from world_model.errors import ConfigError
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.profile import Profile, profile_folder

NOTHING_BETTER = 3
FINETUNE = "finetune"


def main(arguments: Sequence[str] | None = None, prog: str = "wm-adapt") -> int:
    """Run the command line and return its exit code: 0, 2 for wrong input, 3 where nothing was better."""
    options = parse(arguments, prog)
    return guarded(prog, lambda: 0 if _adapt(options) else NOTHING_BETTER)


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


def _adapt(options: argparse.Namespace) -> bool:
    """Adapt, and return whether anything was kept."""
    console = Console(highlight=False, width=160)

    def say(text: str) -> None:
        console.print(text, markup=False)

    profile = Profile(profile_folder(options.profile, options.namespace))
    _check(options, profile)
    artifact = load_artifact(options.artifact)
    tunes = artifact.has("transition") and not options.motion_only
    if not tunes and (options.set or options.config != FINETUNE):
        why = "--motion-only" if artifact.has("transition") else f"artifact '{artifact.manifest.name}'"
        raise ConfigError(f"--config and --set say how a network is fine-tuned, and with {why} none is")
    # They take seconds, which who is refused need not wait; a recording is not made before they are there.
    from world_model.commands.adapting import adapt_to, tuning

    if tunes:
        tuning(options, artifact)
    with _recordings(options, profile, say) as paths:
        return bool(adapt_to(paths, options, artifact, profile, say).kept)


def _check(options: argparse.Namespace, profile: Profile) -> None:
    """Refuse what cannot be, or would do nothing, before anything is read.

    Raises:
        ConfigError: Names the option.
        OSError: A file or folder cannot be written.
    """
    if not 0.05 <= options.held_out <= 0.9:
        raise ConfigError(f"--held-out is {options.held_out}, expected 0.05 to 0.9")
    if not options.profile:
        raise ConfigError("--profile is empty, expected a folder or a name")
    check_live(options)
    check_folder(profile.folder)
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
        yield [place]


if __name__ == "__main__":
    sys.exit(main())
