"""Artifacts of a former format written again in today's, with the same weights."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

from world_model.export.onnx_export import eager_parts
from world_model.export.scripting import script
from world_model.export.torchscript import check_parity, example_frames
from world_model.runtime.artifact_folder import write_artifact
from world_model.runtime.artifacts import Manifest, load_artifact
from world_model.runtime.conditioning import Retrieval
from world_model.training.checkpoints import stored_config
from world_model.training.config import TrainConfig

_TRANSITIONS = ("transition", "without_memory")


def renew_artifact(model_path: str, out: Path) -> Manifest:
    """Write an artifact again in today's format and return its manifest.

    Transitions are rebuilt with their weights; every other file stays as it is to the last bit, and with the encoder's
    its ``encoder_id``: memories made with it remain good.

    Args:
        model_path: Artifact with the configuration it was trained with.
        out: Folder of the new artifact.

    Raises:
        ArtifactError: The manifest does not say how the networks were built, or what is written would differ.
        ConfigError: The stored configuration has entries that are not known.
    """
    artifact = load_artifact(model_path)
    manifest = artifact.manifest
    modules = eager_parts(artifact, _TRANSITIONS)
    parts = {name: script(module) for name, module in modules.items()}
    check_parity(modules, parts, example_frames(manifest.image_size, manifest.inputs), manifest.action_dim)
    out.mkdir(parents=True, exist_ok=True)
    for name in manifest.files:
        if Path(name).stem not in parts:
            shutil.copyfile(artifact.path / name, out / name)
    entries = asdict(manifest)
    entries["memory"] = Retrieval.from_manifest(manifest.memory).to_manifest()
    config = stored_config(TrainConfig, manifest.training["config"], "manifest: training.config")
    entries["training"] = {**manifest.training, "config": config.to_json()}
    return write_artifact(out, entries, parts)
