"""Artifacts as ONNX, checked in onnxruntime against the networks they came from, and TensorRT for a Jetson.

ONNX has no methods, so each becomes a file: ``encoder.onnx``, ``observe.onnx``, ``forecast.onnx``, ``decoder.onnx``.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from world_model.errors import ArtifactError
from world_model.export.torchscript import example_frames, example_inputs, latent_unit
from world_model.models.config import ModelConfig
from world_model.models.factory import make_decoder, make_encoder, make_transition
from world_model.models.transition import Transition
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.typed_config import config_from

# Another runtime orders its sums differently. Latents count in their standard deviations.
TOLERANCE = 1e-4
PARTS = ("encoder", "observe", "forecast", "decoder")
_OPSET = 18
_LARGEST_BATCH = 64


class _Encode(nn.Module):
    """The encoder with only those inputs that it takes: a graph has no optional ones."""

    def __init__(self, encoder: nn.Module, has_depth: bool, has_proprio: bool) -> None:
        super().__init__()
        self.encoder, self.has_depth, self.has_proprio = encoder, has_depth, has_proprio

    def forward(self, image_BHWC: Tensor, *extra: Tensor) -> Tensor:
        depth = extra[0] if self.has_depth else None
        return self.encoder(image_BHWC, depth, extra[-1] if self.has_proprio else None)


class _Observe(nn.Module):
    def __init__(self, transition: Transition) -> None:
        super().__init__()
        self.transition = transition

    def forward(self, latent_BD: Tensor, action_BA: Tensor, state_BC: Tensor) -> Tensor:
        return self.transition.observe(latent_BD, action_BA, state_BC)


class _Forecast(nn.Module):
    def __init__(self, transition: Transition) -> None:
        super().__init__()
        self.transition = transition

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.transition.forecast(*inputs)


def eager_parts(artifact: Artifact) -> dict[str, nn.Module]:
    """Return encoder, decoder and transitions as plain modules with the artifact's weights.

    Raises:
        ArtifactError: The manifest does not say how they were built, or the weights do not fit.
    """
    manifest = artifact.manifest
    entries = manifest.training.get("config", {}).get("model")
    if entries is None:
        raise ArtifactError(f"artifact '{manifest.name}' does not say how its networks are built")
    config = config_from(ModelConfig, entries, "manifest: training.config.model")
    parts: dict[str, nn.Module] = {
        "encoder": make_encoder(config, manifest.image_size),
        "decoder": make_decoder(config, manifest.image_size),
        "transition": make_transition(config, manifest.action_dim),
    }
    if artifact.has("without_memory"):
        parts["without_memory"] = make_transition(config, manifest.action_dim, use_memory=False)
    for name, module in parts.items():
        state = torch.jit.load(str(artifact.path / f"{name}.pt")).state_dict()
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise ArtifactError(f"{name}.pt does not fit its configuration: {error}") from error
        module.eval()
    return parts


def export_onnx(model_path: str, folder: Path, names: Sequence[str] = PARTS) -> dict[str, float]:
    """Write an artifact's parts as ONNX and return the largest difference of each in onnxruntime.

    Args:
        model_path: Artifact with the configuration it was trained with.
        folder: Where the files go.
        names: Which of ``PARTS``.

    Raises:
        ArtifactError: A file differs from its network by more than ``TOLERANCE``; it is removed.
    """
    artifact = load_artifact(model_path)
    parts, manifest = eager_parts(artifact), artifact.manifest
    transition = parts["transition"]
    assert isinstance(transition, Transition)
    inputs = example_inputs(transition, manifest.action_dim)
    image, depth, proprio = example_frames(manifest.image_size, manifest.inputs)
    frames = tuple(tensor for tensor in (image, depth, proprio) if tensor is not None)
    jobs: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = {
        "encoder": (_Encode(parts["encoder"], depth is not None, proprio is not None), frames),
        "observe": (_Observe(transition), (inputs["latent"], inputs["action"], inputs["state"])),
        "forecast": (_Forecast(transition), tuple(inputs.values())),
        "decoder": (parts["decoder"], (inputs["latent"],)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    units = {"encoder": latent_unit(transition), "forecast": latent_unit(transition), "decoder": 255.0}
    return {name: _export_one(folder / f"{name}.onnx", *jobs[name], units.get(name, 1.0)) for name in names}


def tensorrt_shapes(path: Path, largest_batch: int = 1) -> list[str]:
    """Return the arguments that tell ``trtexec`` how large a file's batches get; it is made for the first of them.

    Args:
        path: ONNX file whose only open dimension is the first of each input.
        largest_batch: Frames at once; 1 is what a robot needs.

    Raises:
        ArtifactError: Another dimension is open.
    """
    import onnx

    entries: dict[str, list[str]] = {"min": [], "opt": [], "max": []}
    for value in onnx.load(str(path)).graph.input:
        dims = value.type.tensor_type.shape.dim
        rest = [dim.dim_value for dim in dims[1:]]
        if not all(rest):
            raise ArtifactError(f"{path.name}: input {value.name} has an open dimension besides the batch")
        for kind, batch in (("min", 1), ("opt", 1), ("max", largest_batch)):
            entries[kind].append(f"{value.name}:{'x'.join(map(str, [batch, *rest]))}")
    return [f"--{kind}Shapes={','.join(values)}" for kind, values in entries.items()]


def convert_tensorrt(folder: Path, largest_batch: int = 1) -> list[Path]:
    """Convert the ONNX files in a folder with TensorRT's ``trtexec`` (half precision) and return the engines.

    The files are of opset 18, which TensorRT 8.6 and later read; images stay uint8 as they come from the camera.

    Args:
        folder: What ``export_onnx`` wrote.
        largest_batch: Frames at once.

    Raises:
        ArtifactError: ``trtexec`` is not installed, or refuses a file.
    """
    tool = shutil.which("trtexec") or shutil.which("/usr/src/tensorrt/bin/trtexec")
    if tool is None:
        raise ArtifactError("trtexec is not installed: convert on the Jetson, where TensorRT comes with JetPack")
    engines = []
    for source in sorted(folder.glob("*.onnx")):
        engine = source.with_suffix(".engine")
        command = [tool, f"--onnx={source}", f"--saveEngine={engine}", "--fp16"]
        command += tensorrt_shapes(source, largest_batch)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ArtifactError(f"trtexec refused {source.name}: {done.stderr.strip()[-300:]}")
        engines.append(engine)
    return engines


def _export_one(path: Path, module: nn.Module, inputs: tuple[Tensor, ...], unit: float) -> float:
    batch = torch.export.Dim("batch", min=1, max=_LARGEST_BATCH)
    # What a module takes as ``*inputs`` is one argument to the exporter, a tuple.
    shapes: list[Any] = [{0: batch} for _ in inputs]
    if isinstance(module, _Forecast):
        shapes = [tuple(shapes)]
    elif isinstance(module, _Encode):
        shapes = [shapes[0], tuple(shapes[1:])] if shapes[1:] else shapes
    with torch.no_grad(), warnings.catch_warnings():
        # The exporter's own notices about its inner workings; parity below is what counts.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program: Any = torch.onnx.export(
            module.eval(), inputs, dynamo=True, opset_version=_OPSET, verbose=False, dynamic_shapes=tuple(shapes)
        )
        program.save(str(path), external_data=False)
    names = _input_names(program, len(inputs))
    counts = (len(inputs[0]), 1)
    worst = float(np.max([_difference(path, module, names, [t[:count] for t in inputs]) / unit for count in counts]))
    is_picture = program.model.graph.outputs[0].dtype.name == "UINT8"
    if not worst <= (1.01 / 255.0 if is_picture else TOLERANCE):
        path.unlink()
        raise ArtifactError(f"{path.name} differs from its network by {worst:.1e} in onnxruntime")
    return worst


def _difference(path: Path, module: nn.Module, names: list[str], inputs: list[Tensor]) -> float:
    """Return the largest difference between a file in onnxruntime and its network."""
    import onnxruntime

    with torch.no_grad():
        expected = module(*inputs)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    # Inputs that a part never reads are dropped from its graph, so they are matched by the exporter's names.
    given = dict(zip(names, inputs))
    outputs = session.run(None, {entry.name: given[entry.name].numpy() for entry in session.get_inputs()})
    expected = expected if isinstance(expected, tuple) else (expected,)
    pairs = zip(expected, outputs)
    # NumPy's maximum, not Python's, which would pass over what is not a number.
    return float(np.max([np.abs(e.numpy().astype(np.float64) - o.astype(np.float64)).max() for e, o in pairs]))


def _input_names(program: Any, count: int) -> list[str]:
    names = [value.name for value in program.model.graph.inputs]
    if len(names) != count:
        raise ArtifactError(f"the ONNX graph takes {len(names)} inputs, expected {count}")
    return names
