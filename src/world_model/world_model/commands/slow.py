"""``python -m world_model.world_action``: the slow branch from episodes to an artifact, and how good it is."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from wm_core.errors import CoreError
from world_model.data.episodes import EpisodeSet
from world_model.data.ticks import tabulate
from world_model.errors import ConfigError
from world_model.evaluation.history_gate import (
    HORIZONS_S,
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
from world_model.training.world_action_stage import Log, TrainingConfig, adapt, train

ConfigT = TypeVar("ConfigT", WorldActionConfig, TrainingConfig)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands; return the exit code (2 with one line when something given cannot work)."""
    args = _parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    commands = {"train": _train, "adapt": _adapt, "evaluate": _evaluate, "gate": _gate}
    try:
        return commands.get(args.command, _compare)(args)
    except CoreError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m world_model.world_action", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("train", "train on a converted set and write world_action.pt into an artifact"),
        ("adapt", "fit an artifact's slow branch to another set: its scale and its predictor, not its encoder"),
        ("evaluate", "errors of an artifact's slow branch on held-out drives"),
        ("compare", "train the variants on an artifact's encoder and compare them on the test split"),
        ("targets", "train frozen and moving targets from an artifact's encoder and compare them in pixel space"),
        ("gate", "what the visual history gives the fast path: open its gate on --data, measure on --test"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--data", type=Path, required=True, help="converted set (see wm-data)")
        command.add_argument("--artifact", required=True, help="artifact folder or artifact://NAME")
        command.add_argument("--threads", type=int, default=1, help="torch threads")
        command.add_argument("--json", type=Path, help="write the results here too")
        if name == "evaluate":
            command.add_argument("--split", default="test", help="train, valid, test or all")
            command.add_argument("--phases", type=int, default=1, help="starts per tick")
            command.add_argument(
                "--motion", choices=("artifact", "velocity"), default="artifact", help="how retrieval expects to move"
            )
            command.add_argument(
                "--from-s", type=float, default=0.0, help="judge only what comes later in an episode [s]"
            )
        else:
            command.add_argument("--log", type=Path, help="one JSON object per logged step")
            command.add_argument("--phases", type=int, default=2, help="starts per tick from each training episode")
            command.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any setting")
        if name in ("compare", "targets", "gate"):
            command.add_argument("--test", type=Path, help="set whose test split judges; default: valid of --data")
        if name == "gate":
            command.add_argument("--drives", type=int, default=1000, help="most training episodes used")
            command.add_argument("--horizons", type=float, nargs="+", default=HORIZONS_S, help="times ahead [s]")
            command.add_argument("--steps", type=int, default=1500, help="optimiser steps")
    return parser


def _train(args: argparse.Namespace) -> int:
    config, how = settings(args.set)
    episodes = list(EpisodeSet(args.data).episodes("train"))
    table = tabulate(episodes, config.tick_s, config.history, config.future, args.phases)
    fast_encoder = None
    if config.backbone == "encoder":
        fast_encoder = torch.jit.load(str(resolve_model_path(args.artifact) / "encoder.pt"))
    with _logger(args.log) as log:
        module = train(config, how, table, log, fast_encoder)
    trained = {**how.to_dict(), "drives": len(episodes), "ticks": len(table.stamp), "windows": len(table.past)}
    manifest = export(resolve_model_path(args.artifact), module, config, training=trained)
    _report({"world_action": manifest.files["world_action.pt"], "training": trained}, args.json)
    return 0


def _adapt(args: argparse.Namespace) -> int:
    folder = resolve_model_path(args.artifact)
    module, config = restore(folder)
    _, how = settings(args.set)
    data = EpisodeSet(args.data)
    table = tabulate(data.episodes("train"), config.tick_s, config.history, config.future, args.phases)
    with _logger(args.log) as log:
        adapt(module, how, table, log)
    trained = {**how.to_dict(), "adapted_to": data.path.name, "ticks": len(table.stamp)}
    manifest = export(folder, module, config, training=trained)
    _report({"world_action": manifest.files["world_action.pt"], "training": trained}, args.json)
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    artifact, data = load_artifact(args.artifact), EpisodeSet(args.data)
    episodes = list(data.episodes(None if args.split == "all" else args.split))
    motion = MotionModel() if args.motion == "velocity" else None
    _, rows = evaluate(artifact, episodes, data.manifest.step_s, args.phases, args.from_s, motion)
    model_id = artifact.manifest.files["world_action.pt"][:16]
    _report({"model": model_id, "data": args.data.name, "split": args.split, "horizons_s": rows}, args.json)
    return 0


def _compare(args: argparse.Namespace) -> int:
    module, config = restore(resolve_model_path(args.artifact))
    _, how = settings(args.set)
    data = EpisodeSet(args.data)
    size = (config.tick_s, config.history, config.future)
    training = tabulate(data.episodes("train"), *size, args.phases)
    test = tabulate(EpisodeSet(args.test).episodes("test") if args.test else data.episodes("valid"), *size)
    with _logger(args.log) as log:
        if args.command == "targets":
            results = compare_targets(module, config, how, training, test, log)
        else:
            results = compare(module.encoder, config, how, training, test, log)
    _report(results, args.json)
    return 0


def _gate(args: argparse.Namespace) -> int:
    artifact = load_artifact(args.artifact)
    path, variance_D = str(artifact.path / "transition.pt"), np.array(artifact.manifest.latent_variance)
    episodes = list(EpisodeSet(args.data).episodes("train"))[: args.episodes]
    test = EpisodeSet(args.test).episodes("test") if args.test else EpisodeSet(args.data).episodes("valid")
    plain = torch.jit.load(path)
    horizons_s = tuple(args.horizons)
    learnt = [judged_frames(artifact, plain, episode, horizons_s) for episode in episodes]
    judged = [judged_frames(artifact, plain, episode, horizons_s) for episode in test]
    results: dict[str, Any] = {"transition": artifact.manifest.files["transition.pt"][:16], "drives": len(episodes)}
    controls = (with_foreign_history(learnt), with_foreign_history(judged))
    with _logger(args.log) as log:
        for name, (training, judging) in {"history": (learnt, judged), "foreign history": controls}.items():
            transition = torch.jit.load(path)
            open_gate(transition, training, variance_D, log, steps=args.steps)
            results[name] = measure_gate(transition, judging, variance_D, horizons_s)
    _report(results, args.json)
    return 0


def settings(assignments: Sequence[str]) -> tuple[WorldActionConfig, TrainingConfig]:
    """Return the default settings with ``NAME=VALUE`` assignments applied.

    Raises:
        ConfigError: No such setting, or a value of the wrong type.
    """
    config, how = WorldActionConfig(), TrainingConfig()
    for assignment in assignments:
        name, _, text = assignment.partition("=")
        if name in {f.name for f in fields(WorldActionConfig)}:
            config = _with(config, name, text)
        elif name in {f.name for f in fields(TrainingConfig)}:
            how = _with(how, name, text)
        else:
            raise ConfigError(f"no setting is called {name!r}")
    return config, how


def _with(config: ConfigT, name: str, text: str) -> ConfigT:
    kind = type(getattr(config, name))
    try:
        value: Any = text if kind is str else json.loads(text)
        if kind is not float and type(value) is not (list if kind is tuple else kind):
            raise ValueError
        return replace(config, **{name: kind(value)})
    except (ValueError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{name}={text!r}: expected {kind.__name__}") from error


class _logger:  # noqa: N801
    """A log function that writes each entry to stderr and, if asked, to a file."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("a") if path else None

    def __enter__(self) -> Log:
        return self._write

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def _write(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry)
        sys.stderr.write(line + "\n")
        if self._file:
            self._file.write(line + "\n")
            self._file.flush()


def _report(results: dict[str, Any], path: Path | None) -> None:
    text = json.dumps(results, indent=1)
    sys.stdout.write(text + "\n")
    if path:
        path.write_text(text + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
