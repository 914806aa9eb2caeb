"""Which parameters each node starts with: shipped file, then environment variables, then what the user says.

ROS merges what it is given in order, so the order here is the precedence. Parameter files set every key; therefore
environment variables need a place of their own after them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import get_package_share_directory

from latent_publisher.params import LatentPublisherParams
from spatial_memory.params import SpatialMemoryParams
from transition_predictor.params import TransitionPredictorParams
from wm_ros import ConfigurationError, environment_overrides
from world_action.params import WorldActionParams

NODES: dict[str, type] = {
    "latent_publisher": LatentPublisherParams,
    "transition_predictor": TransitionPredictorParams,
    "spatial_memory": SpatialMemoryParams,
    "world_action": WorldActionParams,
}
"""{node = package name: its parameters}, in the order in which they start."""


def config_directory() -> Path:
    """Returns where the shipped parameter files are installed."""
    return Path(get_package_share_directory("wm_bringup")) / "config"


def option_values(node: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those options that the node has a parameter for; None and "" say nothing."""
    names = {field.name for field in dataclasses.fields(NODES[node])}
    return {name: value for name, value in options.items() if name in names and value not in (None, "")}


def shipped_file(node: str, directory: Path | None = None) -> Path:
    """Returns a node's parameter file.

    Raises:
        ConfigurationError: There is none.
    """
    path = (directory or config_directory()) / f"{node}.yaml"
    if not path.is_file():
        raise ConfigurationError(f"no parameter file '{path}'")
    return path


def ros_arguments(
    scratch: Path,
    *,
    nodes: Sequence[str] = tuple(NODES),
    directory: Path | None = None,
    files: Sequence[Path] = (),
    options: Mapping[str, Any] | None = None,
    use_sim_time: bool = False,
) -> list[str]:
    """Returns the command line that gives some nodes their parameters; further ROS arguments may follow.

    Args:
        scratch: Where to write what the environment says; must outlive the start of the nodes.
        nodes: Which nodes.
        directory: Where their parameter files lie; as shipped if None.
        files: Parameter files of the user, which come after environment variables.
        options: Values for every node that has such a parameter, which come last.
        use_sim_time: Follow ``/clock``.

    Raises:
        ConfigurationError: A parameter file is missing, or an environment variable is wrong.
    """
    chain = [shipped_file(node, directory) for node in nodes]
    from_environment = {node: values for node in nodes if (values := environment_overrides(NODES[node]))}
    if from_environment:
        path = scratch / "environment.yaml"
        path.write_text(yaml.safe_dump({node: {"ros__parameters": v} for node, v in from_environment.items()}))
        chain.append(path)
    for path in files:
        if not path.is_file():
            raise ConfigurationError(f"no parameter file '{path}'")
    arguments = ["--ros-args"]
    for path in [*chain, *files]:
        arguments += ["--params-file", str(path)]
    for node in nodes:
        for name, value in option_values(node, options or {}).items():
            arguments += ["-p", f"{node}:{name}:={json.dumps(value)}"]
    if use_sim_time:
        arguments += ["-p", "use_sim_time:=true"]
    return [*arguments, "--"]
