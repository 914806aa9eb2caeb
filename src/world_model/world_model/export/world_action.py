"""The slow branch as TorchScript inside an artifact, proven equal to what was trained."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from world_model.errors import ArtifactError
from world_model.export.scripting import script
from world_model.models.world_action import ServedWorldAction, WorldActionConfig, untrained
from world_model.runtime.artifact_folder import add_part
from world_model.runtime.artifacts import Manifest, load_artifact

PART = "world_action"
PARITY_TOLERANCE = 1e-4


def restore(folder: Path) -> tuple[ServedWorldAction, WorldActionConfig]:
    """Return an artifact's slow branch as a network that can be trained on, and its shape.

    Raises:
        ArtifactError: The artifact has none.
    """
    artifact = load_artifact(folder)
    entry = artifact.manifest.world_action
    if entry is None or not artifact.has(PART):
        raise ArtifactError(f"artifact '{artifact.manifest.name}' at {folder} has no {PART}.pt")
    config = WorldActionConfig(**{f.name: entry[f.name] for f in fields(WorldActionConfig) if f.name in entry})
    module = untrained(config)
    module.load_state_dict(torch.jit.load(str(artifact.path / f"{PART}.pt")).state_dict())
    return module.eval(), config


def manifest_entry(config: WorldActionConfig, **more: Any) -> dict[str, Any]:
    """Return what the manifest says of the slow branch: its configuration and, in ``more``, what was measured."""
    return {**config.to_dict(), **more}


def export(folder: Path, module: ServedWorldAction, config: WorldActionConfig, **more: Any) -> Manifest:
    """Write ``world_action.pt`` and its manifest entry into an artifact and prove that it computes the same.

    Args:
        folder: An artifact folder.
        module: The trained slow branch.
        config: Its shape.
        **more: Further manifest entries, such as ``results``.

    Returns:
        The artifact's manifest.

    Raises:
        ArtifactError: What was written, loaded again, differs by more than the tolerance.
    """
    manifest = add_part(folder, PART, script(module.eval()), world_action=manifest_entry(config, **more))
    difference = parity(module, load_artifact(folder).world_action(), config)
    if difference > PARITY_TOLERANCE:
        raise ArtifactError(f"exported world_action.pt differs by {difference:.2e}, expected {PARITY_TOLERANCE:.0e}")
    return manifest


@torch.no_grad()
def parity(module: ServedWorldAction, exported: torch.jit.ScriptModule, config: WorldActionConfig) -> float:
    """Return the largest difference of embeddings and foreseen embeddings on random input."""
    generator = torch.Generator().manual_seed(0)
    size, largest = config.image_size, 0.0
    for views in (1, 2):
        image = torch.randint(0, 256, (3, views, size, size, 3), dtype=torch.uint8, generator=generator)
        valid = torch.ones(3, views, dtype=torch.bool)
        valid[1, -1] = views == 1
        largest = max(largest, float((module.embed(image, valid) - exported.embed(image, valid)).abs().max()))
    history = torch.randn(3, config.history, config.embedding_dim, generator=generator)
    count = torch.tensor([1, 2, config.history]).clamp(max=config.history)
    ours, theirs = module.foresee(history, count), exported.foresee(history, count)
    return max(largest, float((ours - theirs).abs().max()))
