"""Which parameters each node starts with: shipped file, the source's defaults, environment variables, then the user's.

ROS merges what it is given in order, so the order here is the precedence. Parameter files set every key; therefore
environment variables need a place of their own after them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import get_package_share_directory
from latent_planner.params import LatentPlannerParams

from latent_publisher.params import LatentPublisherParams
from policy_runner.params import PolicyRunnerParams
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
OPTIONAL_NODES: dict[str, type] = {"latent_planner": LatentPlannerParams, "policy_runner": PolicyRunnerParams}
"""The same of nodes that start only where they are asked for, each as a process of its own."""


def config_directory() -> Path:
    """Returns where the shipped parameter files are installed."""
    return Path(get_package_share_directory("wm_bringup")) / "config"


def params_of(node: str) -> type:
    """Returns a node's parameters."""
    return {**NODES, **OPTIONAL_NODES}[node]


def option_values(node: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those options that the node has a parameter for; None and "" say nothing."""
    names = {field.name for field in dataclasses.fields(params_of(node))}
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


def parameters_for(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns {node: {parameter: value}} as a ROS parameter file that reaches the nodes in whatever namespace.

    ``NODE:`` as a key, and ``-p NODE:NAME:=VALUE`` on a command line, reach a node without a namespace only.
    """
    return {f"/**/{node}": {"ros__parameters": dict(given)} for node, given in values.items() if given}


def check_user_file(path: Path, namespace: str = "") -> None:
    """Refuses a parameter file that is missing, or whose entries none of the nodes would see.

    Raises:
        ConfigurationError: Says why, and what to write instead.
    """
    if not path.is_file():
        raise ConfigurationError(f"no parameter file '{path}'")
    try:
        entries = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"parameter file '{path}': {' '.join(str(error).split())}") from error
    if entries is not None and not isinstance(entries, dict):
        raise ConfigurationError(f"parameter file '{path}' holds no nodes with parameters")
    ours = {*NODES, *OPTIONAL_NODES} if namespace.strip("/") else set()
    unseen = [str(key) for key in entries or {} if str(key).lstrip("/") in ours]
    if unseen:
        raise ConfigurationError(
            f"parameter file '{path}': '{unseen[0]}' is no node in namespace '/{namespace.strip('/')}'; "
            f"write '/**/{unseen[0].lstrip('/')}'"
        )


def namespace_of(arguments: Sequence[str]) -> str:
    """Returns the namespace that a command line's ROS arguments give to all nodes, or ""."""
    rules = [word.partition(":=") for word in arguments]
    return next((value for name, _, value in reversed(rules) if name in ("__ns", "-r__ns")), "")


def ros_arguments(
    scratch: Path,
    *,
    nodes: Sequence[str] = tuple(NODES),
    directory: Path | None = None,
    files: Sequence[Path] = (),
    options: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    use_sim_time: bool = False,
    namespace: str = "",
) -> list[str]:
    """Returns the command line that gives some nodes their parameters; further ROS arguments may follow.

    Args:
        scratch: Where to write what the environment and the options say; must outlive the start of the nodes.
        nodes: Which nodes.
        directory: Where their parameter files lie; as shipped if None.
        files: Parameter files of the user, which come after environment variables.
        options: Values for every node that has such a parameter, which come last.
        defaults: The same, which come after the shipped files: what suits the source that feeds the graph.
        use_sim_time: Follow ``/clock``.
        namespace: In which the nodes will be.

    Raises:
        ConfigurationError: A parameter file is missing or reaches nobody, or an environment variable is wrong.
    """
    for path in files:
        check_user_file(path, namespace)
    environment = {node: environment_overrides(params_of(node)) for node in nodes}
    chosen = {node: option_values(node, options or {}) for node in nodes}
    usual = {node: option_values(node, defaults or {}) for node in nodes}
    chain = [
        *(shipped_file(node, directory) for node in nodes),
        *_written(scratch / "defaults.yaml", usual),
        *_written(scratch / "environment.yaml", environment),
        *files,
        *_written(scratch / "options.yaml", chosen),
    ]
    arguments = ["--ros-args"]
    for path in chain:
        arguments += ["--params-file", str(path)]
    if use_sim_time:
        arguments += ["-p", "use_sim_time:=true"]
    return [*arguments, "--"]


def _written(path: Path, values: Mapping[str, Mapping[str, Any]]) -> list[Path]:
    """Returns a parameter file of these values, or none where there are none."""
    entries = parameters_for(values)
    if entries:
        path.write_text(yaml.safe_dump(entries))
    return [path] if entries else []
