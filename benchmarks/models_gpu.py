"""What encoder and transition cost on a GPU, as they are and as CUDA graphs: a live frame, and a planner's rows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.models import SIZES
from world_model.commands.common import CONFIGS
from world_model.errors import ArtifactError
from world_model.export.torchscript import example_inputs
from world_model.models.factory import make_encoder, make_transition
from world_model.models.transition import Transition
from world_model.runtime.artifact_folder import write_artifact
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.captured import Captured
from world_model.runtime.cuda_graphs import CudaGraphs
from world_model.runtime.fused import FusedForecast
from world_model.runtime.on_device import CapturedModule
from world_model.runtime.tensors import Observed, Retrieved
from world_model.training.config import load_config

CANDIDATES, STEPS = 256, 10
TARGETS = {"base": ("encode_predict", 1.4), "tiny": ("predict", 0.5), "rows": ("fused_captured", 1.3)}
"""Of a configuration: what is not to take longer than so many milliseconds on an H100."""
_METHODS = {"encoder": ("forward",), "transition": ("observe", "forecast")}
Call = Callable[[], Any]
Inputs = tuple[Observed, Retrieved]


def wait(device: str) -> None:
    """Wait until a GPU has done all that it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def timed(call: Call, device: str, times: int) -> dict[str, Any]:
    """Return what a call takes from asking to having it, each time [ms], after some that are not counted."""
    for _ in range(10):
        call()
    taken = []
    for _ in range(times):
        wait(device)
        begin_s = time.perf_counter()
        call()
        wait(device)
        taken.append((time.perf_counter() - begin_s) * 1e3)
    return {
        "median_ms": round(float(np.median(taken)), 4), "least_ms": round(min(taken), 4),
        "times_ms": [round(value, 4) for value in taken],
    }  # fmt: skip


def moved(inputs: Inputs, device: str) -> Inputs:
    """Return inputs on a device."""
    observed, retrieved = ([value.contiguous().to(device) for value in given] for given in inputs)
    return Observed(*observed), Retrieved(*retrieved)


class Frame:
    """A live frame in one way of running it.

    Args:
        encoder: Of the artifact.
        transition: Of the artifact.
        image: uint8 [1, S, S, 3].
        inputs: Of the forecast; where they lie is from where the frame comes.
    """

    def __init__(self, encoder: Any, transition: Any, image: Tensor, inputs: Inputs) -> None:
        self._encoder, self._transition, self._image, self._inputs = encoder, transition, image, inputs

    def encode(self) -> Tensor:
        """Return the picture's latent."""
        latent: Tensor = self._encoder(self._image, None, None)
        return latent

    def predict(self, latent: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the forecast after observing a latent."""
        observed, retrieved = self._inputs
        latent = observed.latent if latent is None else latent
        state = self._transition.observe(latent, observed.action, observed.state)
        said: tuple[Tensor, ...] = self._transition.forecast(observed._replace(latent=latent, state=state), retrieved)
        return said

    def encode_predict(self) -> tuple[Tensor, ...]:
        """Return the forecast from a picture."""
        return self.predict(self.encode())


def frames(artifact: Artifact, inputs: Inputs, *, is_more: bool) -> dict[str, Frame]:
    """Return the ways to run a frame: eager, recorded, from the host; with kernels that TorchScript compiles if asked.

    Args:
        artifact: What runs.
        inputs: Of the forecast.
        is_more: Whether to compile: that takes minutes.
    """
    device, size = artifact.device, artifact.manifest.image_size
    plain = replace(artifact, captures=False)
    encoder, transition = plain.encoder(), plain.transition()
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8, generator=generator)
    here, there = moved(inputs, "cpu"), moved(inputs, device)
    kept = here[0]._replace(state=there[0].state), here[1]

    def parts(*, fuses: bool) -> tuple[Any, Any]:
        recorder = CudaGraphs(device)
        recorded = CapturedModule(transition, "transition", _METHODS["transition"], recorder, fuses=fuses)
        return CapturedModule(encoder, "encoder", _METHODS["encoder"], recorder), recorded

    made = {"eager": Frame(encoder, transition, image.to(device), there)}
    for name, fuses in [("captured", False), ("captured_compiled", True)][: 1 + is_more]:
        made[name] = Frame(*parts(fuses=fuses), image.to(device), there)
        made[f"{name}_from_host"] = Frame(*parts(fuses=fuses), image, kept)
    for name, rounded in rounded_encoders(artifact).items():
        made[f"captured, {name}"] = Frame(rounded, parts(fuses=False)[1], image.to(device), there)
    try:
        fused = FusedForecast(plain.weights("transition"))
    except ArtifactError:
        return made
    seeing, recorded = parts(fuses=False)
    both = SimpleNamespace(observe=recorded.observe, forecast=fused.forecast)
    made["captured_fused"] = Frame(seeing, both, image.to(device), there)
    made["captured_fused_from_host"] = Frame(seeing, both, image, kept)
    return made


def rounded_encoders(artifact: Artifact) -> dict[str, Captured]:
    """Return the recorded encoder in less than single precision, by name; none where it has no convolutions.

    Its latents are others than those that the artifact's ``encoder_id`` stands for.
    """
    name, _ = artifact.manifest.part("encoder") or ("", "")

    def loaded() -> Any:
        return torch.jit.load(str(artifact.path / name), map_location=artifact.device).eval()

    if not any(value.dim() == 4 for value in loaded().parameters()):
        return {}
    exact, half = torch.jit.freeze(loaded()), torch.jit.freeze(loaded().to(torch.bfloat16))

    def encode(image: Tensor, depth: None, proprioception: None) -> Tensor:
        latent: Tensor = half(image, depth, proprioception)
        return latent.float()

    return {
        "another encoder in TF32": Captured("encode", exact, CudaGraphs(artifact.device, rounds=True)),
        "another encoder in bfloat16": Captured("encode", encode, CudaGraphs(artifact.device)),
    }


def without_history(inputs: Inputs) -> Inputs:
    """Return inputs without a visual history, which the fused forecast does not read."""
    return inputs[0]._replace(history_count=torch.zeros_like(inputs[0].history_count)), inputs[1]


def apart(one: Any, other: Any) -> float:
    """Return the largest difference of two lots of tensors."""
    pairs = zip(*([each] if isinstance(each, Tensor) else each for each in (one, other)))
    return max(float((a.cpu() - b.cpu()).abs().max()) for a, b in pairs)


def frame_times(artifact: Artifact, inputs: Inputs, times: int, *, is_more: bool = False) -> dict[str, Any]:
    """Return the times of a frame in every way, and how far each is from the processor's."""
    made = frames(artifact, inputs, is_more=is_more)
    reference = load_artifact(artifact.path)
    image = made["captured_from_host"]._image.cpu()
    expected = Frame(reference.encoder(), reference.transition(), image, moved(inputs, "cpu"))
    found: dict[str, Any] = {}
    for what in ("encode", "predict", "encode_predict"):
        found[what] = {name: timed(getattr(frame, what), artifact.device, times) for name, frame in made.items()}
        theirs = getattr(expected, what)()
        for name, frame in made.items():
            found[what][name]["from_processor"] = apart(getattr(frame, what)(), theirs)
    if is_more:
        found["encode_ways"] = encode_ways(artifact, image, expected.encode(), times)
    return found


def encode_ways(artifact: Artifact, image: Tensor, expected: Tensor, times: int) -> dict[str, Any]:
    """Return the recorded encoder's times with colours side by side or apart, exact or rounded to TF32."""
    found: dict[str, Any] = {}
    for rounds in (False, True):
        for is_apart in (False, True):
            call = encoder_of(artifact, CudaGraphs(artifact.device, rounds=rounds), image, is_apart=is_apart)
            name = f"{'TF32' if rounds else 'exact'}, colours {'apart' if is_apart else 'side by side'}"
            found[name] = timed(call, artifact.device, times)
            found[name]["from_processor"] = apart(call(), expected)
    return found


def encoder_of(artifact: Artifact, recorder: CudaGraphs, image: Tensor, *, is_apart: bool) -> Call:
    """Return the recorded encoder of one picture, with colours apart or side by side in memory."""
    name, _ = artifact.manifest.part("encoder") or ("", "")
    module: Any = torch.jit.load(str(artifact.path / name), map_location=artifact.device).eval()
    for value in module.parameters():
        value.requires_grad_(False)
        if value.dim() == 4:
            value.data = value.data.contiguous(
                memory_format=torch.contiguous_format if is_apart else torch.channels_last
            )
    module = torch.jit.freeze(module)
    given = image.to(artifact.device)
    if not is_apart:
        return partial(Captured("encode", module, recorder), given, None, None)

    def encode(image_BCHW: Tensor) -> Tensor:
        latent: Tensor = module(image_BCHW.permute(0, 2, 3, 1), None, None)
        return latent

    return partial(Captured("encode", encode, recorder), given.permute(0, 3, 1, 2).contiguous())


def row_inputs(transition: Any, *, followed: bool) -> Inputs:
    """Return inputs of a planner's rows: every candidate's steps, eight neighbours each."""
    rng = torch.Generator().manual_seed(1)
    count, size = CANDIDATES, 32

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    def some(share: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=rng) < share

    known = torch.ones(count, STEPS, 1)
    motion = torch.cat([0.5 * normal(count, STEPS, 3), known, 0.05 * normal(count, STEPS, 3).abs()], 2)
    observed = Observed(
        0.5 * normal(count, transition.initial(1).shape[1]), normal(count, size), normal(count, 2), motion,
        torch.linspace(0.2, 2.0, STEPS).expand(count, -1).contiguous(), torch.zeros(count, 896),
        torch.zeros(count, dtype=torch.int64),
    )  # fmt: skip
    retrieved = Retrieved(
        normal(count, STEPS, 8, size), 0.3 * normal(count, STEPS, 8, 6), some(0.9, count, STEPS, 8),
        normal(count, 4, size), 0.3 * normal(count, 4, 7), some(0.7, count, 4),
        normal(count, STEPS, 4, size), some(0.6 * followed, count, STEPS, 4),
    )  # fmt: skip
    return observed, retrieved


def row_times(artifact: Artifact, times: int, *, is_more: bool = False) -> dict[str, Any]:
    """Return the times of a planner's rows in every way, and how far each is from the processor's."""
    device, plain = artifact.device, replace(artifact, captures=False)
    eager, fused = plain.transition(), FusedForecast(plain.weights("transition"))
    here, alone = (row_inputs(eager, followed=followed) for followed in (True, False))
    there = moved(here, device)
    whole, compiled = (Captured("rows", eager.forecast, CudaGraphs(device), fuses=fuses) for fuses in (False, True))
    ways: dict[str, tuple[Call, Inputs]] = {
        "fused_captured": (lambda: fused.forecast(*there), here),
        "fused_captured_from_host": (lambda: fused.forecast(*here), here),
        "fused_captured_from_host_without_successors": (lambda: fused.forecast(*alone), alone),
        "captured": (lambda: whole(*there), here),
        "eager": (lambda: eager.forecast(*there), here),
        "fused_eager": (lambda: fused.at_once(*there), here),
    }
    if is_more:
        ways["captured_compiled"] = (lambda: compiled(*there), here)
    reference = load_artifact(artifact.path).transition()
    expected = {id(given): reference.forecast(*given) for given in (here, alone)}
    found = {}
    for name, (call, given) in ways.items():
        found[name] = timed(call, device, times)
        found[name]["from_processor"] = apart(call(), expected[id(given)])
    return found


def said(results: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each median so far, then one for each target."""
    for name, found in results["configurations"].items():
        for what, ways in found.items():
            yield f"{name:8} {what:16} " + ", ".join(f"{way} {each['median_ms']:.3f}" for way, each in ways.items())
    rows = results.get("rows", {})
    if rows:
        yield "2560 rows " + ", ".join(f"{way} {each['median_ms']:.3f}" for way, each in rows.items())
    for name, target in against_targets(results).items():
        is_met = target["median_ms"] <= target["most_ms"]
        yield (
            f"{name}: {target['median_ms']:.3f} of at most {target['most_ms']:g} ms, "
            f"target {'met' if is_met else 'missed'}"
        )


def against_targets(results: dict[str, Any]) -> dict[str, Any]:
    """Return what was reached of each target, of what has been measured."""
    made: dict[str, Any] = {}
    for name, (what, most_ms) in TARGETS.items():
        if name == "rows" and "rows" in results:
            reached = results["rows"][what]
        elif name in results["configurations"]:
            reached = results["configurations"][name][what]["captured"]
        else:
            continue
        made[f"{name} {what}"] = {"median_ms": reached["median_ms"], "most_ms": most_ms}
    return made


def untrained(name: str, path: Path) -> Transition:
    """Write an artifact of a configuration with random weights, of what is measured here alone, unchecked."""
    config, (image_size, action_dim) = load_config(CONFIGS / f"{name}.yaml"), SIZES[name]
    model, z_dim = config.model, config.model.latent_dim
    encoder, transition = make_encoder(model, image_size).eval(), make_transition(model, action_dim).eval()
    entries: dict[str, Any] = {"name": name, "z_dim": z_dim, "action_dim": action_dim, "image_size": image_size}
    entries |= {"step_s": 0.05, "horizon_s": 1.0, "top_k": 8, "motion": {}, "memory": {}}
    entries |= {"latent_mean": [0.0] * z_dim, "latent_variance": [1.0] * z_dim, "training": {}}
    parts = {part: torch.jit.script(module) for part, module in (("encoder", encoder), ("transition", transition))}
    write_artifact(path, entries, parts)
    return transition


def configuration_times(name: str, device: str, times: int, *, is_more: bool) -> dict[str, Any]:
    """Return the times of a frame of one configuration: tiny as it is shipped, others untrained."""
    config, (_, action_dim) = load_config(CONFIGS / f"{name}.yaml"), SIZES[name]
    if name == "tiny":
        inputs = example_inputs(make_transition(config.model, action_dim), action_dim, batch=1)
        return frame_times(load_artifact("artifact://tiny", device), without_history(inputs), times, is_more=is_more)
    with tempfile.TemporaryDirectory() as folder:
        transition = untrained(name, Path(folder))
        inputs = example_inputs(transition, action_dim, batch=1)
        return frame_times(load_artifact(folder, device), inputs, times, is_more=is_more)


@torch.inference_mode()
def measured(configs: list[str], device: str, times: int, *, is_more: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the times of configurations and of a planner's rows on a GPU [ms], whenever there is more of them.

    Args:
        configs: Names; tiny is measured first, then the rows.
        device: As torch names it.
        times: How often each is repeated.
        is_more: Also with kernels that TorchScript compiles, and the encoder in other ways: that takes minutes.
    """
    results: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "torch": torch.__version__, "cuda": torch.version.cuda, "tf32": False, "configurations": {}, "took_s": {},
    }  # fmt: skip

    def configuration(name: str) -> None:
        results["configurations"][name] = configuration_times(name, device, times, is_more=is_more)

    def rows() -> None:
        results["rows"] = row_times(load_artifact("artifact://tiny", device), times, is_more=is_more)

    parts = {name: partial(configuration, name) for name in configs if name == "tiny"} | {"rows": rows}
    parts |= {name: partial(configuration, name) for name in configs if name != "tiny"}
    for name, part in parts.items():
        begin_s = time.perf_counter()
        # What TorchScript compiles of its own accord takes most of a minute for every shape.
        with torch.jit.optimized_execution(is_more):  # type: ignore[attr-defined]
            part()
        results["took_s"][name] = round(time.perf_counter() - begin_s, 1)
        results["targets"] = against_targets(results)
        yield results
