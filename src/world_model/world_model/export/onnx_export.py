"""Artifacts as ONNX, checked in onnxruntime against the networks they came from, and TensorRT for a Jetson.

ONNX has no methods, so each becomes a file: ``encoder.onnx``, ``observe.onnx``, ``forecast.onnx``, ``decoder.onnx``.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from world_model.runtime.manifest import Manifest
from world_model.runtime.tensors import Observed, Retrieved
from world_model.typed_config import config_from

# Another runtime orders its sums differently. Latents count in their standard deviations.
TOLERANCE = 1e-4
PARTS = ("encoder", "observe", "forecast", "decoder")
REBUILT = ("encoder", "decoder", "transition", "without_memory")
_OPSET = 18
_LARGEST_BATCH = 64


class _Encode(nn.Module):
    """The encoder with only those inputs that it takes: a graph has no optional ones."""

    def __init__(self, encoder: nn.Module, has_depth: bool, has_proprio: bool) -> None:
        super().__init__()
        self.encoder, self.has_depth, self.has_proprio = encoder, has_depth, has_proprio

    def forward(self, image_BHWC: Tensor, *extra: Tensor) -> Tensor:
        depth = extra[0] if self.has_depth else None
        result: Tensor = self.encoder(image_BHWC, depth, extra[-1] if self.has_proprio else None)
        return result


class _Observe(nn.Module):
    """``Transition.observe`` as a module."""

    def __init__(self, transition: Transition) -> None:
        super().__init__()
        self.transition = transition

    def forward(self, latent_BD: Tensor, action_BA: Tensor, state_BC: Tensor) -> Tensor:
        return self.transition.observe(latent_BD, action_BA, state_BC)


class _Forecast(nn.Module):
    """``Transition.forecast`` of the tensors one by one, observed ones first: a graph has no named tuples."""

    def __init__(self, transition: Transition) -> None:
        super().__init__()
        self.transition = transition

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        count = len(Observed._fields)
        return self.transition.forecast(Observed(*inputs[:count]), Retrieved(*inputs[count:]))


@dataclass(frozen=True)
class _Part:
    """One file: its module, the inputs it is traced and checked with, by name, and the unit of its outputs."""

    module: nn.Module
    inputs: Mapping[str, Tensor]
    unit: float = 1.0


def eager_parts(artifact: Artifact, names: Sequence[str] = REBUILT) -> dict[str, nn.Module]:
    """Return encoder, decoder and transitions as plain modules with the artifact's weights.

    Args:
        artifact: With the configuration it was trained with.
        names: Which of ``REBUILT``; ``without_memory`` is left out where the artifact has none.

    Raises:
        ArtifactError: The manifest does not say how they were built, a part is missing, or the weights do not fit.
    """
    manifest = artifact.manifest
    entries = manifest.training.get("config", {}).get("model")
    if entries is None:
        raise ArtifactError(f"artifact '{manifest.name}' does not say how its networks are built")
    config = config_from(ModelConfig, entries, "manifest: training.config.model")
    makers: dict[str, Callable[[], nn.Module]] = {
        "encoder": lambda: make_encoder(config, manifest.image_size),
        "decoder": lambda: make_decoder(config, manifest.image_size),
        "transition": lambda: make_transition(config, manifest.action_dim),
        "without_memory": lambda: make_transition(config, manifest.action_dim, use_memory=False),
    }
    parts = {}
    for name in names:
        if name == "without_memory" and not artifact.has(name):
            continue
        if not artifact.has(name):
            raise ArtifactError(f"artifact '{manifest.name}' has no {name}.pt")
        parts[name] = makers[name]()
        try:
            parts[name].load_state_dict(torch.jit.load(str(artifact.path / f"{name}.pt")).state_dict())
        except RuntimeError as error:
            raise ArtifactError(f"{name}.pt does not fit its configuration: {error}") from error
        parts[name].eval()
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
    folder.mkdir(parents=True, exist_ok=True)
    jobs = _parts(parts, transition, manifest)
    return {name: _export_one(folder / f"{name}.onnx", jobs[name]) for name in names}


def _parts(modules: Mapping[str, nn.Module], transition: Transition, manifest: Manifest) -> dict[str, _Part]:
    observed, retrieved = example_inputs(transition, manifest.action_dim)
    frames = zip(("image", "depth", "proprioception"), example_frames(manifest.image_size, manifest.inputs))
    given = {name: tensor for name, tensor in frames if tensor is not None}
    encode = _Encode(modules["encoder"], "depth" in given, "proprioception" in given)
    step = {name: getattr(observed, name) for name in ("latent", "action", "state")}
    unit = latent_unit(transition)
    return {
        "encoder": _Part(encode, given, unit),
        "observe": _Part(_Observe(transition), step),
        "forecast": _Part(_Forecast(transition), observed._asdict() | retrieved._asdict(), unit),
        "decoder": _Part(modules["decoder"], {"latent": observed.latent}, 255.0),
    }


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


def _export_one(path: Path, part: _Part) -> float:
    """Write one file and return how much it differs from its network, by which it is refused and removed."""
    module, names, inputs = part.module.eval(), list(part.inputs), tuple(part.inputs.values())
    with torch.no_grad(), warnings.catch_warnings():
        # The exporter's own notices about its inner workings; parity below is what counts.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program: Any = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            opset_version=_OPSET,
            verbose=False,
            input_names=names,
            dynamic_shapes=_dynamic_shapes(module, len(inputs)),
        )
    save_onnx(program.model_proto, path)
    counts = (len(inputs[0]), 1)
    worst = float(np.max([_difference(path, part, count) / part.unit for count in counts]))
    is_picture = program.model.graph.outputs[0].dtype.name == "UINT8"
    if not worst <= (1.01 / 255.0 if is_picture else TOLERANCE):
        path.unlink()
        raise ArtifactError(f"{path.name} differs from its network by {worst:.1e} in onnxruntime")
    return worst


def _dynamic_shapes(module: nn.Module, count: int) -> tuple[Any, ...]:
    batch = torch.export.Dim("batch", min=1, max=_LARGEST_BATCH)
    # What a module takes as ``*inputs`` is one argument to the exporter, a tuple.
    shapes: list[Any] = [{0: batch} for _ in range(count)]
    if isinstance(module, _Forecast):
        shapes = [tuple(shapes)]
    elif isinstance(module, _Encode):
        shapes = [shapes[0], tuple(shapes[1:])] if shapes[1:] else shapes
    return tuple(shapes)


def save_onnx(model: Any, path: Path) -> None:
    """Write a model whose weights are described once, as initialisers.

    The exporter lists them among the values that nodes compute, too; onnxruntime's ``quantize_dynamic`` then refuses
    the file, because it finds the former description of what it has replaced.
    """
    import onnx

    weights = {weight.name for weight in model.graph.initializer}
    computed = [value for value in model.graph.value_info if value.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(computed)
    onnx.save(model, str(path))


def _difference(path: Path, part: _Part, count: int) -> float:
    """Return the largest difference between a file in onnxruntime and its network, over ``count`` sequences."""
    import onnxruntime

    given = {name: tensor[:count] for name, tensor in part.inputs.items()}
    with torch.no_grad():
        expected = part.module(*given.values())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    # Inputs that a part never reads are dropped from its graph.
    outputs = session.run(None, {entry.name: given[entry.name].numpy() for entry in session.get_inputs()})
    expected = expected if isinstance(expected, tuple) else (expected,)
    pairs = zip(expected, outputs)
    # NumPy's maximum, not Python's, which would pass over what is not a number.
    return float(np.max([np.abs(e.numpy().astype(np.float64) - o.astype(np.float64)).max() for e, o in pairs]))
