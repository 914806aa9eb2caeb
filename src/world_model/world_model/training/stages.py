"""The stages before the transition: encoder, decoder, motion, path foresight; trained, or as an earlier call did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from world_model.data.episodes import Episode, EpisodeSet
from world_model.data.known import known_of
from world_model.data.rates import check_rates, on_step
from world_model.errors import ConfigError
from world_model.models.encoders import ConvEncoder, LinearDecoder, LinearEncoder
from world_model.models.factory import make_encoder, make_transition
from world_model.models.transition import Transition
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.motion import MotionModel
from world_model.training.checkpoints import load_checkpoint, save_checkpoint
from world_model.training.clips import PICTURE_ENCODERS, check_inputs, latents_of
from world_model.training.config import TrainConfig
from world_model.training.crew import Crew
from world_model.training.displacement import Track, expected_motion, missed_displacement
from world_model.training.distributed import fit_pictures
from world_model.training.encoder_stage import pair_source, train_encoder
from world_model.training.loop import uses_cuda
from world_model.training.motion_fit import fit_motion, with_measured_errors
from world_model.training.path_stage import PathData, fit_caution, last_part, train_path
from world_model.training.picture_stage import Pictures
from world_model.training.report import Report
from world_model.training.sequences import told_poses
from world_model.training.view_stage import train_views, view_pairs

# Of 64 px; of larger ones fewer fit into memory, yet enough for a read-out from the largest latent.
_SAMPLE_IMAGES, _LEAST_SAMPLE_IMAGES = 6000, 2000
_SAMPLE_TRACKS = 12
# From so many episodes on one in so many can be spared to measure on.
_MANY_DRIVES = 10


@dataclass
class Stages:
    """What the stages before the transition produced; latents of the episodes to learn from, and of those held out."""

    encoder: nn.Module
    decoder: nn.Module
    motion: MotionModel
    transition: Transition
    latents: dict[str, np.ndarray]
    held_out: dict[str, np.ndarray] = field(default_factory=dict)


def prepare(
    config: TrainConfig,
    episodes: EpisodeSet,
    names: Sequence[str],
    out: Path,
    report: Report | None = None,
    crew: Crew | None = None,
) -> Stages:
    """Return encoder, motion model, view warp and path foresight, trained or as an earlier call left them in ``out``.

    Args:
        config: The run.
        episodes: Where the episodes are.
        names: Those to learn from.
        out: Folder of the run.
        report: Told what happens.
        crew: Who helps; the motion model, which needs no latents, is fitted beside the encoder's training.

    Raises:
        ConfigError: Encoder and decoder do not go together.
        DataError: Episodes lack what the encoder takes, or the motion model cannot be fitted.
    """
    report, crew, held_out = report or Report(), crew or Crew(1), {}
    check_parts(config)
    motion_found = crew.submit(find_motion, config, episodes, names)
    if config.model.encoder in PICTURE_ENCODERS:
        encoder, decoder = train_pictures(config, episodes, names, out, report)
        every = encode_all(config, encoder, episodes, [*names, *episodes.names("valid")], report)
        latents = {name: every[name] for name in names}
        held_out = {name: latent_TD for name, latent_TD in every.items() if name not in latents}
    else:
        encoder = find_encoder(config, episodes, names, out, report)
        latents = encode_all(config, encoder, episodes, names, report)
        decoder = fit_decoder(config, episodes, names, latents)
    report.say("fitting the motion model")
    motion = motion_found()
    transition = make_transition(config.model, episodes.manifest.action_dim)
    actions = [np.asarray(episodes.episode(name).action_TA) for name in names]
    set_statistics(transition, list(latents.values()), actions)
    if config.start_from:
        # Latents stay normalised as the source's memory branch knows them; actions may mean something else here.
        source = source_state(config, "transition")
        kept = {name: value for name, value in transition.state_dict().items() if name.startswith("action_")}
        transition.load_state_dict({**source, **kept})
        shrink_corrections(transition, config.memory_shrink)
    train_view_stage(config, transition, episodes, latents, out, report)
    train_path_stage(config, transition, episodes, latents, motion, out, report, crew)
    return Stages(encoder, decoder, motion, transition, latents, held_out)


def check_parts(config: TrainConfig) -> None:
    """Refuse parts that no stage trains together.

    Raises:
        ConfigError: A decoder that its encoder's stage does not train.
    """
    encoder, decoder = config.model.encoder, config.model.decoder
    is_residual = encoder in PICTURE_ENCODERS
    expected = ("transposed", "pixel_shuffle") if is_residual else ("linear",)
    if decoder not in expected:
        raise ConfigError(f"model.decoder is '{decoder}' with encoder '{encoder}', expected {' or '.join(expected)}")
    if is_residual and config.start_from:
        raise ConfigError(f"start_from is set, but fine-tuning keeps a linear or conv encoder, not '{encoder}'")


def find_encoder(
    config: TrainConfig, episodes: EpisodeSet, names: Sequence[str], out: Path, report: Report
) -> nn.Module:
    """Return a linear or convolutional encoder: of the run's source, of an earlier call, or trained now.

    Raises:
        ConfigError: An unknown encoder.
    """
    image_size, path = episodes.manifest.image_size, out / "encoder.pt"
    encoder = make_encoder(config.model, image_size)
    if config.start_from:
        encoder.load_state_dict(source_state(config, "encoder"))
    elif path.is_file():
        encoder.load_state_dict(load_checkpoint(path)["model"])
    else:
        is_conv = isinstance(encoder, ConvEncoder)
        components = encoder.components if is_conv else encoder
        assert isinstance(components, LinearEncoder)
        components.fit(torch.from_numpy(sample_images(episodes, names)))
        if is_conv:
            sources = [pair_source(episodes.episode(name)) for name in names]
            encoder = train_encoder(components, sources, image_size, config, out / "encoder", report)
        save_result(path, config, config.encoder_steps, encoder)
    return encoder.eval()


def train_pictures(
    config: TrainConfig, episodes: EpisodeSet, names: Sequence[str], out: Path, report: Report
) -> tuple[nn.Module, nn.Module]:
    """Return a residual encoder and its decoder, trained; an earlier call's work is taken up from ``out/pictures``.

    Raises:
        DataError: An episode lacks what the encoder takes.
    """
    every = [*names, *episodes.names("valid")]
    check_inputs(episodes, every, config.model)
    check_rates([episodes.episode(name) for name in every], episodes.manifest.step_s)
    pictures = Pictures(config, episodes.manifest.image_size, episodes.manifest.action_dim)
    fit_pictures(config, pictures, episodes.path, out / "pictures", report)
    return pictures.encoder.eval(), pictures.decoder.eval()


def encode_all(
    config: TrainConfig, encoder: nn.Module, episodes: EpisodeSet, names: Sequence[str], report: Report
) -> dict[str, np.ndarray]:
    """Return the latents of each episode, float32 [T, D]."""
    latents = {}
    is_residual = config.model.encoder in PICTURE_ENCODERS
    encoder.to(torch.device("cuda" if is_residual and uses_cuda(config.pictures) else "cpu"))
    for done, name in enumerate(names, start=1):
        latents[name] = latents_of(encoder, episodes.episode(name), config.model)
        report.advance("encoding", done, len(names))
    encoder.cpu()
    return latents


def fit_decoder(
    config: TrainConfig, episodes: EpisodeSet, names: Sequence[str], latents: dict[str, np.ndarray]
) -> LinearDecoder:
    """Return the linear decoder that fits the episodes' pictures best."""
    decoder = LinearDecoder(episodes.manifest.image_size, config.model.latent_dim)
    latent_ND = np.concatenate([latents[name][sample_rows(episodes.episode(name), len(names))] for name in names])
    decoder.fit(torch.from_numpy(sample_images(episodes, names)), torch.from_numpy(latent_ND))
    return decoder


def find_motion(config: TrainConfig, episodes: EpisodeSet, names: Sequence[str]) -> MotionModel:
    """Return the motion model that fits the episodes, and how much it errs.

    Raises:
        DataError: The motion model cannot be fitted.
    """
    # A dozen episodes determine a dozen numbers.
    sample = names[:: max(len(names) // _SAMPLE_TRACKS, 1)][:_SAMPLE_TRACKS]
    step_s = model_step_s(config, episodes)
    tracks = [track_of(episodes.episode(name), step_s) for name in sample]
    motion = fit_motion(tracks, step_s)
    return with_measured_errors(motion, tracks, step_s, [step * step_s for step in config.horizons])


def train_view_stage(
    config: TrainConfig,
    model: Transition,
    episodes: EpisodeSet,
    latents: dict[str, np.ndarray],
    out: Path,
    report: Report,
) -> None:
    """Train the transition's view warp, or load what an earlier call left in ``out``; without steps leave it."""
    path, steps = out / "views.pt", config.view_steps
    if not steps:
        return
    if path.is_file():
        model.memory.warp.load_state_dict(load_checkpoint(path)["model"])
        return
    pairs = [view_pairs(episodes.episode(name), latent_TD, config.retrieval) for name, latent_TD in latents.items()]
    train_views(model.memory.warp, pairs, model.latent_mean, model.latent_std, config, out / "views", report)
    save_result(path, config, steps, model.memory.warp)


def train_path_stage(
    config: TrainConfig,
    model: Transition,
    episodes: EpisodeSet,
    latents: dict[str, np.ndarray],
    motion: MotionModel,
    out: Path,
    report: Report,
    crew: Crew,
) -> None:
    """Train the transition's path foresight, or load what an earlier call left in ``out``."""
    path = out / "path.pt"
    if path.is_file():
        model.path.load_state_dict(load_checkpoint(path)["model"])
        return
    data = path_data(config, episodes, latents, motion, crew)
    horizons_s = [step * model_step_s(config, episodes) for step in config.horizons]
    if len(data) >= _MANY_DRIVES:
        learned = [episode for row, episode in enumerate(data) if row % _MANY_DRIVES]
        train_path(model, learned, horizons_s, config, out / "path", report)
        fit_caution(model, data[::_MANY_DRIVES], horizons_s)
    else:
        # Every part of so little is needed: what is missed is measured first, without the last part of each episode.
        before = {name: value.clone() for name, value in model.path.state_dict().items()}
        parts = [last_part(episode, 0.25) for episode in data]
        train_path(model, [learned for learned, _ in parts], horizons_s, config, out / "path_held_out", report)
        fit_caution(model, [held_out for _, held_out in parts], horizons_s)
        caution_3 = model.path.caution.clone()
        model.path.load_state_dict(before)
        train_path(model, data, horizons_s, config, out / "path", report)
        model.path.caution.copy_(caution_3)
    report.say(f"path foresight errs {', '.join(f'{v:.2f}' for v in model.path.caution.tolist())} times what it thinks")
    save_result(path, config, config.path_steps, model.path)


def path_data(
    config: TrainConfig, episodes: EpisodeSet, latents: dict[str, np.ndarray], motion: MotionModel, crew: Crew
) -> list[PathData]:
    """Return what the path foresight learns from, episode by episode."""
    found = crew.map(partial(_path_data_of, config, episodes, motion), list(latents.items()))
    return [data for data in found if data is not None]


def _path_data_of(
    config: TrainConfig, episodes: EpisodeSet, motion: MotionModel, job: tuple[str, np.ndarray]
) -> PathData:
    name, latent_TD = job
    step_s, steps, scale_3 = model_step_s(config, episodes), config.horizons, config.retrieval.scale_3
    whole = episodes.episode(name)
    stepped = on_step(whole, latent_TD, step_s)
    told = told_poses(whole, known_of(whole, motion, step_s) if config.poses_as_known else None)
    told = on_step(told, latent_TD, step_s).episode
    episode, latent_TD = stepped.episode, stepped.latent_TD
    moved_TH3, smooth_T3, known_T = expected_motion(told, motion, steps, step_s)
    missed_TH3 = missed_displacement(np.asarray(episode.pose_T4), smooth_T3, moved_TH3, steps)
    # A row between two frames has an action of the next one, which was not known then.
    missed_TH3[~(known_T & stepped.measured_T)] = np.nan
    return PathData(latent_TD, np.asarray(episode.action_TA), moved_TH3 / scale_3, missed_TH3 / scale_3)


def save_result(path: Path, config: TrainConfig, steps: int, module: nn.Module) -> None:
    """Write what a stage made, complete or not at all."""
    save_checkpoint(path, {"config": config.to_json(), "step": steps, "model": module.state_dict()})


@torch.no_grad()
def shrink_corrections(model: Transition, factor: float) -> None:
    """Draw what the memory branch predicts towards the plain interpolation of what it retrieved."""
    memory = model.memory
    if factor == 1.0:
        return
    for layer in (memory.warp.leave, memory.correction, memory.token_correction):
        layer.weight.mul_(factor)
        layer.bias.mul_(factor)
    memory.carry.weight.mul_(factor)
    # The largest share that memories can have comes as much nearer to all of it.
    memory.alpha.copy_(torch.atanh(1.0 - factor * (1.0 - torch.tanh(memory.alpha))))


def set_statistics(model: Transition, latents: Sequence[np.ndarray], actions: Sequence[np.ndarray]) -> None:
    """Store mean and spread of latents and actions in the transition."""
    latent_ND, action_NA = np.concatenate(latents), np.concatenate(actions)
    action_NA = action_NA[np.isfinite(action_NA).all(axis=1)]
    if not len(action_NA):
        action_NA = np.zeros((1, actions[0].shape[1]))
    values = (latent_ND.mean(0), latent_ND.std(0) + 1e-6, action_NA.mean(0), action_NA.std(0) + 1e-3)
    model.set_statistics(*(torch.tensor(value, dtype=torch.float32) for value in values))


def sample_images(episodes: EpisodeSet, names: Sequence[str]) -> np.ndarray:
    """Return a few thousand images spread evenly over the episodes, uint8 [N, S, S, 3]."""
    return np.concatenate(
        [np.asarray(episode.image_TSSC[sample_rows(episode, len(names))]) for episode in map(episodes.episode, names)]
    )


def sample_rows(episode: Episode, episode_count: int) -> slice:
    """Return which frames of an episode ``sample_images`` takes."""
    side = episode.image_TSSC.shape[1]
    most = min(_SAMPLE_IMAGES, max(_SAMPLE_IMAGES * 64**2 // side**2, _LEAST_SAMPLE_IMAGES))
    return slice(0, None, max(len(episode) * episode_count // most, 1))


def source_state(config: TrainConfig, part: str) -> dict[str, torch.Tensor]:
    """Return the weights of a part of the artifact that the run starts from."""
    artifact = load_artifact(config.start_from)
    state: dict[str, torch.Tensor] = torch.jit.load(str(artifact.path / f"{part}.pt")).state_dict()
    return state


def model_step_s(config: TrainConfig, episodes: EpisodeSet) -> float:
    """Return the step of the model to train [s]: of the artifact that the run starts from, else of the set."""
    return load_artifact(config.start_from).manifest.step_s if config.start_from else episodes.manifest.step_s


def track_of(episode: Episode, step_s: float) -> Track:
    """Return the poses and actions of an episode, on steps of this length [s]."""
    episode = on_step(episode, np.zeros((len(episode), 0), np.float32), step_s).episode
    return Track(np.asarray(episode.stamp_T), np.asarray(episode.pose_T4), np.asarray(episode.action_TA))
