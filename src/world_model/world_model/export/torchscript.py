"""From a trained network to an artifact: TorchScript of every part, checked against the network before it is kept."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from world_model.errors import ArtifactError
from world_model.export.scripting import script
from world_model.models.transition import Transition
from world_model.runtime.artifact_folder import write_artifact
from world_model.runtime.artifacts import MANIFEST_NAME, Artifact, Manifest, load_artifact
from world_model.runtime.conditioning import ANTICIPATED_FEATURES, APPEARANCE_FEATURES, MOTION_FEATURES
from world_model.runtime.tensors import Observed, Retrieved

# Scripted and eager run the same float32 kernels; fusing may reorder sums. Latents count in their standard deviations.
TOLERANCE = 1e-5


def example_inputs(
    model: Transition, action_dim: int, *, batch: int = 2, anticipated: int = 8, appearance: int = 4
) -> tuple[Observed, Retrieved]:
    """Return random inputs of ``Transition.forecast``, reproducible, half of the memories real.

    Args:
        model: Whose inputs.
        action_dim: A.
        batch: Sequences.
        anticipated: Anticipated-pose neighbours per horizon.
        appearance: Appearance neighbours.
    """
    size, horizons = model.latent_dim, 2
    generator = torch.Generator().manual_seed(7)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def coin(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) < 0.5

    observed = Observed(
        latent=normal(batch, size) * model.latent_std.cpu() + model.latent_mean.cpu(),
        state=0.3 * normal(batch, model.state_dim),
        action=normal(batch, action_dim),
        # Standard errors, the last of these features, are not negative.
        motion=normal(batch, horizons, MOTION_FEATURES).abs(),
        horizon_s=torch.tensor([[0.05, 1.0]]).expand(batch, -1).contiguous(),
        history=normal(batch, model.history_dim),
        history_count=torch.full((batch,), 4, dtype=torch.int64),
    )
    retrieved = Retrieved(
        anticipated_latent=normal(batch, horizons, anticipated, size),
        anticipated_feature=0.3 * normal(batch, horizons, anticipated, ANTICIPATED_FEATURES),
        anticipated_valid=coin(batch, horizons, anticipated),
        appearance_latent=normal(batch, appearance, size),
        appearance_feature=0.3 * normal(batch, appearance, APPEARANCE_FEATURES),
        appearance_valid=coin(batch, appearance),
        successor_latent=normal(batch, horizons, appearance, size),
        successor_valid=coin(batch, horizons, appearance),
    )
    return observed, retrieved


def example_frames(
    image_size: int, inputs: Mapping[str, int], batch: int = 2
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return random images, depth [m] and proprioception, reproducible; None for what an encoder does not take.

    Args:
        image_size: Side of the images [px].
        inputs: What the encoder takes, as the manifest lists it.
        batch: Frames.
    """
    generator = torch.Generator().manual_seed(11)
    shape = (batch, image_size, image_size, 3)
    image_BHWC = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    depth_B1HW, proprio_BP = None, None
    if "depth" in inputs:
        depth_B1HW = 10.0 * torch.rand(batch, 1, image_size, image_size, generator=generator)
    if "proprioception" in inputs:
        proprio_BP = torch.randn(batch, inputs["proprioception"], generator=generator)
    return image_BHWC, depth_B1HW, proprio_BP


def export_artifact(
    path: Path,
    encoder: nn.Module,
    decoder: nn.Module,
    transition: Transition,
    entries: Mapping[str, Any],
    without_memory: Transition | None = None,
    *,
    keeps_encoder: bool = False,
) -> Manifest:
    """Write an artifact after checking that every scripted part agrees with the network it came from.

    Args:
        path: Artifact folder; a ``world_action.pt`` already there is kept.
        encoder: Encoder, any device.
        decoder: Decoder.
        transition: Transition with its statistics set.
        entries: Manifest entries that the networks do not know: name, sizes, motion, memory, training, results.
        without_memory: The same transition trained without memory, for evaluation.
        keeps_encoder: The ``encoder.pt`` already there stays, which is this encoder: so does its ``encoder_id``.

    Raises:
        ArtifactError: A part differs by more than ``TOLERANCE`` from its network; nothing is written then.
    """
    modules = {"encoder": encoder, "decoder": decoder, "transition": transition}
    if without_memory is not None:
        modules["without_memory"] = without_memory
    parts = {name: script(module.cpu().float().eval()) for name, module in modules.items()}
    if keeps_encoder:
        parts["encoder"] = torch.jit.load(str(path / "encoder.pt")).eval()
    frames = example_frames(int(entries["image_size"]), entries.get("inputs", {}), batch=3)
    worst = check_parity(modules, parts, frames, int(entries["action_dim"]))
    training = {**entries.get("training", {}), "parity": {name: float(f"{value:.3g}") for name, value in worst.items()}}
    if keeps_encoder:
        del parts["encoder"]
    return write_artifact(path, {**entries, "training": training}, parts)


def check_parity(
    modules: Mapping[str, nn.Module],
    parts: Mapping[str, torch.jit.ScriptModule],
    frames: tuple[Tensor | None, ...],
    action_dim: int,
) -> dict[str, float]:
    """Return the largest difference per part between networks and their saved and reloaded TorchScript.

    Args:
        modules: The networks.
        parts: The same, scripted.
        frames: What the encoder takes, see ``example_frames``.
        action_dim: A.

    Raises:
        ArtifactError: One exceeds ``TOLERANCE``.
    """
    transition = modules["transition"]
    assert isinstance(transition, Transition)
    calls = _calls(frames, *example_inputs(transition, action_dim), latent_unit(transition))
    worst = {}
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        for name in parts:
            file = Path(folder) / f"{name}.pt"
            torch.jit.save(parts[name], str(file))
            reloaded = torch.jit.load(str(file)).eval()
            pairs = zip(calls[name](modules[name]), calls[name](reloaded))
            # Torch's maximum, not Python's, which would pass over what is not a number.
            worst[name] = float(torch.stack([(first - second).abs().max() for first, second in pairs]).max())
            # One grey level of a rounded picture is not a difference of the networks.
            limit = 1.01 / 255.0 if name == "decoder" else TOLERANCE
            if not worst[name] <= limit:
                raise ArtifactError(
                    f"{name}: exported part differs from its network by {worst[name]:.2e} > {limit:.0e}"
                )
    return worst


def latent_unit(transition: Transition) -> float:
    """Return the mean standard deviation of the latents: differences of small latents must be small."""
    return float(transition.latent_std.mean())


def _calls(
    frames: tuple[Tensor | None, ...], observed: Observed, retrieved: Retrieved, unit: float
) -> dict[str, Callable[[Any], list[Tensor]]]:
    """Return per part what runs it, as network or scripted, and gives all that it computes."""

    def run_transition(module: Any) -> list[Tensor]:
        path = module.foresee_path(observed)
        with_memory, without_memory, gate = module.forecast(observed, retrieved)
        state = module.observe(observed.latent, observed.action, observed.state)
        return [state, path, with_memory / unit, without_memory / unit, gate]

    return {
        "encoder": lambda module: [module(*frames) / unit],
        "decoder": lambda module: [module(observed.latent).float() / 255.0],
        "transition": run_transition,
        "without_memory": run_transition,
    }


def load_slow_branch(source: str) -> tuple[Artifact, dict[str, Any]]:
    """Return an artifact that has a slow branch, and what its manifest says of that.

    Raises:
        ArtifactError: It cannot be loaded, or has none.
    """
    artifact = load_artifact(source)
    entry = artifact.manifest.world_action
    if entry is None or not artifact.has("world_action"):
        raise ArtifactError(f"artifact '{artifact.manifest.name}' has no slow branch to carry over")
    return artifact, entry


def carry_slow_branch(source: str, path: Path) -> Manifest:
    """Add another artifact's slow branch, which sees with an encoder of its own, and return the manifest.

    Args:
        source: Artifact with a slow branch.
        path: Artifact folder without one.

    Raises:
        ArtifactError: The source has none.
    """
    artifact, entry = load_slow_branch(source)
    # Copied byte by byte: its hash is what tells whose visual history this is.
    manifest, graphs = (
        Manifest.from_json((path / MANIFEST_NAME).read_text()),
        artifact.manifest.graphs_of("world_action"),
    )
    for name in ("world_action.pt", *(graphs.files.values() if graphs is not None else ())):
        shutil.copyfile(artifact.path / name, path / name)
    own = {} if graphs is None else {"world_action": asdict(graphs)}
    return write_artifact(path, {**asdict(manifest), "world_action": entry, "graphs": manifest.graphs | own}, {})
