"""``wm train DATA OUT --config reactive|bc|diffusion``: from a converted set to an exported policy."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from wm_policy.export.policy_file import export_policy
from wm_policy.heads.trajectory import STEP_S
from wm_policy.runtime.manifest import PolicyManifest
from wm_policy.runtime.observer import ObserverSettings
from wm_policy.training.config import CONFIGS, PolicyConfig
from wm_policy.training.fit import Trained, fit, model_config
from wm_policy.training.imagined import Disturbance, imagined_samples
from wm_policy.training.samples import SampleOptions, samples_of
from world_model.commands.common import reporting
from world_model.data.episodes import EpisodeSet
from world_model.errors import DataError
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.motion import MotionModel
from world_model.training.displacement import Track
from world_model.training.motion_fit import fit_motion
from world_model.training.report import QUIET, Report
from world_model.typed_config import parse_overrides, read_config


def train(options: argparse.Namespace) -> None:
    """Train as the options of ``wm train`` say; ``OUT/policy`` is the exported policy.

    Raises:
        CoreError: Something asked for is wrong.
    """
    overrides: dict[str, object] = {}
    if options.steps is not None:
        overrides = {"optimiser.steps": options.steps, "optimiser.warm_up": 0}
    path = CONFIGS / f"{options.config}.yaml"
    config = read_config(PolicyConfig, path, overrides | parse_overrides(options.set))
    with reporting() as report:
        run(config, options.data, options.out, report)


def run(config: PolicyConfig, data: Path, out: Path, report: Report = QUIET) -> PolicyManifest:
    """Train and export a policy; a run that was killed goes on from its last checkpoint.

    Args:
        config: The run.
        data: Converted set; its ``valid`` episodes are held out.
        out: Folder of the run.
        report: Told what happens.

    Raises:
        DataError: No episode to learn from, or one of another action size.
    """
    began = time.monotonic()
    episodes, artifact = EpisodeSet(data), load_artifact(config.artifact)
    names = episodes.names("train")
    if not names:
        raise DataError(f"{data} has no episode to train on")
    options = sample_options(config, artifact, episodes, report)
    report.say(f"samples of {len(names)} episodes")
    drives = [episodes.episode(name) for name in names]
    samples = samples_of(artifact, drives, options)
    imagined = None
    if config.imagined:
        report.say(f"{config.imagined} imagined drives beside each")
        disturbance = Disturbance(drives=config.imagined, seed=config.seed)
        imagined = imagined_samples(artifact, drives, options, disturbance).kept(config.imagined_keep)
    held_out = [episodes.episode(name) for name in episodes.names("valid")]
    valid = samples_of(artifact, held_out, options) if held_out else None
    made = model_config(config, samples, options.settings)
    trained = fit(config, made, samples, out / "run", valid=valid, imagined=imagined, report=report)
    counts = {"samples": len(samples), "imagined": 0 if imagined is None else len(imagined)}
    account = _account(config, episodes, counts, trained, time.monotonic() - began)
    return export(config, artifact, options, trained, out / "policy", account)


def sample_options(
    config: PolicyConfig, artifact: Artifact, episodes: EpisodeSet, report: Report = QUIET
) -> SampleOptions:
    """Return how samples are made for a run."""
    step_s = artifact.manifest.step_s
    motion = motion_model(config, artifact, episodes, report)
    return SampleOptions(
        settings=ObserverSettings(step_s=step_s),
        motion=motion,
        every=config.every,
        action_steps=16 if config.head == "trajectory" else config.chunk,
        use_history=config.use_history,
    )


def motion_model(config: PolicyConfig, artifact: Artifact, episodes: EpisodeSet, report: Report = QUIET) -> MotionModel:
    """Return the artifact's motion model, or one fitted to the episodes where theirs is another robot."""
    if not config.fit_motion and artifact.manifest.action_dim == episodes.manifest.action_dim:
        return MotionModel.from_manifest(artifact.manifest.motion)
    report.say("fitting the motion model")
    tracks = [Track(episode.stamp_T, episode.pose_T4, episode.action_TA) for episode in episodes.episodes("train")]
    return fit_motion(tracks, artifact.manifest.step_s)


def export(
    config: PolicyConfig, artifact: Artifact, options: SampleOptions, trained: Trained, folder: Path,
    account: dict[str, object],
) -> PolicyManifest:  # fmt: skip
    """Write the policy of a run, checked against the trained network."""
    return export_policy(
        folder,
        trained.model,
        trained.processor,
        runtime=config.runtime,
        settings=options.settings,
        motion=options.motion,
        encoder_id=artifact.manifest.encoder_id,
        step_s=STEP_S if config.head == "trajectory" else options.settings.step_s,
        name=config.name,
        training=account,
    )


def _account(
    config: PolicyConfig, episodes: EpisodeSet, counts: dict[str, int], trained: Trained, seconds: float
) -> dict[str, object]:
    return {
        "config": config.to_json(),
        "data": {"source": episodes.manifest.source, **counts},
        "robot_action_dim": episodes.manifest.action_dim,
        "seconds": round(seconds),
        "last_losses": {name: round(value, 5) for name, value in trained.losses.items()},
    }
