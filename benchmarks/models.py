"""Parameters, latency, throughput and memory of every configuration, float and 8-bit; on a GPU, with CUDA graphs."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from wm_testing.episodes import circling_set
from world_model.commands.common import CONFIGS
from world_model.errors import ArtifactError
from world_model.export.quantise import quantise_artifact
from world_model.export.torchscript import example_inputs, export_artifact
from world_model.models.factory import make_decoder, make_encoder, make_transition
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.tensors import Observed, Retrieved
from world_model.training.config import TrainConfig, load_config

SIZES = {"tiny": (64, 2), "compact": (128, 2), "base": (256, 4), "large": (256, 4)}
BATCHES = (1, 2, 4, 8, 16, 32)
FRAMES = 10
Inputs = tuple[Observed, Retrieved]
PARTS = ("encoder", "transition", "decoder")


def median_ms(call: Callable[[], Any], repeats: int, warm_up: int = 3) -> float:
    """Return the median time of a call in milliseconds, after some to warm up."""
    for _ in range(warm_up):
        call()
    times: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return sorted(times)[len(times) // 2]


def write_random(config: TrainConfig, image_size: int, action_dim: int, path: Path) -> Inputs:
    """Write an artifact with random weights, through the export that training uses, and return inputs of it."""
    model, transition = config.model, make_transition(config.model, action_dim)
    modules = {
        "encoder": make_encoder(model, image_size),
        "decoder": make_decoder(model, image_size),
        "transition": transition,
    }
    million = {part: sum(p.numel() for p in module.parameters()) / 1e6 for part, module in modules.items()}
    z_dim = model.latent_dim
    entries = {"name": config.name, "z_dim": z_dim, "action_dim": action_dim, "image_size": image_size}
    entries |= {"step_s": 0.05, "horizon_s": 1.0, "top_k": 8, "motion": {}, "memory": {}}
    entries |= {"latent_mean": [0.0] * z_dim, "latent_variance": [1.0] * z_dim}
    entries["training"] = {"config": config.to_json(), "parameters_million": million}
    export_artifact(path, modules["encoder"], modules["decoder"], transition, entries)
    return example_inputs(transition, action_dim, batch=1)


class Frame:
    """The work of a live frame: encode, observe, forecast two horizons with eight and four memories.

    Args:
        artifact: What runs.
        inputs: Of ``forecast``, for one sequence.
        batch: Sequences.
    """

    def __init__(self, artifact: Artifact, inputs: Inputs, batch: int = 1) -> None:
        self._encoder, self._transition, self._decoder = artifact.encoder(), artifact.transition(), artifact.decoder()
        size = artifact.manifest.image_size
        tensors = [[v.expand(batch, *v.shape[1:]).contiguous() for v in given] for given in inputs]
        self._observed, self._retrieved = Observed(*tensors[0]), Retrieved(*tensors[1])
        self._image = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8)

    def encode(self) -> None:
        """Encode one frame per sequence."""
        self._encoder(self._image, None, None)

    def predict(self) -> None:
        """Observe and forecast once per sequence."""
        self.observe()
        self._transition.forecast(self._observed, self._retrieved)

    def observe(self) -> None:
        """Observe once per sequence."""
        self._transition.observe(self._observed.latent, self._observed.action, self._observed.state)

    def decode(self) -> None:
        """Decode one latent per sequence."""
        self._decoder(self._observed.latent)

    def sequence(self) -> None:
        """Encode and observe ``FRAMES`` frames of each sequence, and forecast at the end of it."""
        for _ in range(FRAMES):
            self.encode()
            self.observe()
        self._transition.forecast(self._observed, self._retrieved)


@torch.inference_mode()
def measure(path: Path, inputs: Inputs, longest_s: float, repeats: int) -> dict[str, Any]:
    """Return one artifact's row; batches that would take more than ``longest_s`` are left out."""
    artifact = load_artifact(path)
    one = Frame(artifact, inputs)
    row: dict[str, Any] = {
        "encode_ms": round(median_ms(one.encode, 10 * repeats), 2),
        "predict_ms": round(median_ms(one.predict, 10 * repeats), 2),
        "decode_ms": round(median_ms(one.decode, 3 * repeats), 2),
        "memory_mb": memory_mb(path, inputs),
        "file_mb": round(sum((path / f"{part}.pt").stat().st_size for part in PARTS) / 1e6, 1),
    }
    row["frames_per_s"] = dict(throughput(artifact, inputs, longest_s, repeats))
    return row


def memory_mb(path: Path, inputs: Inputs) -> int:
    """Return what loading an artifact and running one frame adds to a fresh process [MB]."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        arrays = ([tensor.numpy() for tensor in given] for given in inputs)
        return int(pool.apply(_added_mb, (path, *arrays)))


@torch.inference_mode()
def _added_mb(path: Path, observed: list[np.ndarray], retrieved: list[np.ndarray]) -> int:
    torch.set_num_threads(1)
    before = int(psutil.Process().memory_info().rss)
    inputs = Observed(*map(torch.from_numpy, observed)), Retrieved(*map(torch.from_numpy, retrieved))
    one = Frame(load_artifact(path), inputs)
    for _ in range(3):
        one.encode()
        one.predict()
        one.decode()
    added = int(psutil.Process().memory_info().rss) - before
    return round(added / 2**20)


def throughput(artifact: Artifact, inputs: Inputs, longest_s: float, repeats: int) -> Iterator[tuple[int, float]]:
    """Yield batch size and frames per second, until a batch would take longer than ``longest_s``."""
    slowest = 0.0
    for batch in BATCHES:
        if slowest and batch * FRAMES / slowest > longest_s:
            return
        rate = batch * FRAMES * 1e3 / median_ms(Frame(artifact, inputs, batch).sequence, repeats, warm_up=2)
        slowest = min(slowest or rate, rate)
        yield batch, round(rate, 1)


def bfloat16_ms(name: str, repeats: int) -> dict[str, float]:
    """Return the time of one frame of an encoder as plain module, in float32 and bfloat16 [ms]."""
    image_size, _ = SIZES[name]
    image = torch.zeros(1, image_size, image_size, 3, dtype=torch.uint8)
    times = {}
    with torch.inference_mode():
        for dtype in (torch.float32, torch.bfloat16):
            encoder = make_encoder(load_config(CONFIGS / f"{name}.yaml").model, image_size).eval().to(dtype)
            call = median_ms(lambda e=encoder: e(image, None, None), 10 * repeats)  # type: ignore[misc]
            times[str(dtype).removeprefix("torch.")] = round(call, 2)
    return times


def rows_of(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return a configuration's rows, float and 8-bit."""
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    config, (image_size, action_dim) = load_config(CONFIGS / f"{name}.yaml"), SIZES[name]
    with tempfile.TemporaryDirectory() as folder:
        path, int8 = Path(folder, "float"), Path(folder, "int8")
        inputs = write_random(config, image_size, action_dim, path)
        data = circling_set(Path(folder, "set"), ("a",), seconds=8.0, size=image_size)
        # Random weights: what the rounding costs is asked of trained ones.
        quantise_artifact(str(path), data, int8, largest_nmse=float("inf"))
        rows = {name: measure(path, inputs, options.longest_s, options.repeats)}
        rows[f"{name}, int8"] = measure(int8, inputs, options.longest_s, options.repeats)
        for row in rows.values():
            with_sizes(row, path)
        rows[name]["encoder_ms"] = bfloat16_ms(name, options.repeats)
    return rows


def with_sizes(row: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the row with how many million parameters the artifact has."""
    million = load_artifact(path).manifest.training["parameters_million"]
    row["parameters_million"] = {part: round(value, 2) for part, value in million.items()}
    row["total_million"] = round(sum(million.values()), 2)
    return row


@torch.inference_mode()
def encode_side_by_side(repeats: int, threads: int) -> dict[str, float]:
    """Return what one picture costs the encoders of tiny and, where it was made, of generic, by turns [ms]."""
    torch.set_num_threads(threads)
    calls: dict[str, Callable[[], Any]] = {}
    for name in ("tiny", "generic"):
        try:
            artifact = load_artifact(f"artifact://{name}")
        except ArtifactError as error:
            print(f"{name} is left out: {error}")
            continue
        size = artifact.manifest.image_size
        picture = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8))
        calls[name] = partial(artifact.encoder(), picture, None, None)
    rounds = [{name: median_ms(call, 100) for name, call in calls.items()} for _ in range(repeats)]
    return {name: round(float(np.median([each[name] for each in rounds])), 4) for name in calls}


def main() -> None:
    """Measure and print, and write JSON and Markdown where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", nargs="*", choices=list(SIZES), help="default: all; on a GPU tiny and base")
    parser.add_argument("--longest-s", type=float, default=60.0, help="leave out batches that take longer")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--device",
        default="cpu",
        help="as torch names it; on a GPU: a frame and a planner's rows, with CUDA graphs",
    )
    parser.add_argument("--more", action="store_true", help="on a GPU: also compiled, TF32, other layouts; minutes")
    parser.add_argument("--times", type=int, default=200, help="each of them, on a GPU")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path, help="Markdown table")
    options = parser.parse_args()
    if options.device != "cpu":
        on_a_gpu(options)
        return
    context = multiprocessing.get_context("spawn")
    rows: dict[str, Any] = {}
    for name in options.configs or SIZES:
        # A process per configuration; what goes wrong in it is raised here.
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            rows |= pool.submit(rows_of, name, options).result()
    encode_ms = encode_side_by_side(options.repeats, options.threads)
    result = {"configurations": rows, "encode_ms": encode_ms, "threads": options.threads}
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.out:
        options.out.write_text(markdown(rows))


def on_a_gpu(options: argparse.Namespace) -> None:
    """Measure a frame and a planner's rows on a GPU, and print and write them."""
    from benchmarks.models_gpu import measured, said

    lines: set[str] = set()
    for result in measured(options.configs or ["tiny", "base"], options.device, options.times, is_more=options.more):
        for line in said(result):
            if line not in lines:
                print(line, flush=True)
                lines.add(line)
        print(f"took {result['took_s']} s", flush=True)
        if options.json:
            options.json.write_text(json.dumps(result, indent=1) + "\n")


def markdown(rows: dict[str, dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    columns: dict[str, Callable[[dict[str, Any]], Any]] = {
        "parameters [M]": lambda row: row["total_million"],
        "files [MB]": lambda row: row["file_mb"],
        "encode [ms]": lambda row: row["encode_ms"],
        "predict [ms]": lambda row: row["predict_ms"],
        "decode [ms]": lambda row: row["decode_ms"],
        **{
            f"frames/s, {batch} x {FRAMES}": lambda row, b=batch: row["frames_per_s"].get(b, "-")  # type: ignore[misc]
            for batch in BATCHES
        },
        "memory [MB]": lambda row: row["memory_mb"],
    }
    head = ["configuration", *columns]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, row in rows.items():
        lines.append("| " + " | ".join([name, *(str(cell(row)) for cell in columns.values())]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
