"""``world_model``: the four nodes in one process, which saves copies between processes and needs one CUDA context."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from rclpy.node import Node

from latent_publisher.node import LatentPublisher
from spatial_memory.node import SpatialMemory
from transition_predictor.node import TransitionPredictor
from wm_bringup.configuration import namespace_of, ros_arguments
from wm_ros import ConfigurationError, run_nodes
from wm_ros.command_line import split_ros_args
from world_action.node import WorldAction

EXECUTORS = {"single": 1, "multi": 4}
"""{name: threads}. One thread costs a quarter less processor time than a pool, and its latest answers come sooner."""


def make_nodes(slow_branch: bool = True) -> list[Node]:
    """Returns the nodes in the order in which a waking executor serves them: from frame to prediction first.

    Args:
        slow_branch: Whether world_action is one of them.
    """
    # Made the other way round, so that whoever is asked or heard is there first.
    memory, slow = SpatialMemory(beside=True), [WorldAction()] if slow_branch else []
    predictor, publisher = TransitionPredictor(window_source=memory.window_source), LatentPublisher()
    return [publisher, predictor, memory, *slow]


def _parse(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="world_model", description=__doc__.split(": ", 1)[1])
    parser.add_argument("--config-dir", type=Path, help="directory of the nodes' parameter files (default: as shipped)")
    parser.add_argument(
        "--params-file", type=Path, action="append", default=[], help="ROS parameter file, read after those"
    )
    parser.add_argument("--model-path", default="", help="artifact folder, artifact://NAME or an encoder.pt")
    parser.add_argument("--default-model-path", default="", help="the same, where nothing else names one")
    parser.add_argument(
        "--profile",
        default="",
        help="folder of the robot's profile, or the name of one in ~/.ros/world_model",
    )
    parser.add_argument("--device", default="", help="where the models run, as torch names it")
    parser.add_argument("--memory", default="", help="SQLite file, or the name of one in ~/.ros/world_model")
    parser.add_argument("--use-sim-time", action="store_true", help="follow /clock")
    parser.add_argument("--executor", choices=EXECUTORS, default="single", help="threads that serve the nodes")
    parser.add_argument("--no-slow-branch", dest="slow_branch", action="store_false", help="leave world_action out")
    return parser.parse_args(args)


def main(args: Sequence[str] | None = None) -> int:
    """Runs the nodes until a signal; returns 0, or 2 with one line when they cannot be configured."""
    own, for_ros = split_ros_args(sys.argv[1:] if args is None else args)
    options = _parse(own)
    with TemporaryDirectory(prefix="world_model_") as scratch:
        try:
            arguments = ros_arguments(
                Path(scratch),
                directory=options.config_dir,
                files=options.params_file,
                options={
                    "model_path": options.model_path,
                    "device": options.device,
                    "db_path": options.memory,
                    "profile": options.profile,
                },
                defaults={"model_path": options.default_model_path},
                use_sim_time=options.use_sim_time,
                namespace=namespace_of(for_ros),
            )
        except ConfigurationError as error:
            print(f"world_model: {error}", file=sys.stderr)  # noqa: T201
            return 2
        factory = partial(make_nodes, options.slow_branch)
        return run_nodes(factory, [*arguments, *for_ros], threads=EXECUTORS[options.executor])
