"""A trained policy as TorchScript or ONNX, checked against the network it came from before it is kept.

Shape suffixes: B = batch, S = steps proposed, A = action size.
"""

from __future__ import annotations

import hashlib
import io
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wm_policy.errors import PolicyFileError
from wm_policy.models.reactive import ReactiveModel
from wm_policy.runtime.manifest import ACTIONS, TRAJECTORY, PolicyManifest
from wm_policy.runtime.observer import ObserverSettings
from wm_policy.runtime.policy import Processor, open_network, write_policy
from world_model.runtime.motion import MotionModel

TOLERANCE = 1e-4
_OPSET = 18
_NAMES = {True: ["path", "twist"], False: ["action"]}


class Proposing(nn.Module):
    """``ReactiveModel.propose`` of tensors one by one: a graph has no mappings.

    Args:
        model: The policy.
    """

    def __init__(self, model: ReactiveModel) -> None:
        super().__init__()
        self.model = model
        self.names = list(model.config.shapes())

    def forward(self, *columns: Tensor) -> tuple[Tensor, ...]:
        """Return what the policy proposes; noise comes last, where it takes any."""
        noise_BSA = columns[len(self.names)] if len(columns) > len(self.names) else None
        return self.model.propose(dict(zip(self.names, columns)), noise_BSA)


def example_inputs(model: ReactiveModel, batch: int = 1, seed: int = 0) -> dict[str, Tensor]:
    """Return random inputs, reproducible, half of the masks set; noise last, where the policy takes any."""
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, Tensor] = {}
    for name, shape in model.config.shapes().items():
        value = torch.randn(batch, *shape, generator=generator)
        made[name] = value > 0 if name.endswith(("_known", "_valid")) else value
    if model.head.takes_noise:
        made["noise"] = torch.randn(*model.head.noise_shape(batch), generator=generator)
    return made


def export_policy(
    folder: Path,
    model: ReactiveModel,
    processor: Processor,
    *,
    runtime: str,
    settings: ObserverSettings,
    motion: MotionModel,
    encoder_id: str,
    step_s: float,
    name: str,
    training: Mapping[str, Any],
) -> PolicyManifest:
    """Write a policy into a folder and return its manifest.

    Args:
        folder: Made if missing.
        model: Trained.
        processor: What scales its inputs.
        runtime: ``torchscript`` or ``onnx``.
        settings: How its past is made.
        motion: What an action does.
        encoder_id: Whose latents it reads.
        step_s: Time between the steps it proposes [s].
        name: For people.
        training: What it was trained on.

    Raises:
        PolicyFileError: The exported network says something else than the trained one.
    """
    module, examples = Proposing(model.eval()).eval(), example_inputs(model)
    content = as_onnx(module, examples) if runtime == "onnx" else as_script(module, examples)
    shapes: dict[str, list[int]] = {key: list(value.shape[1:]) for key, value in examples.items()}
    actions = processor.actions_in
    manifest = PolicyManifest(
        name=name,
        encoder_id=encoder_id,
        latent_dim=model.config.latent_dim,
        file="policy.onnx" if runtime == "onnx" else "policy.pt",
        sha256=hashlib.sha256(content).hexdigest(),
        output=TRAJECTORY if model.is_trajectory else ACTIONS,
        action_dim=model.config.action_dim,
        chunk=model.config.chunk,
        step_s=step_s,
        takes_noise=model.head.takes_noise,
        inputs=shapes,
        flags=sorted(processor.flags & set(shapes)),
        statistics={key: each.to_json() for key, each in processor.statistics.items() if key in shapes},
        observer=settings.to_json(),
        motion=motion.to_manifest(),
        action_least=[] if actions is None else actions.least_A.tolist(),
        action_most=[] if actions is None else actions.most_A.tolist(),
        training=dict(training),
    )
    write_policy(folder, manifest, content)
    check_parity(folder, module, model)
    return manifest


def as_script(module: nn.Module, examples: Mapping[str, Tensor]) -> bytes:
    """Return a TorchScript file."""
    with torch.no_grad(), warnings.catch_warnings():
        # Shapes are constants of the policy: what tracing warns of is meant.
        warnings.simplefilter("ignore")
        traced = torch.jit.freeze(torch.jit.trace(module, tuple(examples.values()), check_trace=False))
    saved = io.BytesIO()
    torch.jit.save(traced, saved)
    return saved.getvalue()


def as_onnx(module: Proposing, examples: Mapping[str, Tensor]) -> bytes:
    """Return an ONNX file with a batch of one.

    Raises:
        PolicyFileError: The exporter is not installed.
    """
    # Its signature names paths alone, and takes a file.
    saved: Any = io.BytesIO()
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module, tuple(examples.values()), saved, input_names=list(examples),
                output_names=_NAMES[module.model.is_trajectory], opset_version=_OPSET, dynamo=False,
            )  # fmt: skip
    except ModuleNotFoundError as error:
        raise PolicyFileError(f"ONNX needs {error.name}, which is not installed: scripts/setup --train") from error
    finally:
        logger.setLevel(level)
    content: bytes = saved.getvalue()
    return content


def check_parity(folder: Path, module: Proposing, model: ReactiveModel) -> None:
    """Compare the exported network with the trained one, on inputs it was not traced with.

    Raises:
        PolicyFileError: They differ.
    """
    manifest = PolicyManifest.read(folder)
    network = open_network((folder / manifest.file).read_bytes(), manifest)
    for seed in (1, 2):
        examples = example_inputs(model, seed=seed)
        with torch.no_grad():
            expected = module(*examples.values())
        found = network({key: value.numpy() for key, value in examples.items()})
        for one, other in zip(expected, found):
            worst = float(np.abs(one.numpy() - other).max())
            if not worst <= TOLERANCE:
                raise PolicyFileError(f"exported as {manifest.runtime} the policy differs by {worst:.2g}")
