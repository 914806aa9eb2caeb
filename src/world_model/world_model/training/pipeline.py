"""From converted episodes to an artifact: encoder, motion, path, transition with and without memory, export.

Each stage leaves its result in the run's folder and is skipped when that is there, so a killed run goes on.
"""

from __future__ import annotations

import json
import math
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wm_core.memory.successors import default_horizons_s
from world_model.data.episodes import EpisodeSet
from world_model.data.rates import horizons_in_steps
from world_model.errors import DataError
from world_model.export.torchscript import export_artifact
from world_model.models.factory import make_transition
from world_model.models.transition import Transition
from world_model.optional import extra
from world_model.runtime.artifacts import Manifest, load_artifact
from world_model.training.budget import granted_s
from world_model.training.clips import encoder_inputs
from world_model.training.config import TrainConfig
from world_model.training.crew import Crew
from world_model.training.distributed import TransitionRun, fit_transition
from world_model.training.loop import Terms
from world_model.training.preparation import make_sequences, write_reference
from world_model.training.report import Report
from world_model.training.sequences import TrainingSequence
from world_model.training.stages import Stages, model_step_s, prepare, source_state


def run_training(
    config: TrainConfig,
    data: Path,
    out: Path,
    *,
    workers: int = 2,
    report: Report | None = None,
    judged: Sequence[str] | None = None,
) -> Manifest:
    """Train everything on a converted set and write the artifact to ``out/artifact``.

    Args:
        config: The run.
        data: Converted set.
        out: Folder of the run; what is there already is used.
        workers: Processes that prepare sequences.
        report: Told what happens.
        judged: Held-out episodes that the transitions are validated on; default: all.

    Returns:
        Manifest of the artifact.

    Raises:
        ConfigError: Parts that do not go together, or another configuration than the one of what is there already.
        DataError: No training episodes, or episodes that lack what the encoder takes.
    """
    started, report = time.monotonic(), report or Report()
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    out.mkdir(parents=True, exist_ok=True)
    episodes = EpisodeSet(data)
    names = episodes.names("train")
    if not names:
        raise DataError(f"{data} has no training episodes")
    config = on_cameras_time(config, episodes, names, report)
    with Crew(workers) as crew:
        stages = prepare(config, episodes, names, out, report, crew)
        held_out = episodes.names("valid") if judged is None else list(judged)
        report.say(f"preparing {len(names)} episode(s)")
        limit_s = granted_s(config, "preparing", out / "preparing") if config.minutes else math.inf
        valid = make_sequences(config, episodes, held_out, stages, crew)
        sequences = make_sequences(config, episodes, names, stages, crew, limit_s)
        report.say(f"prepared {len(sequences) // 2} of them")
    without_memory = make_without_memory(config, stages, episodes.manifest.action_dim)
    losses = train_transitions(config, episodes, stages, without_memory, sequences, valid, out, report)
    path = out / "artifact"
    path.mkdir(exist_ok=True)
    write_reference(path, config, episodes, names, stages.latents, sequences[1::2])
    account = _account(config, episodes, names, losses, time.monotonic() - started)
    entries = manifest_entries(config, episodes, stages, account)
    if config.start_from:
        # To the last bit: memories made with it remain good, however TorchScript would write it today.
        shutil.copyfile(load_artifact(config.start_from).path / "encoder.pt", path / "encoder.pt")
    parts = stages.encoder, stages.decoder, stages.transition
    manifest = export_artifact(path, *parts, entries, without_memory, keeps_encoder=bool(config.start_from))
    report.say(f"artifact {manifest.encoder_id} in {path} after {time.monotonic() - started:.0f} s")
    return manifest


def on_cameras_time(config: TrainConfig, episodes: EpisodeSet, names: Sequence[str], report: Report) -> TrainConfig:
    """Return the run with the horizons that the cameras of a set can show, in steps of the model."""
    step_s = model_step_s(config, episodes)
    stamps = [np.asarray(episodes.episode(name).stamp_T) for name in names]
    steps = horizons_in_steps(config.horizons, stamps, step_s)
    if steps != config.horizons:
        report.say(f"horizons that the cameras show: {', '.join(f'{step * step_s:.2f}' for step in steps)} s")
    return replace(config, horizons=steps)


def make_without_memory(config: TrainConfig, stages: Stages, action_dim: int) -> Transition:
    """Return the network to train without memory, with everything that is not about memory as in the other."""
    without_memory = make_transition(config.model, action_dim, use_memory=False)
    shared = stages.transition.state_dict()
    if config.start_from:
        # Its own former training, but the statistics and path of the new data.
        given = ("path.", "action_")
        former = source_state(config, "without_memory")
        shared = {name: shared[name] if name.startswith(given) else value for name, value in former.items()}
    else:
        shared = {k: v for k, v in shared.items() if not k.startswith(("memory.", "history."))}
    without_memory.load_state_dict(shared, strict=False)
    return without_memory


def train_transitions(
    config: TrainConfig,
    episodes: EpisodeSet,
    stages: Stages,
    without_memory: Transition,
    sequences: Sequence[TrainingSequence],
    valid: Sequence[TrainingSequence],
    out: Path,
    report: Report,
) -> Terms:
    """Train both transitions in place; return the last losses of the first.

    Path foresight and a view warp that had a stage of its own stay as they are.
    """
    has_heads = config.model.context == "rssm"
    outcomes = extra("outcomes").outcomes_of(episodes, episodes.names()) if has_heads else {}
    losses = []
    for name, model in (("memory", stages.transition), ("without_memory", without_memory)):
        model.path.requires_grad_(False)
        model.memory.requires_grad_(not config.freeze_memory)
        if config.view_steps:
            # It was learned from far more pairs than the transition sees, and would learn its buildings by heart here.
            model.memory.warp.requires_grad_(False)
        step_s, variance_D = model_step_s(config, episodes), latent_variance(stages)
        run = TransitionRun(config, out / name, step_s, variance_D, outcomes, sequences, valid)
        losses.append(fit_transition(run, model, report))
    return losses[0]


def latent_variance(stages: Stages) -> torch.Tensor:
    """Return the variance of the training latents, [D], the unit of errors."""
    return torch.from_numpy(np.concatenate(list(stages.latents.values())).var(axis=0) + 1e-9)


def manifest_entries(
    config: TrainConfig, episodes: EpisodeSet, stages: Stages, account: dict[str, Any]
) -> dict[str, Any]:
    """Return what the artifact's manifest says of this run."""
    latent_ND, step_s = np.concatenate(list(stages.latents.values())), model_step_s(config, episodes)
    return {
        "name": config.name,
        "z_dim": config.model.latent_dim,
        "action_dim": episodes.manifest.action_dim,
        "image_size": episodes.manifest.image_size,
        "inputs": encoder_inputs(config.model),
        "step_s": step_s,
        "horizon_s": max(default_horizons_s(step_s)),
        "top_k": config.retrieval.anticipated_k,
        "latent_mean": [float(f"{v:.7g}") for v in latent_ND.mean(axis=0)],
        "latent_variance": [float(f"{v:.7g}") for v in latent_variance(stages).tolist()],
        "motion": stages.motion.to_manifest(),
        "memory": config.retrieval.to_manifest(),
        "training": account,
    }


def _account(
    config: TrainConfig, episodes: EpisodeSet, names: Sequence[str], losses: Terms, seconds: float
) -> dict[str, Any]:
    frames = sum(episodes.manifest.episodes[name]["frames"] for name in names)
    return {
        "config": json.loads(json.dumps(config.to_json())),
        "data": {"source": episodes.manifest.source, "drives": len(names), "frames": frames},
        "seconds": round(seconds),
        "machine": f"{platform.machine()}, {config.threads} thread(s)",
        "last_losses": {name: round(value, 5) for name, value in losses.items()},
    }
