"""Trains policies with and without memory, and sets them beside their baselines on other episodes.

Shape suffixes: N = samples, S = steps, 2 = (forward, left) [m].
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wm_policy.evaluation.baselines import JUDGED_STEPS, driven_on, ego_mlp, nearest_drive, ridge
from wm_policy.evaluation.scores import summary
from wm_policy.runtime.observer import ObserverSettings
from wm_policy.training.config import PolicyConfig
from wm_policy.training.fit import Trained, columns_of, fit, measure, model_config
from wm_policy.training.imagined import Disturbance, ImaginedSamples, imagined_samples
from wm_policy.training.samples import SampleOptions, Samples, samples_of
from world_model.data.encoding import encode_episode
from world_model.data.episodes import Episode
from world_model.evaluation.options import EvaluationOptions
from world_model.evaluation.report import load_episodes
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.motion import MotionModel
from world_model.training.displacement import Track
from world_model.training.motion_fit import fit_motion

BLOCK_S = 3.0
_NS = 1e9
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class PolicyEvaluation:
    """What is compared on what.

    Attributes:
        data: Recording, converted set, or ``sim:SEEDS``; judged.
        train: The same, learned from; never judged.
        seconds: Length of simulated episodes [s].
        seeds: Runs of everything that is learned.
        config: Of the policy.
        history: Train the policy with the visual history as well.
        imagined: Train the policy with so many imagined drives beside each recorded one as well; 0: not.
        imagined_keep: And once more with this share of them, those that are expected to be imagined best; 1: not.
        run: Folder for checkpoints, so that a killed comparison goes on; None keeps none.
    """

    data: str
    train: str = "sim:3000-3047"
    seconds: float = 120.0
    seeds: int = 3
    config: PolicyConfig = PolicyConfig()
    history: bool = False
    imagined: int = 0
    imagined_keep: float = 1.0
    run: Path | None = None

    def kinds(self) -> dict[str, PolicyConfig]:
        """Return the policies that are trained, by name."""
        made = {
            "with_memory": replace(self.config, use_memory=True),
            "without": replace(self.config, use_memory=False),
        }
        if self.history:
            made["with_history"] = replace(self.config, use_memory=True, use_history=True)
        if self.imagined:
            made["with_imagined"] = replace(self.config, use_memory=True, imagined=self.imagined)
            made["without_with_imagined"] = replace(self.config, use_memory=False, imagined=self.imagined)
        if self.imagined and self.imagined_keep < 1.0:
            made["with_imagined_filtered"] = replace(made["with_imagined"], imagined_keep=self.imagined_keep)
        return made


@dataclass(frozen=True, eq=False)
class Judged:
    """What is judged: episodes, their samples, how they were made, and the latent of a black picture."""

    episodes: list[Episode]
    samples: Samples
    options: SampleOptions
    black_D: np.ndarray


@dataclass(frozen=True, eq=False)
class Lessons:
    """What policies learn: samples of recorded drives, and of drives imagined beside them where any are asked for."""

    recorded: Samples
    imagined: ImaginedSamples | None = None


def learn_from(asked: PolicyEvaluation, say: Say = lambda _: None) -> Lessons:
    """Return what policies learn; the same for all data that they are judged on."""
    torch.set_num_threads(asked.config.threads)
    artifact = load_artifact(asked.config.artifact)
    train = _samples(artifact, asked, asked.train, say)
    if not asked.imagined:
        return Lessons(train.samples)
    began = time.monotonic()
    made = imagined_samples(artifact, train.episodes, train.options, Disturbance(drives=asked.imagined))
    say(f"{len(made)} samples imagined beside {len(train.samples)} in {time.monotonic() - began:.0f} s")
    return Lessons(train.samples, made)


def compare(asked: PolicyEvaluation, train: Lessons, say: Say = lambda _: None) -> dict[str, Any]:
    """Return metric -> predictor -> error [m] on the second lap, ``intervals``, ``first_visits`` and ``about``.

    Args:
        asked: What is compared on what.
        train: What ``learn_from`` gave.
        say: Told what happens.

    Raises:
        CoreError: Data or artifact cannot be used.
    """
    began = time.monotonic()
    torch.set_num_threads(asked.config.threads)
    artifact = load_artifact(asked.config.artifact)
    judged = _samples(artifact, asked, asked.data, say)
    paths = _learned(asked, train, judged, say) | _unlearned(judged, artifact.manifest.step_s)
    truth_NS2 = judged.samples.targets["path"][:, :JUDGED_STEPS] * judged.samples.unit_N[:, None, None]
    known_N = judged.samples.targets["path_valid"][:, :JUDGED_STEPS].all(axis=1)
    block_N, kind = _blocks(judged)
    revisit_N = judged.samples.revisits()
    made = summary(paths, truth_NS2, known_N & revisit_N, block_N)
    made["first_visits"] = summary(paths, truth_NS2, known_N & ~revisit_N, block_N)
    made["about"] = {
        "data": asked.data, "train": asked.train, "artifact": asked.config.artifact, "seeds": asked.seeds,
        "encoder_id": artifact.manifest.encoder_id, "train_samples": len(train.recorded),
        "imagined": _about_imagined(asked, train), "resampled": kind,
        "episodes": len(judged.episodes), "unit_m": round(float(judged.samples.unit_N.mean()), 4),
        "config": asked.config.to_json(), "seconds": round(time.monotonic() - began),
    }  # fmt: skip
    return made


def _samples(artifact: Artifact, asked: PolicyEvaluation, data: str, say: Say) -> Judged:
    episodes = load_episodes(EvaluationOptions(data=data, seconds=asked.seconds), artifact, say)
    options = SampleOptions(
        settings=ObserverSettings(step_s=artifact.manifest.step_s),
        motion=_motion(artifact, episodes, say),
        every=asked.config.every,
        use_history=asked.history,
    )
    say(f"{data}: {len(episodes)} episode(s), {sum(map(len, episodes))} frames")
    return Judged(episodes, samples_of(artifact, episodes, options), options, _black(artifact, episodes[0]))


def _motion(artifact: Artifact, episodes: Sequence[Episode], say: Say) -> MotionModel:
    """Return the artifact's motion model for the simulated robot, else one fitted to the first halves."""
    if all(episode.name.startswith("sim-") for episode in episodes):
        return MotionModel.from_manifest(artifact.manifest.motion)
    say("another robot: its motion model is fitted to the first half of each episode")
    halves = [episode.cut(0.0, float(episode.stamp_T[-1] - episode.stamp_T[0]) / _NS / 2) for episode in episodes]
    tracks = [Track(each.stamp_T, each.pose_T4, each.action_TA) for each in halves]
    return fit_motion(tracks, artifact.manifest.step_s)


def _about_imagined(asked: PolicyEvaluation, train: Lessons) -> dict[str, Any] | None:
    if train.imagined is None:
        return None
    least, middle, most = np.quantile(train.imagined.uncertainty_N, [0.05, 0.5, 0.95]).round(4).tolist()
    return {
        "drives": asked.imagined, "samples": len(train.imagined), "keep": asked.imagined_keep,
        "uncertainty_p5_p50_p95": [least, middle, most],
    }  # fmt: skip


def _learned(asked: PolicyEvaluation, train: Lessons, judged: Judged, say: Say) -> dict[str, list[np.ndarray]]:
    """Return the paths of everything that is learned, one for each seed."""
    kinds, recorded, settings = asked.kinds(), train.recorded, judged.options.settings
    paths: dict[str, list[np.ndarray]] = {name: [] for name in (*kinds, "shuffled", "blank", "ego_mlp", "ridge")}
    for seed in range(asked.seeds):
        for name, kind in kinds.items():
            trained = _trained(asked, train, replace(kind, seed=seed), settings, name, say)
            paths[name].append(proposed(trained, judged.samples))
            if name == "with_memory":
                paths["shuffled"].append(proposed(trained, shuffled(judged.samples, seed)))
                paths["blank"].append(proposed(trained, blanked(judged.samples, judged.black_D)))
        processor = measure(model_config(asked.config, recorded, settings), recorded)
        paths["ego_mlp"].append(ego_mlp(recorded, judged.samples, processor, seed))
    paths["ridge"].append(ridge(recorded, judged.samples, processor))
    return paths


def _trained(
    asked: PolicyEvaluation, train: Lessons, config: PolicyConfig, settings: ObserverSettings, name: str, say: Say
) -> Trained:
    folder = None if asked.run is None else asked.run / f"{name}-{config.seed}"
    imagined = train.imagined.kept(config.imagined_keep) if train.imagined is not None and config.imagined else None
    began = time.monotonic()
    made = fit(config, model_config(config, train.recorded, settings), train.recorded, folder, imagined=imagined)
    say(f"{name}, seed {config.seed}: trained in {time.monotonic() - began:.0f} s")
    return made


def _unlearned(judged: Judged, step_s: float) -> dict[str, list[np.ndarray]]:
    samples, options = judged.samples, judged.options
    constant_NS2 = driven_on(judged.episodes, samples, MotionModel(), step_s)
    return {
        "hold_last_action": [driven_on(judged.episodes, samples, options.motion, step_s)],
        "constant_velocity": [constant_NS2],
        "nearest_drive": [nearest_drive(samples, options.settings, constant_NS2)],
    }


@torch.no_grad()
def proposed(trained: Trained, samples: Samples) -> np.ndarray:
    """Return the paths that a policy proposes [m], [N, S, 2]."""
    columns = columns_of(samples, trained.processor)
    names = list(trained.model.config.shapes())
    parts = []
    for start in range(0, len(samples), 512):
        inputs = {name: columns[name][start : start + 512] for name in names}
        parts.append(trained.model.propose(inputs)[0][:, :JUDGED_STEPS].numpy())
    return np.asarray(np.concatenate(parts) * samples.unit_N[:, None, None])


def shuffled(samples: Samples, seed: int) -> Samples:
    """Return the samples with the pictures of others."""
    order_N = np.random.default_rng(seed).permutation(len(samples))
    changed = {name: samples.inputs[name][order_N] for name in ("view", "view_known")}
    return replace(samples, inputs=samples.inputs | changed)


def blanked(samples: Samples, black_D: np.ndarray) -> Samples:
    """Return the samples as a camera with its cap on would show them; ``black_D`` is its latent."""
    view_NVD = np.broadcast_to(black_D, samples.inputs["view"].shape)
    return replace(samples, inputs=samples.inputs | {"view": view_NVD})


def _black(artifact: Artifact, episode: Episode) -> np.ndarray:
    """Return the latent of a black picture, [D]."""
    first = episode.cut(0.0, 1e-6)
    black = replace(first, image_TSSC=np.zeros_like(first.image_TSSC))
    return np.asarray(encode_episode(artifact.encoder(), black, artifact.manifest.inputs)[0])


def _blocks(judged: Judged) -> tuple[np.ndarray, str]:
    """Return what is drawn again as a whole: drives, or where there are few, stretches of 3 s."""
    samples = judged.samples
    if len(judged.episodes) >= 5:
        return samples.episode_N, "drives"
    stretch_N = (samples.stamp_N / (BLOCK_S * _NS)).astype(np.int64)
    pairs = np.column_stack([samples.episode_N, stretch_N])
    return np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1), f"blocks of {BLOCK_S:g} s"
