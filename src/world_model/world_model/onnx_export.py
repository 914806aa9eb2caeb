"""Artifacts as ONNX, checked in onnxruntime against the networks they came from, and TensorRT for a Jetson.

ONNX has no methods, so each becomes a file: ``encoder.onnx``, ``observe.onnx``, ``forecast.onnx``, ``decoder.onnx``.
"""

from __future__ import annotations

import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from world_model.artifacts import Artifact, load_artifact
from world_model.errors import ArtifactError
from world_model.export import example_inputs
from world_model.models.encoders import ConvEncoder, LinearDecoder, LinearEncoder
from world_model.models.factory import make_transition
from world_model.models.transition import Transition
from world_model.training.config import ModelConfig, config_from

# Another runtime orders its sums differently.
TOLERANCE = 1e-4
_OPSET = 18


class _Encode(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image_BHWC: Tensor) -> Tensor:
        return self.encoder(image_BHWC, None, None)


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
    """Return encoder, decoder and transition as plain modules with the artifact's weights.

    Raises:
        ArtifactError: The manifest does not say how they were built, or the weights do not fit.
    """
    manifest = artifact.manifest
    entries = manifest.training.get("config", {}).get("model")
    if entries is None:
        raise ArtifactError(f"artifact '{manifest.name}' does not say how its networks are built")
    config = config_from(ModelConfig, entries, "manifest: training.config.model")
    encoder_type = ConvEncoder if config.encoder == "conv" else LinearEncoder
    parts: dict[str, nn.Module] = {
        "encoder": encoder_type(manifest.image_size, manifest.z_dim),
        "decoder": LinearDecoder(manifest.image_size, manifest.z_dim),
        "transition": make_transition(config, manifest.action_dim),
    }
    for name, module in parts.items():
        state = torch.jit.load(str(artifact.path / f"{name}.pt")).state_dict()
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise ArtifactError(f"{name}.pt does not fit its configuration: {error}") from error
        module.eval()
    return parts


def export_onnx(model_path: str, folder: Path) -> dict[str, float]:
    """Write an artifact's parts as ONNX and return the largest difference of each in onnxruntime.

    Args:
        model_path: Artifact with the configuration it was trained with.
        folder: Where the files go.

    Raises:
        ArtifactError: A file differs from its network by more than ``TOLERANCE``; it is removed.
    """
    artifact = load_artifact(model_path)
    parts, manifest = eager_parts(artifact), artifact.manifest
    transition = parts["transition"]
    assert isinstance(transition, Transition)
    inputs = example_inputs(transition, manifest.action_dim)
    size = manifest.image_size
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8))
    jobs: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = {
        "encoder": (_Encode(parts["encoder"]), (image,)),
        "observe": (_Observe(transition), (inputs["latent"], inputs["action"], inputs["state"])),
        "forecast": (_Forecast(transition), tuple(inputs.values())),
        "decoder": (parts["decoder"], (inputs["latent"],)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    return {name: _export_one(folder / f"{name}.onnx", *job) for name, job in jobs.items()}


def convert_tensorrt(folder: Path) -> list[Path]:
    """Convert the ONNX files in a folder with TensorRT's ``trtexec`` (half precision) and return the engines.

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
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ArtifactError(f"trtexec refused {source.name}: {done.stderr.strip()[-300:]}")
        engines.append(engine)
    return engines


def _export_one(path: Path, module: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    import onnxruntime

    with torch.no_grad(), warnings.catch_warnings():
        # The exporter's own notices about its inner workings; parity below is what counts.
        warnings.simplefilter("ignore")
        expected = module.eval()(*inputs)
        program: Any = torch.onnx.export(module, inputs, dynamo=True, opset_version=_OPSET, verbose=False)
        program.save(str(path), external_data=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    # Inputs that a part never reads are dropped from its graph, so they are matched by the exporter's names.
    given = dict(zip(_input_names(program, len(inputs)), inputs))
    outputs = session.run(None, {name: given[name].numpy() for name in names})
    expected = expected if isinstance(expected, tuple) else (expected,)
    scale = 255.0 if expected[0].dtype == torch.uint8 else 1.0
    pairs = zip(expected, outputs)
    worst = max(float(np.abs(e.numpy().astype(np.float64) - o.astype(np.float64)).max()) / scale for e, o in pairs)
    if not worst <= (1.01 / 255.0 if scale > 1 else TOLERANCE):
        path.unlink()
        raise ArtifactError(f"{path.name} differs from its network by {worst:.1e} in onnxruntime")
    return worst


def _input_names(program: Any, count: int) -> list[str]:
    names = [value.name for value in program.model.graph.inputs]
    if len(names) != count:
        raise ArtifactError(f"the ONNX graph takes {len(names)} inputs, expected {count}")
    return names
