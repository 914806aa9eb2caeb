"""``wm evaluate recognise``: is a place recognised by its look alone? One recording, looked for in another."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from world_model.commands.common import add_camera_offset, check_output, described, guarded
from world_model.data.bags import BagOptions, read_bag
from world_model.data.episodes import Episode
from world_model.errors import DataError
from world_model.evaluation.recognition import Seen, Tolerance, measure
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.features import FeatureNetwork


def main(arguments: Sequence[str] | None = None, prog: str = "wm evaluate recognise") -> int:
    """Run the command line and return its exit code: 0, or 2 when something asked for is wrong."""
    parser = argparse.ArgumentParser(prog=prog, description=described(__doc__))
    parser.add_argument("map_bag", type=Path, help="recording that is remembered")
    parser.add_argument("query_bag", type=Path, help="recording whose states are looked for; may be the same")
    parser.add_argument("--artifact", default="artifact://generic", help="whose features are compared")
    parser.add_argument("--tolerance-m", type=float, default=0.5, help="right within this distance [m]")
    parser.add_argument("--tolerance-deg", type=float, default=20.0, help="and this difference in heading [deg]")
    for name in ("map", "query"):
        parser.add_argument(f"--{name}-from-s", type=float, default=0.0, help="leave out what comes before [s]")
        parser.add_argument(f"--{name}-to-s", type=float, default=math.inf, help="leave out what comes after [s]")
    for topic in ("image", "pose"):
        parser.add_argument(f"--{topic}-topic", help="of both recordings; by default chosen by what they hold")
    add_camera_offset(parser)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    return guarded(prog, lambda: _recognise(options))


def _recognise(options: argparse.Namespace) -> None:
    check_output(options.json)
    tolerance = Tolerance(options.tolerance_m, math.radians(options.tolerance_deg))
    for path in (options.map_bag, options.query_bag):
        if not path.exists():
            raise DataError(f"no recording at '{path}'")
    network = _network(options.artifact)
    console = Console(highlight=False, soft_wrap=True)

    def seen(path: Path, from_s: float, to_s: float) -> Seen:
        topics = {"image_topic": options.image_topic, "pose_topic": options.pose_topic}
        offset_s = options.camera_offset_s
        options_of_bag = BagOptions(from_s=from_s, to_s=to_s, camera_offset_s=offset_s, **topics)
        return _seen(network, read_bag(path, options_of_bag, say=partial(console.print, markup=False)))

    held = seen(options.map_bag, options.map_from_s, options.map_to_s)
    asked = seen(options.query_bag, options.query_from_s, options.query_to_s)
    result = measure(held, asked, tolerance)
    low, high = result["interval"]
    console.print(
        f"{result['top1']:.1%} of {result['n']} states recognised among {result['remembered']} memories "
        f"(95 %: {low:.1%} to {high:.1%}), {result['rejected']} rejected, {result['not_remembered']} of places that "
        f"are not remembered; {result['ambiguous']:.1%} said to be ambiguous",
        markup=False,
    )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def _network(model_path: str) -> FeatureNetwork:
    """Return what makes features of pictures.

    Raises:
        ArtifactError: There is no such artifact, or it makes none.
    """
    return load_artifact(model_path).features()


def _seen(network: FeatureNetwork, episode: Episode) -> Seen:
    return Seen(episode.stamp_T, episode.pose_T4, network.encode_all(episode.image_TSSC))
