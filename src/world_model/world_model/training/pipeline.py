"""From converted drives to an artifact: encoder, motion, path, transition with and without memory, export.

Each stage leaves its result in the run's folder and is skipped when that is there, so a killed run goes on.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from world_model.artifacts import REFERENCE_NAME, Manifest, load_artifact
from world_model.data.drives import Drive, DriveSet
from world_model.errors import ConfigError, DataError
from world_model.evaluation.runner import ridge_features
from world_model.evaluation.spaces import fit_pixel_space
from world_model.export import export_artifact
from world_model.models.encoders import ConvEncoder, LinearDecoder, LinearEncoder
from world_model.models.factory import make_transition
from world_model.models.transition import Transition
from world_model.motion import MotionModel
from world_model.training.config import TrainConfig
from world_model.training.encoder_stage import pair_source, train_encoder
from world_model.training.episodes import (
    Episode,
    build_episode,
    encode_drive,
    expected_motion,
    state_table,
    with_pose_errors,
)
from world_model.training.loop import Progress, Trainer, load_checkpoint
from world_model.training.motion_fit import Track, fit_motion
from world_model.training.path_stage import PathData, missed_displacement, train_path

Say = Callable[[str], None]
_SAMPLE_IMAGES = 6000
_RIDGE = 1e-3


@dataclass
class Stages:
    """What the stages before the transition produced."""

    encoder: torch.nn.Module
    decoder: LinearDecoder
    motion: MotionModel
    transition: Transition
    latents: dict[str, np.ndarray]


def run_training(
    config: TrainConfig, data: Path, out: Path, *, workers: int = 2, say: Say = lambda _: None
) -> Manifest:
    """Train everything on a converted set and write the artifact to ``out/artifact``.

    Args:
        config: The run.
        data: Converted set.
        out: Folder of the run; what is there already is used.
        workers: Processes that prepare episodes.
        say: Told what happens, line by line.

    Returns:
        Manifest of the artifact.

    Raises:
        DataError: No training drives.
    """
    started = time.monotonic()
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    out.mkdir(parents=True, exist_ok=True)
    drives = DriveSet(data)
    names, step_s = drives.names("train"), drives.manifest.step_s
    if not names:
        raise DataError(f"{data} has no training drives")
    stages = prepare(config, drives, names, out, say)
    say(f"preparing {len(names)} drives")
    episodes = make_episodes(config, drives, names, stages, workers)
    valid = make_episodes(config, drives, drives.names("valid"), stages, workers)
    without_memory = make_transition(config.model, drives.manifest.action_dim, use_memory=False)
    shared = stages.transition.state_dict()
    if config.start_from:
        # Its own former training, but the statistics and path of the new data.
        given = ("path.", "action_")
        former = _source_state(config, "without_memory")
        shared = {name: shared[name] if name.startswith(given) else value for name, value in former.items()}
    else:
        shared = {k: v for k, v in shared.items() if not k.startswith(("memory.", "history."))}
    without_memory.load_state_dict(shared, strict=False)
    latent_ND = np.concatenate(list(stages.latents.values()))
    variance_D = torch.from_numpy(latent_ND.var(axis=0) + 1e-9)
    losses = train_transition(config, stages.transition, episodes, valid, out / "memory", step_s, variance_D, say)
    train_transition(config, without_memory, episodes, valid, out / "without_memory", step_s, variance_D, say)
    path = out / "artifact"
    path.mkdir(exist_ok=True)
    write_reference(path, config, drives, names, stages.latents, episodes[1::2])
    entries = {
        "name": config.name,
        "z_dim": config.model.latent_dim,
        "action_dim": drives.manifest.action_dim,
        "image_size": drives.manifest.image_size,
        "step_s": step_s,
        "horizon_s": max(1.0, step_s),
        "top_k": config.retrieval.spot_k,
        "latent_mean": [float(f"{v:.7g}") for v in latent_ND.mean(axis=0)],
        "latent_variance": [float(f"{v:.7g}") for v in variance_D.tolist()],
        "motion": stages.motion.to_manifest(),
        "memory": config.retrieval.to_manifest(),
        "training": _account(config, drives, names, losses, time.monotonic() - started),
    }
    manifest = export_artifact(path, stages.encoder, stages.decoder, stages.transition, entries, without_memory)
    say(f"artifact {manifest.encoder_id} in {path} after {time.monotonic() - started:.0f} s")
    return manifest


def prepare(config: TrainConfig, drives: DriveSet, names: Sequence[str], out: Path, say: Say) -> Stages:
    """Return encoder, motion model and path foresight, trained or as an earlier call left them in ``out``."""
    encoder = make_encoder(config, drives, names, out, say)
    latents = {name: encode_drive(encoder, drives.drive(name)) for name in names}
    decoder = LinearDecoder(drives.manifest.image_size, config.model.latent_dim)
    latent_ND = np.concatenate([latents[name][_rows(drives.drive(name), len(names))] for name in names])
    decoder.fit(torch.from_numpy(sample_images(drives, names)), torch.from_numpy(latent_ND))
    say("fitting the motion model")
    motion = fit_motion([_track(drives.drive(name)) for name in names], drives.manifest.step_s)
    transition = make_transition(config.model, drives.manifest.action_dim)
    actions = [np.asarray(drives.drive(name).action_TA) for name in names]
    set_statistics(transition, list(latents.values()), actions)
    if config.start_from:
        # Latents stay normalised as the source's memory branch knows them; actions may mean something else here.
        source = _source_state(config, "transition")
        kept = {name: value for name, value in transition.state_dict().items() if name.startswith("action_")}
        transition.load_state_dict({**source, **kept})
        shrink_corrections(transition, config.memory_shrink)
    train_path_stage(config, transition, drives, latents, motion, out, say)
    return Stages(encoder, decoder, motion, transition, latents)


def _account(
    config: TrainConfig, drives: DriveSet, names: Sequence[str], losses: dict[str, float], seconds: float
) -> dict[str, Any]:
    frames = sum(drives.manifest.drives[name]["frames"] for name in names)
    return {
        "config": json.loads(json.dumps(config.to_json())),
        "data": {"source": drives.manifest.source, "drives": len(names), "frames": frames},
        "seconds": round(seconds),
        "machine": f"{platform.machine()}, {config.threads} thread(s)",
        "last_losses": {name: round(value, 5) for name, value in losses.items()},
    }


def make_encoder(config: TrainConfig, drives: DriveSet, names: Sequence[str], out: Path, say: Say) -> torch.nn.Module:
    """Return the run's encoder: of the artifact it starts from, of an earlier call, or trained now.

    Raises:
        ConfigError: An unknown encoder.
    """
    size, image_size, path = config.model.latent_dim, drives.manifest.image_size, out / "encoder.pt"
    if config.model.encoder not in ("linear", "conv"):
        raise ConfigError(f"model.encoder is '{config.model.encoder}', expected linear or conv")
    is_conv = config.model.encoder == "conv"
    encoder = ConvEncoder(image_size, size) if is_conv else LinearEncoder(image_size, size)
    if config.start_from:
        encoder.load_state_dict(_source_state(config, "encoder"))
    elif path.is_file():
        encoder.load_state_dict(load_checkpoint(path)["model"])
    else:
        components = encoder.components if isinstance(encoder, ConvEncoder) else encoder
        components.fit(torch.from_numpy(sample_images(drives, names)))
        if is_conv:
            sources = [pair_source(drives.drive(name)) for name in names]
            encoder = train_encoder(
                components,
                sources,
                image_size,
                steps=config.encoder_steps,
                seed=config.seed,
                progress=lambda step, terms: say(f"encoder {step}/{config.encoder_steps} {_words(terms)}"),
            )
        torch.save({"config": config.to_json(), "step": config.encoder_steps, "model": encoder.state_dict()}, path)
    return encoder.eval()


def train_path_stage(
    config: TrainConfig,
    model: Transition,
    drives: DriveSet,
    latents: dict[str, np.ndarray],
    motion: MotionModel,
    out: Path,
    say: Say,
) -> None:
    """Train the transition's path foresight, or load what an earlier call left in ``out``."""
    path = out / "path.pt"
    if path.is_file():
        model.path.load_state_dict(load_checkpoint(path)["model"])
        return
    step_s, steps = drives.manifest.step_s, config.horizons
    scale_3 = np.array([config.retrieval.length_scale_m, config.retrieval.length_scale_m, 1.0])
    data = []
    for name, latent_TD in latents.items():
        drive = drives.drive(name)
        moved_TH3, known_T = expected_motion(drive, motion, steps, step_s)
        missed_TH3 = missed_displacement(np.asarray(drive.pose_T4), moved_TH3, steps)
        missed_TH3[~known_T] = np.nan
        data.append(PathData(latent_TD, np.asarray(drive.action_TA), moved_TH3 / scale_3, missed_TH3 / scale_3))
    train_path(
        model,
        data,
        [step * step_s for step in steps],
        steps=config.path_steps,
        seed=config.seed,
        progress=lambda step, loss: say(f"path {step}/{config.path_steps} loss {loss:.3f}"),
    )
    torch.save({"config": config.to_json(), "step": config.path_steps, "model": model.path.state_dict()}, path)


def make_episodes(
    config: TrainConfig, drives: DriveSet, names: Sequence[str], stages: Stages, workers: int
) -> list[Episode]:
    """Return two episodes per drive: with the recorded future actions, and with the last action held."""
    copies = config.practice_copies if config.practice_gap_s else 1
    jobs = [(name, known, copy) for name in names for copy in range(copies) for known in (True, False)]
    work = partial(_make_episode, config, drives.path, stages)
    if workers <= 1:
        return [work(job) for job in jobs]
    with ProcessPoolExecutor(workers, mp_context=torch.multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(work, jobs))


def train_transition(
    config: TrainConfig,
    model: Transition,
    episodes: Sequence[Episode],
    valid: Sequence[Episode],
    out: Path,
    step_s: float,
    variance_D: torch.Tensor,
    say: Say,
) -> dict[str, float]:
    """Train a transition in place (its path foresight stays as it is) and return its last losses."""
    model.path.requires_grad_(False)
    model.memory.requires_grad_(not config.freeze_memory)

    def report(progress: Progress) -> None:
        if progress.step % 200 == 0 or progress.step == progress.steps:
            say(f"{out.name} {progress.step}/{progress.steps} {_words(progress.terms)}")

    return Trainer(config, model, out, step_s, variance_D).fit(episodes, valid, report)


@torch.no_grad()
def shrink_corrections(model: Transition, factor: float) -> None:
    """Draw what the memory branch predicts towards the plain interpolation of what it retrieved."""
    memory = model.memory
    if factor == 1.0:
        return
    for layer in (memory.warp.generators, memory.warp.bend_out, memory.correction, memory.token_correction):
        layer.weight.mul_(factor)
        layer.bias.mul_(factor)
    memory.carry.weight.mul_(factor)
    # The largest share that memories can have comes as much nearer to all of it.
    memory.alpha.copy_(torch.atanh(1.0 - factor * (1.0 - torch.tanh(memory.alpha))))


def fit_ridge(episodes: Sequence[Episode], steps: Sequence[int]) -> np.ndarray:
    """Return the regression baseline's weights per horizon, [H, F, D]."""
    weights = []
    for step in steps:
        feature_NF = np.concatenate([ridge_features(e.latent_TD, e.action_TA)[:-step] for e in episodes])
        target_ND = np.concatenate([e.latent_TD[step:] for e in episodes])
        gram_FF = feature_NF.T.astype(np.float64) @ feature_NF
        gram_FF += _RIDGE * len(feature_NF) * np.eye(len(gram_FF))
        weights.append(np.linalg.solve(gram_FF, feature_NF.T @ target_ND))
    return np.stack(weights).astype(np.float32)


def sample_images(drives: DriveSet, names: Sequence[str]) -> np.ndarray:
    """Return a few thousand images spread evenly over the drives, uint8 [N, S, S, 3]."""
    return np.concatenate(
        [np.asarray(drive.image_TSSC[_rows(drive, len(names))]) for drive in map(drives.drive, names)]
    )


def set_statistics(model: Transition, latents: Sequence[np.ndarray], actions: Sequence[np.ndarray]) -> None:
    """Store mean and spread of latents and actions in the transition."""
    latent_ND, action_NA = np.concatenate(latents), np.concatenate(actions)
    action_NA = action_NA[np.isfinite(action_NA).all(axis=1)]
    if not len(action_NA):
        action_NA = np.zeros((1, actions[0].shape[1]))
    values = (latent_ND.mean(0), latent_ND.std(0) + 1e-6, action_NA.mean(0), action_NA.std(0) + 1e-3)
    model.set_statistics(*(torch.tensor(value, dtype=torch.float32) for value in values))


def write_reference(
    path: Path,
    config: TrainConfig,
    drives: DriveSet,
    names: Sequence[str],
    latents: dict[str, np.ndarray],
    episodes: Sequence[Episode],
) -> None:
    """Write what evaluation compares with: the fixed pixel space and the regression weights."""
    latent_ND = np.concatenate([latents[name][_rows(drives.drive(name), len(names))] for name in names])
    space = fit_pixel_space(sample_images(drives, names), latent_ND)
    space.save(path / REFERENCE_NAME, ridge=fit_ridge(episodes, config.horizons), ridge_steps=np.array(config.horizons))


def _make_episode(config: TrainConfig, data: Path, stages: Stages, job: tuple[str, bool, int]) -> Episode:
    torch.set_num_threads(1)
    name, known_future, copy = job
    drives = DriveSet(data)
    drive = drives.drive(name)
    latent_TD = encode_drive(stages.encoder, drive)
    table = None
    if config.practice_gap_s:
        table = with_pose_errors(
            state_table(drive, latent_TD), config.practice_noise_m, config.practice_noise_rad, config.seed + copy
        )
    return build_episode(
        drive,
        latent_TD,
        stages.motion,
        config.retrieval,
        config.horizons,
        drives.manifest.step_s,
        path=stages.transition,
        known_future=known_future,
        practice_gap_s=config.practice_gap_s,
        table=table,
    )


def _source_state(config: TrainConfig, part: str) -> dict[str, torch.Tensor]:
    artifact = load_artifact(config.start_from)
    return torch.jit.load(str(artifact.path / f"{part}.pt")).state_dict()


def _rows(drive: Drive, drive_count: int) -> slice:
    return slice(0, None, max(len(drive) * drive_count // _SAMPLE_IMAGES, 1))


def _track(drive: Drive) -> Track:
    return Track(np.asarray(drive.stamp_T), np.asarray(drive.pose_T4), np.asarray(drive.action_TA))


def _words(terms: Mapping[str, float]) -> str:
    return " ".join(f"{name} {value:.3f}" for name, value in terms.items())
