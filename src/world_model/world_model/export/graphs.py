"""An artifact's parts as ONNX graphs beside their TorchScript, and which runtime is faster on this processor.

Each method of a part becomes a graph whose weights stay in the TorchScript file; see ``world_model.runtime.graphs``.
onnxruntime runs a part only where it says the same, over batches, horizons and memories of any number, and is faster;
what runs seldom (``SELDOM``) it runs in any case.

Sizes: B = batch, H = horizons, K = anticipated-pose neighbours, N = appearance neighbours, V = views.
"""

from __future__ import annotations

import logging
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from world_model.errors import ArtifactError
from world_model.export.external import external_weights, places
from world_model.export.onnx_export import TOLERANCE, eager_parts
from world_model.export.torchscript import example_frames, example_inputs, latent_unit
from world_model.export.world_action import restore
from world_model.models.transition import Transition
from world_model.runtime.artifact_folder import read_manifest, write_artifact
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.graphs import ONNXRUNTIME, TORCHSCRIPT, OnnxPart, PartGraphs, open_part
from world_model.runtime.manifest import Manifest
from world_model.runtime.tensors import VALID_FIELDS, Observed, Retrieved

CHOSEN = ("encoder", "transition", "decoder", "world_action")
"""Parts that nodes run."""
SELDOM = ("decoder",)
"""Of those, what runs seldom and off the fast path: torch, imported for it alone, would hold up a whole process for a
second and take 200 MB, so it is onnxruntime that runs it, however long that takes."""
_OPSET = 18
_MOST = 4096
_REPEATS = 100
# B, H, K, N: what a robot asks, single ones, and many.
_SIZES = ((1, 2, 8, 4), (3, 5, 2, 1), (1, 1, 1, 1), (2, 2, 16, 8))
_BUFFERS = ("action_mean", "action_std")

_Inputs = dict[str, Tensor]


class _Call(nn.Module):
    """A method of a part as a module that takes its tensors one by one: a graph has no named tuples."""

    def __init__(self, part: nn.Module, call: Callable[..., Any]) -> None:
        super().__init__()
        self.part, self._call = part, call

    def forward(self, *inputs: Tensor) -> Any:
        return self._call(self.part, *inputs)


@dataclass(frozen=True)
class _Method:
    """One graph.

    Attributes:
        call: What a part does, given the tensors of ``examples``.
        examples: Inputs of several sizes; the last is what it is traced with, the first what a robot asks.
        open_sides: Input -> names of the sides that may be of any size.
        unit: Of its outputs.
    """

    call: Callable[..., Any]
    examples: Sequence[_Inputs]
    open_sides: Mapping[str, Sequence[str]]
    unit: float = 1.0


def choose_runtimes(path: Path, say: Callable[[str], None] = lambda _: None, names: Sequence[str] = CHOSEN) -> Manifest:
    """Write graphs of an artifact's parts beside them, and into its manifest which runtime each runs in.

    ``encoder_id`` stays as it is: the same weights, to ``TOLERANCE``.

    Args:
        path: Artifact folder, with the configuration it was trained with.
        say: Told what was chosen.
        names: Which of ``CHOSEN``.

    Raises:
        ArtifactError: The manifest does not say how the networks were built, or packages are missing.
    """
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ArtifactError(f"to choose runtimes takes {', '.join(missing)}: pip install -r requirements/train.txt")
    artifact = load_artifact(path)
    manifest, chosen = artifact.manifest, {}
    for name, methods in _methods(artifact, [name for name in names if artifact.has(name)]).items():
        chosen[name] = _choose(artifact, name, *methods)
        say(f"{name}: {_said(chosen[name])}")
    kept = {name: entry for name, entry in manifest.graphs.items() if name not in chosen}
    graphs = {**kept, **{name: asdict(entry) for name, entry in chosen.items()}}
    return write_artifact(path, {**asdict(manifest), "graphs": graphs}, {})


def try_runtimes(path: Path, say: Callable[[str], None]) -> None:
    """Choose runtimes of a new artifact, of parts that have none yet; where that cannot be, it is said why."""
    manifest = read_manifest(path)
    if all(name in manifest.graphs for name in CHOSEN if manifest.part(name) is not None):
        return
    try:
        choose_runtimes(path, say)
    except ArtifactError as error:
        say(f"every part runs in TorchScript: {error}")


def _said(entry: PartGraphs) -> str:
    if not entry.ms:
        return f"{entry.runtime}; as ONNX it differs by {entry.difference:.1e}"
    times = ", ".join(f"{runtime} {value:.3f} ms" for runtime, value in entry.ms.items())
    return f"{entry.runtime} ({times}; they differ by {entry.difference:.1e})"


def _methods(artifact: Artifact, names: Sequence[str]) -> dict[str, tuple[nn.Module, dict[str, _Method]]]:
    """Return the network of each part, and its methods."""
    plain = [name for name in names if name != "world_action"]
    modules = eager_parts(artifact, sorted({*plain, "transition"}))
    transition = modules["transition"]
    assert isinstance(transition, Transition)
    made: dict[str, tuple[nn.Module, dict[str, _Method]]] = {}
    for name in plain:
        if name == "transition":
            made[name] = transition, transition_methods(transition, artifact.manifest.action_dim)
        elif name == "encoder":
            made[name] = modules[name], {"forward": _encoding(artifact.manifest, latent_unit(transition))}
        else:
            latents = [{"latent": _drawn(transition, 2, sizes)["latent"]} for sizes in _SIZES]
            made[name] = modules[name], {"forward": _Method(_plainly, latents, {"latent": ["batch"]}, 255.0)}
    if "world_action" in names:
        made["world_action"] = restore(artifact.path)[0], _looking(artifact.manifest.world_action or {})
    return made


def _plainly(module: Any, *inputs: Tensor) -> Any:
    return module(*inputs)


def transition_methods(transition: Transition, action_dim: int) -> dict[str, _Method]:
    """Return what every forecast needs of a transition."""
    drawn = [_drawn(transition, action_dim, sizes) for sizes in _SIZES]
    bare = {name: torch.zeros_like(value) if name in VALID_FIELDS else value for name, value in drawn[0].items()}
    examples = [drawn[0], bare, *drawn[1:]]
    sides: dict[str, Sequence[str]] = {name: ["batch"] for name in Observed._fields}
    sides |= {name: ["batch", "horizons"] for name in ("motion", "horizon_s")}
    sides |= {name: ["batch", "horizons", "near"] for name in Retrieved._fields if name.startswith("anticipated")}
    sides |= {name: ["batch", "alike"] for name in Retrieved._fields if name.startswith("appearance")}
    sides |= {name: ["batch", "horizons", "alike"] for name in Retrieved._fields if name.startswith("successor")}
    count = len(Observed._fields)

    def of(names: Sequence[str], call: Callable[..., Any], unit: float = 1.0) -> _Method:
        chosen = [{name: example[name] for name in names} for example in examples]
        return _Method(call, chosen, {name: sides[name] for name in names}, unit)

    return {
        "observe": of(("latent", "action", "state"), lambda part, *given: part.observe(*given)),
        "foresee_path": of(Observed._fields, lambda part, *given: part.foresee_path(Observed(*given))),
        "forecast": of(
            (*Observed._fields, *Retrieved._fields),
            lambda part, *given: part.forecast(Observed(*given[:count]), Retrieved(*given[count:])),
            latent_unit(transition),
        ),
    }


def _drawn(transition: Transition, action_dim: int, sizes: tuple[int, int, int, int]) -> _Inputs:
    """Return random inputs of a forecast of given sizes; where there is room, some actions are not known."""
    batch, horizons, near, alike = sizes
    observed, retrieved = example_inputs(transition, action_dim, batch=batch, anticipated=near, appearance=alike)
    given = observed._asdict() | retrieved._asdict()
    wide = -(-horizons // 2)
    for name in ("motion", "horizon_s", *(each for each in Retrieved._fields if not each.startswith("appearance"))):
        # Made for two horizons.
        given[name] = given[name].repeat(1, wide, *([1] * (given[name].dim() - 2)))[:, :horizons].contiguous()
    given["action"][-1, 0] = float("nan") if batch > 1 else given["action"][-1, 0]
    given["history_count"][0] = 0 if batch > 1 else 4
    return given


def _encoding(manifest: Manifest, unit: float) -> _Method:
    names = ("image", "depth", "proprioception")
    examples = []
    for batch in (1, 3, 2):
        frames = zip(names, example_frames(manifest.image_size, manifest.inputs, batch))
        examples.append({name: tensor for name, tensor in frames if tensor is not None})
    taken = list(examples[0])

    def call(part: Any, *given: Tensor) -> Any:
        by_name = dict(zip(taken, given))
        return part(by_name["image"], by_name.get("depth"), by_name.get("proprioception"))

    return _Method(call, examples, {name: ["batch"] for name in taken}, unit)


def _looking(sizes: Mapping[str, Any]) -> dict[str, _Method]:
    """Return the methods of a slow branch."""
    side, ticks, width = int(sizes["image_size"]), int(sizes["history"]), int(sizes["embedding_dim"])
    generator = torch.Generator().manual_seed(5)
    seen, foreseen = [], []
    for batch, views in ((1, 1), (2, 3), (3, 2)):
        image = torch.randint(0, 256, (batch, views, side, side, 3), dtype=torch.uint8, generator=generator)
        valid = torch.ones(batch, views, dtype=torch.bool)
        valid[-1, -1] = views == 1
        seen.append({"image": image, "valid": valid})
        history = torch.randn(batch, ticks, width, generator=generator)
        foreseen.append({"history": history, "count": torch.arange(batch) % ticks + 1})
    return {
        "embed": _Method(
            lambda part, *given: part.embed(*given), seen, {"image": ["batch", "views"], "valid": ["batch", "views"]}
        ),
        "foresee": _Method(
            lambda part, *given: part.foresee(*given), foreseen, {"history": ["batch"], "count": ["batch"]}
        ),
    }


def _choose(artifact: Artifact, part: str, module: nn.Module, methods: Mapping[str, _Method]) -> PartGraphs:
    """Write the graphs of one part, where onnxruntime is to run it, and return what the manifest says of them."""
    content, path = (artifact.path / f"{part}.pt").read_bytes(), artifact.path
    made = {
        name: external_weights(_exported(module, method), content, f"{part}.pt") for name, method in methods.items()
    }
    files = {f"{part}.{name}.onnx": graph for name, (graph, _) in made.items()}
    entry = PartGraphs(
        of=artifact.manifest.files[f"{part}.pt"],
        runtime=ONNXRUNTIME,
        files={name: f"{part}.{name}.onnx" for name in made},
        weights={name: weights for name, (_, weights) in made.items()},
        buffers=_buffers_of(module, content),
    )
    opened = open_part(entry, content, files.__getitem__, f"{part}.pt")
    scripted = artifact._load(part)
    difference = float(np.max([_difference(name, methods[name], opened, scripted) for name in methods]))
    entry = replace(entry, difference=float(f"{difference:.2g}"))
    if not difference <= (1.01 / 255.0 if part == "decoder" else TOLERANCE):
        return replace(entry, runtime=TORCHSCRIPT, files={}, weights={})
    entry = replace(entry, ms=_times(methods, opened, scripted))
    if part not in SELDOM and entry.ms[ONNXRUNTIME] > entry.ms[TORCHSCRIPT]:
        return replace(entry, runtime=TORCHSCRIPT, files={}, weights={})
    for name, graph in files.items():
        (path / name).write_bytes(graph)
    return entry


def _buffers_of(module: nn.Module, content: bytes) -> dict[str, str]:
    held, lies = dict(module.named_buffers()), places(content)
    found = {name: held[name].numpy() for name in _BUFFERS if name in held}
    return {
        name: f"{lies[value.tobytes()][0]}:{'x'.join(map(str, value.shape))}"
        for name, value in found.items()
        if value.tobytes() in lies
    }


def _exported(module: nn.Module, method: _Method) -> Any:
    """Return a method as an ONNX model.

    Raises:
        ArtifactError: torch cannot make a graph of it.
    """
    traced = method.examples[-1]
    sides = {name: torch.export.Dim(name, min=1, max=_MOST) for each in method.open_sides.values() for name in each}
    shapes = tuple({at: sides[side] for at, side in enumerate(method.open_sides[name])} for name in traced)
    with torch.no_grad(), warnings.catch_warnings():
        # The exporter's own notices about its inner workings; parity is what counts.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            program: Any = torch.onnx.export(
                _Call(module.eval(), method.call),
                tuple(traced.values()),
                dynamo=True,
                opset_version=_OPSET,
                verbose=False,
                input_names=list(traced),
                dynamic_shapes=(shapes,),
            )
        except torch.onnx.OnnxExporterError as error:
            raise ArtifactError(f"torch makes no ONNX of it: {str(error).strip().splitlines()[0]}") from error
    return program.model_proto


def _difference(name: str, method: _Method, opened: OnnxPart, scripted: Any) -> float:
    """Return the largest difference between both runtimes."""
    worst = []
    for example in method.examples:
        with torch.no_grad():
            expected = method.call(scripted, *example.values())
        expected = [expected] if isinstance(expected, Tensor) else list(expected)
        got = opened.run(name, {key: value.numpy() for key, value in example.items()})
        for one, other in zip(expected, got):
            worst.append(np.abs(one.numpy().astype(np.float64) - other.astype(np.float64)).max() / method.unit)
    # NumPy's maximum, not Python's, which would pass over what is not a number.
    return float(np.max(worst))


def _times(methods: Mapping[str, _Method], opened: OnnxPart, scripted: Any) -> dict[str, float]:
    """Return the median time of one call of each method together, on one thread [ms]; both runtimes in turn."""
    arrays = {name: {key: value.numpy() for key, value in each.examples[0].items()} for name, each in methods.items()}

    def with_torch() -> None:
        for method in methods.values():
            method.call(scripted, *method.examples[0].values())

    def with_onnx() -> None:
        for name, given in arrays.items():
            opened.run(name, given)

    times: dict[str, list[float]] = {TORCHSCRIPT: [], ONNXRUNTIME: []}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for _ in range(_REPEATS):
                for runtime, run in ((TORCHSCRIPT, with_torch), (ONNXRUNTIME, with_onnx)):
                    began = time.perf_counter()
                    run()
                    times[runtime].append((time.perf_counter() - began) * 1e3)
    finally:
        torch.set_num_threads(threads)
    return {runtime: round(statistics.median(each), 4) for runtime, each in times.items()}
