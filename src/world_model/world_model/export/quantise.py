"""Artifacts with 8-bit weights for processors without a GPU, and what that costs in accuracy.

A residual encoder's convolutions get 8-bit weights and activations, whose ranges are read off real pictures; linear and
recurrent layers of the transition get 8-bit weights, and their inputs a range of their own each time.

Shape suffixes: N = frames, S = image side, D = latent size.
"""

from __future__ import annotations

import copy
import shutil
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from world_model.data.episodes import Episode, EpisodeSet
from world_model.errors import ArtifactError, DataError
from world_model.export.onnx_export import eager_parts
from world_model.export.scripting import script
from world_model.export.torchscript import example_inputs
from world_model.models.residual import ResidualTrunk
from world_model.models.transition import Transition
from world_model.runtime.artifact_folder import REFERENCE_NAME, write_artifact
from world_model.runtime.artifacts import Artifact, Manifest, load_artifact
from world_model.runtime.tensors import Observed, Retrieved

# Largest loss of accuracy, as squared error over variance, at which an artifact is still written.
LARGEST_NMSE = 0.05
_FRAMES = 128
_REPEATS = 15
_TRANSITIONS = ("transition", "without_memory")
_Frame = tuple[Tensor, Tensor | None, Tensor | None]


@dataclass(frozen=True)
class Cost:
    """What 8 bits cost and give.

    Attributes:
        latent_nmse: Squared difference of the latents over their variance.
        forecast_nmse: The same of forecasts one step and a second ahead, with latents of the set as memories.
        float_ms: Part -> time of one frame before [ms].
        int8_ms: Part -> time of one frame after [ms].
        float_mb: Size of encoder and transition before [MB].
        int8_mb: Size after [MB].
    """

    latent_nmse: float
    forecast_nmse: float
    float_ms: dict[str, float]
    int8_ms: dict[str, float]
    float_mb: float
    int8_mb: float


def quantise_artifact(
    model_path: str, data: Path, out: Path, *, largest_nmse: float = LARGEST_NMSE
) -> tuple[Manifest, Cost]:
    """Write an artifact with 8-bit weights and return its manifest and what it costs.

    Its latents are not those of the source, so it has an ``encoder_id`` of its own, unless the encoder stays as it is
    (linear and small convolutional ones do: they would gain nothing).

    Args:
        model_path: Artifact with the configuration it was trained with.
        data: Converted set, whose pictures give the ranges; others of them are what the cost is measured on.
        out: Folder of the new artifact.
        largest_nmse: Nothing is written when latents or forecasts differ by more.

    Raises:
        ArtifactError: The source cannot be rebuilt, this torch cannot quantise, or the loss exceeds ``largest_nmse``.
        DataError: The set has other sizes than the artifact, or too few frames.
    """
    artifact = load_artifact(model_path)
    parts = eager_parts(artifact)
    frames = _frames(artifact, data)
    with warnings.catch_warnings():
        # torch names the package that will replace this one; that does not yet give TorchScript.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)
        small = {name: _dynamic(parts[name]) for name in _TRANSITIONS if name in parts}
        small["encoder"] = _static(parts["encoder"], frames[::2])
        scripted = {name: script(module.eval()) for name, module in small.items()}
    cost = _cost(artifact, parts, scripted, frames[1::2])
    for name, value in (("latents", cost.latent_nmse), ("forecasts", cost.forecast_nmse)):
        if not value <= largest_nmse:
            raise ArtifactError(f"in 8 bits the {name} differ by an NMSE of {value:.3f}, at most {largest_nmse} may be")
    if not _trunks(parts["encoder"]):
        del scripted["encoder"]
    return _write(artifact, scripted, cost, out), cost


def _frames(artifact: Artifact, data: Path) -> list[_Frame]:
    """Return frames spread evenly over the episodes of a set, one by one, as the encoder takes them."""
    manifest, episodes = artifact.manifest, EpisodeSet(data)
    if episodes.manifest.image_size != manifest.image_size:
        sizes = f"{episodes.manifest.image_size} px, the artifact takes {manifest.image_size} px"
        raise DataError(f"images of {data} are {sizes}")
    names = episodes.names()
    frames = [
        frame for name in names for frame in _of_episode(episodes.episode(name), manifest, -(-_FRAMES // len(names)))
    ]
    if len(frames) < _FRAMES // 2:
        raise DataError(f"{data} has {len(frames)} frames, expected at least {_FRAMES // 2}")
    return frames


def _of_episode(episode: Episode, manifest: Manifest, count: int) -> list[_Frame]:
    def at(array: np.ndarray | None, row: int, name: str) -> Tensor | None:
        if name not in manifest.inputs:
            return None
        if array is None:
            raise DataError(f"episode {episode.name} has no {name}, which the encoder takes")
        return torch.from_numpy(np.array(array[row : row + 1], np.float32))

    return [
        (
            torch.from_numpy(np.array(episode.image_TSSC[row : row + 1])),
            at(episode.depth_T1SS, row, "depth"),
            at(episode.proprio_TP, row, "proprioception"),
        )
        for row in np.unique(np.linspace(0, len(episode) - 1, count).astype(int)).tolist()
    ]


def _dynamic(module: nn.Module) -> nn.Module:
    quantisation = _quantisation()
    result: nn.Module = quantisation.quantize_dynamic(
        copy.deepcopy(module).eval(), {nn.Linear, nn.GRUCell}, dtype=torch.qint8
    )
    return result


def _static(encoder: nn.Module, frames: Sequence[_Frame]) -> nn.Module:
    """Return the encoder with its residual trunk in 8 bits; one without such a trunk stays as it is."""
    encoder = copy.deepcopy(encoder).eval()
    quantisation = _quantisation()
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    for trunk in _trunks(encoder):
        mapping = quantisation.get_default_qconfig_mapping(torch.backends.quantized.engine)
        first = next(trunk.net.parameters())
        example = torch.zeros(1, first.shape[1], 64, 64)
        watched = prepare_fx(trunk.net, mapping, (example,))
        trunk.net = watched
        with torch.no_grad():
            for frame in frames:
                encoder(*frame)
        trunk.net = convert_fx(watched)
    return encoder


def _trunks(encoder: nn.Module) -> list[ResidualTrunk]:
    return [module for module in encoder.modules() if isinstance(module, ResidualTrunk)]


def _quantisation() -> Any:
    try:
        from torch.ao import quantization
    except ImportError as error:
        raise ArtifactError(f"torch {torch.__version__} has no torch.ao.quantization") from error
    return quantization


@torch.inference_mode()
def _cost(
    artifact: Artifact,
    parts: dict[str, nn.Module],
    small: Mapping[str, torch.jit.ScriptModule],
    frames: Sequence[_Frame],
) -> Cost:
    manifest, transition = artifact.manifest, parts["transition"]
    assert isinstance(transition, Transition)
    variance_D = torch.tensor(manifest.latent_variance)
    exact_ND = torch.cat([parts["encoder"](*frame) for frame in frames])
    rough_ND = torch.cat([small["encoder"](*frame) for frame in frames])
    observed, retrieved = _inputs(transition, exact_ND, manifest.action_dim)
    results = []
    for module in (transition, small["transition"]):
        state = module.observe(exact_ND, observed.action, observed.state)
        results.append(module.forecast(observed._replace(state=state), retrieved)[0])
    one = (Observed(*(tensor[:1] for tensor in observed)), Retrieved(*(tensor[:1] for tensor in retrieved)))
    served = {name: script(parts[name]) for name in ("encoder", "transition")}
    return Cost(
        latent_nmse=float(((rough_ND - exact_ND).square().mean(dim=0) / variance_D).mean()),
        forecast_nmse=float(((results[1] - results[0]).square() / variance_D).mean()),
        float_ms=_times(served, frames[0], *one),
        int8_ms=_times(small, frames[0], *one),
        float_mb=sum(_size_mb(module) for module in served.values()),
        int8_mb=sum(_size_mb(small[name]) for name in served),
    )


def _times(
    parts: Mapping[str, torch.jit.ScriptModule], frame: _Frame, observed: Observed, retrieved: Retrieved
) -> dict[str, float]:
    encoder: Any = parts["encoder"]
    transition: Any = parts["transition"]
    return {
        "encoder": _median_ms(lambda: encoder(*frame)),
        "observe": _median_ms(lambda: transition.observe(observed.latent, observed.action, observed.state)),
        "forecast": _median_ms(lambda: transition.forecast(observed, retrieved)),
    }


def _inputs(transition: Transition, latent_ND: Tensor, action_dim: int) -> tuple[Observed, Retrieved]:
    """Return inputs of ``forecast`` from real latents, remembered ones drawn from them too."""
    observed, retrieved = example_inputs(transition, action_dim, batch=len(latent_ND))
    generator = torch.Generator().manual_seed(3)
    drawn = {}
    for name in ("anticipated_latent", "appearance_latent", "successor_latent"):
        shape = getattr(retrieved, name).shape[:-1]
        drawn[name] = latent_ND[torch.randint(len(latent_ND), shape, generator=generator)]
    return observed._replace(latent=latent_ND), retrieved._replace(**drawn)


def _median_ms(call: Callable[[], Any]) -> float:
    for _ in range(3):
        call()
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1e3)
    return round(sorted(times)[_REPEATS // 2], 2)


def _size_mb(module: torch.jit.ScriptModule) -> float:
    return round(len(module.save_to_buffer()) / 1e6, 2)


def _write(artifact: Artifact, parts: Mapping[str, torch.jit.ScriptModule], cost: Cost, out: Path) -> Manifest:
    out.mkdir(parents=True, exist_ok=True)
    for name in [*artifact.manifest.files, REFERENCE_NAME]:
        if Path(name).stem not in parts and (artifact.path / name).is_file():
            shutil.copyfile(artifact.path / name, out / name)
    entries = asdict(artifact.manifest)
    entries["name"] = f"{artifact.manifest.name}-int8"
    entries["training"] = {**artifact.manifest.training, "int8": asdict(cost)}
    # What was measured of the source is not true of this one.
    entries["results"] = {}
    return write_artifact(out, entries, parts)
