"""``wm slow``: the slow branch from episodes to an artifact, and how good it is."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from world_model.commands.common import add_set, described, guarded, reporting
from world_model.commands.slow_profile import NOTHING_BETTER, adapt_to_profile
from world_model.data.episodes import EpisodeSet
from world_model.data.ticks import TickTable, tabulate
from world_model.errors import ConfigError
from world_model.evaluation.history_gate import (
    HORIZONS_S,
    GateConfig,
    judged_frames,
    measure_gate,
    open_gate,
    with_foreign_history,
)
from world_model.evaluation.predictor_variants import compare
from world_model.evaluation.target_variants import compare_targets
from world_model.evaluation.world_action import evaluate
from world_model.export.world_action import export, restore
from world_model.models.world_action import WorldActionConfig
from world_model.runtime.artifacts import load_artifact, resolve_model_path
from world_model.runtime.motion import MotionModel
from world_model.training.report import Report
from world_model.training.world_action_config import WorldActionTraining
from world_model.training.world_action_stage import adapt, train
from world_model.typed_config import parse_overrides, read_config

_Command = Callable[[argparse.Namespace, Report], dict[str, Any]]


def main(arguments: Sequence[str] | None = None, prog: str = "wm slow") -> int:
    """Run the command line and return its exit code.

    It is 0, 2 with one line when something given cannot work, or 3 where nothing was better than what the profile has.
    """
    options = _parser(prog).parse_args(arguments)
    torch.set_num_threads(options.threads)
    results: list[dict[str, Any]] = []
    code = guarded(f"{prog} {options.command}", lambda: results.append(_run(options)))
    return code or (NOTHING_BETTER if results[0].get("kept", "") is None else 0)


def settings(options: argparse.Namespace) -> WorldActionTraining:
    """Return the configuration that ``--config`` and ``--set`` ask for.

    Raises:
        ConfigError: No such entry, or a value of the wrong type.
    """
    return read_config(WorldActionTraining, options.config, parse_overrides(options.set))


def _run(options: argparse.Namespace) -> dict[str, Any]:
    with reporting() as report:
        results = _COMMANDS[options.command](options, report)
    text = json.dumps(results, indent=1)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text + "\n")
    return results


def _train(options: argparse.Namespace, report: Report) -> dict[str, Any]:
    config = settings(options)
    episodes = list(EpisodeSet(options.data).episodes("train"))
    table = _table(episodes, config.model, options.phases)
    fast_encoder = None
    if config.model.backbone == "encoder":
        fast_encoder = torch.jit.load(str(resolve_model_path(options.artifact) / "encoder.pt"))
    module = train(config, table, options.run, report, fast_encoder)
    account = {"drives": len(episodes), "ticks": len(table.stamp), "windows": len(table.past)}
    return _export(options, module, config, account)


def _adapt(options: argparse.Namespace, report: Report) -> dict[str, Any]:
    if options.profile:
        return adapt_to_profile(options, settings(options), report)
    if options.artifact.startswith("artifact://"):
        raise ConfigError(f"{options.artifact} ships or serves every robot here: give a copy of it, or --profile")
    module, shape = restore(resolve_model_path(options.artifact))
    config, data = replace(settings(options), model=shape), EpisodeSet(options.data)
    table = _table(data.episodes("train"), shape, options.phases)
    adapt(module, config, table, options.run, report)
    return _export(options, module, config, {"adapted_to": data.path.name, "ticks": len(table.stamp)})


def _export(
    options: argparse.Namespace, module: Any, config: WorldActionTraining, account: dict[str, Any]
) -> dict[str, Any]:
    trained = {**config.account(), **account}
    manifest = export(resolve_model_path(options.artifact), module, config.model, training=trained)
    return {"world_action": manifest.files["world_action.pt"], "training": trained}


def _evaluate(options: argparse.Namespace, report: Report) -> dict[str, Any]:
    artifact, data = load_artifact(options.artifact), EpisodeSet(options.data)
    episodes = list(data.episodes(None if options.split == "all" else options.split))
    report.say(f"{len(episodes)} episode(s), {sum(len(episode) for episode in episodes)} frames")
    motion = MotionModel() if options.motion == "velocity" else None
    _, rows = evaluate(artifact, episodes, data.manifest.step_s, options.phases, options.from_s, motion)
    model_id = artifact.manifest.files["world_action.pt"][:16]
    return {"model": model_id, "data": options.data.name, "split": options.split, "horizons_s": rows}


def _compare(options: argparse.Namespace, report: Report) -> dict[str, Any]:
    module, shape = restore(resolve_model_path(options.artifact))
    config, data = replace(settings(options), model=shape), EpisodeSet(options.data)
    training = _table(data.episodes("train"), shape, options.phases)
    test = _table(EpisodeSet(options.test).episodes("test") if options.test else data.episodes("valid"), shape)
    if options.command == "targets":
        return compare_targets(module, config, training, test, report)
    return compare(module.encoder, config, training, test, report)


def _gate(options: argparse.Namespace, report: Report) -> dict[str, Any]:
    config = read_config(GateConfig, options.config, parse_overrides(options.set))
    artifact = load_artifact(options.artifact)
    variance_D = np.array(artifact.manifest.latent_variance)
    episodes = list(EpisodeSet(options.data).episodes("train"))[: options.episodes]
    test = EpisodeSet(options.test).episodes("test") if options.test else EpisodeSet(options.data).episodes("valid")
    plain, horizons_s = artifact.transition(frozen=False), tuple(options.horizons)
    learnt = [judged_frames(artifact, plain, episode, horizons_s) for episode in episodes]
    judged = [judged_frames(artifact, plain, episode, horizons_s) for episode in test]
    results: dict[str, Any] = {"transition": artifact.manifest.files["transition.pt"][:16], "drives": len(episodes)}
    controls = (with_foreign_history(learnt), with_foreign_history(judged))
    for name, (training, judging) in {"history": (learnt, judged), "foreign history": controls}.items():
        transition = artifact.transition(frozen=False)
        folder = None if options.run is None else options.run / name.replace(" ", "_")
        open_gate(transition, training, variance_D, config, folder, report)
        results[name] = measure_gate(transition, judging, variance_D, horizons_s)
    return results


def _table(episodes: Any, shape: WorldActionConfig, phases: int = 1) -> TickTable:
    return tabulate(episodes, shape.tick_s, shape.history, shape.future, phases)


_COMMANDS: dict[str, _Command] = {
    "train": _train,
    "adapt": _adapt,
    "evaluate": _evaluate,
    "compare": _compare,
    "targets": _compare,
    "gate": _gate,
}
_HELP = {
    "train": "train on a converted set and write world_action.pt into an artifact",
    "adapt": "fit an artifact's slow branch to another set: its scale and its predictor, not its encoder",
    "evaluate": "errors of an artifact's slow branch on held-out episodes",
    "compare": "train the variants on an artifact's encoder and compare them on the test split",
    "targets": "train frozen and moving targets from an artifact's encoder and compare them in pixel space",
    "gate": "what the visual history gives the fast path: open its gate on --data, measure on --test",
}


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=described(__doc__))
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in _HELP.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("--data", type=Path, required=True, help="converted set (see wm data)")
        command.add_argument("--artifact", required=True, help="artifact folder or artifact://NAME")
        command.add_argument("--threads", type=int, default=1, help="torch threads")
        command.add_argument("--json", type=Path, help="write the results here too")
        if name == "evaluate":
            _add_evaluation(command)
        else:
            _add_training(command, name)
    return parser


def _add_evaluation(command: argparse.ArgumentParser) -> None:
    command.add_argument("--split", default="test", help="train, valid, test or all")
    command.add_argument("--phases", type=int, default=1, help="starts per tick")
    command.add_argument(
        "--motion", choices=("artifact", "velocity"), default="artifact", help="how retrieval expects to move"
    )
    command.add_argument("--from-s", type=float, default=0.0, help="judge only what comes later in an episode [s]")


def _add_training(command: argparse.ArgumentParser, name: str) -> None:
    command.add_argument("--config", type=Path, help="YAML file; without one the defaults")
    add_set(command)
    command.add_argument("--phases", type=int, default=2, help="starts per tick from each training episode")
    if name in ("train", "adapt", "gate"):
        command.add_argument("--run", type=Path, help="checkpoints and logs; a killed run goes on from what is there")
    if name in ("compare", "targets", "gate"):
        command.add_argument("--test", type=Path, help="set whose test split judges; default: valid of --data")
    if name == "adapt":
        command.add_argument(
            "--profile", default="",
            help="leave the artifact as it is: keep what foresees the set's part 'valid' better in a robot's profile",
        )  # fmt: skip
        command.add_argument("--namespace", default="", help="of the robot, where the profile is a name")
        command.add_argument("--discard-data", action="store_true", help="with --profile: delete the set at the end")
        command.add_argument("--nice", type=int, default=0, help="with --profile: stand back behind others by so much")
    if name == "gate":
        command.add_argument("--episodes", type=int, default=1000, help="most training episodes used")
        command.add_argument("--horizons", type=float, nargs="+", default=HORIZONS_S, help="times ahead [s]")


if __name__ == "__main__":
    sys.exit(main())
