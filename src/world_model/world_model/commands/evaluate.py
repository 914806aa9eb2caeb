"""``wm evaluate``: does the memory pay? Errors of an artifact and of every baseline on the same episodes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from world_model.commands import recognise
from world_model.commands.common import (
    add_camera_offset,
    add_pose_delay,
    add_workers,
    check_data_options,
    check_output,
    described,
    guarded,
    pose_delay_s,
)
from world_model.errors import ConfigError, DataError
from world_model.evaluation.options import EvaluationOptions
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.profile import profile_folder
from world_model.runtime.switches import SWITCHES


def main(arguments: Sequence[str] | None = None, prog: str = "wm-evaluate") -> int:
    """Run the command line and return its exit code: 0, or 2 when something asked for is wrong."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["recognise"]:
        return recognise.main(given[1:], f"{prog} recognise")
    if given[:1] == ["imagination"]:
        from world_model.commands import imagination

        return imagination.main(given[1:], f"{prog} imagination")
    defaults = EvaluationOptions(data="")
    parser = argparse.ArgumentParser(
        prog=prog,
        description=described(__doc__),
        epilog=f"{prog} recognise MAP_BAG QUERY_BAG: is a place recognised by its look alone? "
        f"{prog} imagination DATA: how far ahead is what is imagined right?",
    )
    parser.add_argument("artifact", nargs="+", help="artifact folder, or artifact://NAME; several are set side by side")
    parser.add_argument("data", help="recording, folder of them, converted set, or sim:SEEDS (sim:9000-9003,9010)")
    parser.add_argument(
        "--profile", default="",
        help="folder of the robot's profile, or a name in ~/.ros/world_model/NAMESPACE: what `wm adapt` kept is used "
        "as the graph uses it (default: none)",
    )  # fmt: skip
    parser.add_argument("--namespace", default="", help="of the robot, where the profile is a name")
    parser.add_argument("--json", type=Path, help="write all numbers here, those of each artifact under its name")
    parser.add_argument("--report", type=Path, help="write figures, pictures and numbers here (of one artifact)")
    parser.add_argument("--still", action="store_true", help="simulated buildings do not change, poses are exact")
    parser.add_argument("--seconds", type=float, help="length of each simulated episode (default: 180)")
    parser.add_argument("--start-s", type=float, default=0.0, help="frames before this are remembered, not judged")
    parser.add_argument(
        "--anew", action="store_true",
        help="at --start-s the robot is started a second time: its memory stays, and what its profile holds",
    )  # fmt: skip
    parser.add_argument("--horizons", type=int, nargs="+", default=list(defaults.horizons), help="steps ahead")
    add_workers(parser, 1)
    parser.add_argument(
        "--without",
        action="append",
        choices=SWITCHES,
        default=[],
        help="run ours once more with this part switched off, and give the ratio of ours to that; may be repeated",
    )
    parser.add_argument(
        "--only-ours", action="store_true", help="leave out pose noise and the network without memory: half the time"
    )
    for topic in ("image", "pose", "action"):
        parser.add_argument(f"--{topic}-topic", help="of a recording; by default chosen by what it holds")
    add_camera_offset(parser)
    add_pose_delay(parser)
    options = parser.parse_args(given)
    return guarded(prog, lambda: _evaluate(options))


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot be before anything is read.

    Raises:
        ArtifactError: There is no such artifact.
        ConfigError: An option would do nothing.
        DataError: Options contradict one another.
        OSError: A file cannot be written.
    """
    check_data_options(options)
    if options.namespace and not options.profile:
        raise ConfigError("--namespace says whose --profile is meant, and none is given")
    if options.anew and options.start_s <= 0.0:
        raise ConfigError("--anew starts the robot a second time at --start-s, and none is given")
    if len(options.artifact) > 1 and options.report:
        raise DataError("--report shows one artifact, --json several")
    for model_path in options.artifact:
        load_artifact(model_path)
    check_output(options.json, options.report and options.report / "numbers.json")


def _evaluate(options: argparse.Namespace) -> None:
    _check(options)
    asked = EvaluationOptions(
        data=options.data,
        still=options.still,
        seconds=EvaluationOptions.seconds if options.seconds is None else options.seconds,
        start_s=options.start_s,
        horizons=tuple(options.horizons),
        workers=options.workers,
        without=tuple(dict.fromkeys(options.without)),
        only_ours=options.only_ours,
        image_topic=options.image_topic,
        pose_topic=options.pose_topic,
        action_topic=options.action_topic,
        camera_offset_s=options.camera_offset_s,
        anew=options.anew,
        profile=profile_folder(options.profile, options.namespace) if options.profile else None,
        pose_delay_s=pose_delay_s(options),
    )
    # It takes seconds to import, which who is refused need not wait.
    from world_model.commands.evaluating import evaluate_all

    evaluate_all(options, asked)


if __name__ == "__main__":
    sys.exit(main())
