"""Parameters, latency, throughput and memory of every configuration, measured; writes a Markdown table with --out."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import psutil
import torch

from world_model.commands.train import CONFIGS
from world_model.export import example_inputs
from world_model.models.factory import make_decoder, make_encoder, make_transition
from world_model.training.config import load_config

SIZES = {"tiny": (64, 2), "compact": (128, 2), "base": (256, 4), "large": (256, 4)}
BATCHES = (1, 2, 4, 8, 16, 32)
FRAMES = 10


def median_ms(call, repeats: int) -> float:
    """Return the median time of a call in milliseconds, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return sorted(times)[len(times) // 2]


@torch.inference_mode()
def measure(name: str, longest_s: float, repeats: int) -> dict[str, object]:
    """Return one configuration's row; batches that would take more than ``longest_s`` are left out."""
    image_size, action_dim = SIZES[name]
    config = load_config(CONFIGS / f"{name}.yaml").model
    before = psutil.Process().memory_info().rss
    parts = {
        "encoder": make_encoder(config, image_size).eval(),
        "transition": make_transition(config, action_dim).eval(),
        "decoder": make_decoder(config, image_size).eval(),
    }
    million = {part: sum(p.numel() for p in module.parameters()) / 1e6 for part, module in parts.items()}
    encoder, transition = parts["encoder"], parts["transition"]
    image = torch.zeros(1, image_size, image_size, 3, dtype=torch.uint8)
    inputs = example_inputs(transition, action_dim, batch=1)
    observed = (inputs["latent"], inputs["action"], inputs["state"])

    def one_frame() -> None:
        encoder(image, None, None)
        transition.observe(*observed)
        transition.forecast(*inputs.values())

    throughput: dict[int, float] = {}
    for batch in BATCHES:
        if throughput and batch * FRAMES / min(throughput.values()) > longest_s:
            break
        frames = torch.zeros(batch * FRAMES, image_size, image_size, 3, dtype=torch.uint8)
        throughput[batch] = round(batch * FRAMES * 1e3 / median_ms(lambda f=frames: encoder(f, None, None), repeats), 1)
    return {
        "parameters_million": {part: round(value, 2) for part, value in million.items()},
        "total_million": round(sum(million.values()), 2),
        "frame_ms": round(median_ms(one_frame, 3 * repeats), 2),
        "encoded_frames_per_s": throughput,
        "rss_mb": round((psutil.Process().memory_info().rss - before) / 2**20),
    }


@torch.inference_mode()
def precisions(repeats: int) -> dict[str, float]:
    """Return the time of the tiny and compact encoders in float32 and bfloat16, in ms."""
    result = {}
    for name in ("tiny", "compact"):
        image_size, _ = SIZES[name]
        encoder = make_encoder(load_config(CONFIGS / f"{name}.yaml").model, image_size).eval()
        image = torch.zeros(1, image_size, image_size, 3, dtype=torch.uint8)
        result[f"{name} float32"] = median_ms(lambda e=encoder, i=image: e(i, None, None), 10 * repeats)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            result[f"{name} bfloat16"] = median_ms(lambda e=encoder, i=image: e(i, None, None), 10 * repeats)
    return {name: round(value, 3) for name, value in result.items()}


def main() -> None:
    """Measure and print, and write JSON and Markdown where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--longest-s", type=float, default=60.0, help="leave out batches that take longer")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path, help="Markdown table")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = {name: measure(name, options.longest_s, options.repeats) for name in options.configs}
    result = {"configurations": rows, "encoder_ms": precisions(options.repeats), "threads": options.threads}
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.out:
        options.out.write_text(markdown(rows))


def markdown(rows: dict[str, dict]) -> str:
    """Return the rows as a Markdown table."""
    batches = list(BATCHES)
    head = [
        "configuration",
        "parameters [M]",
        "one frame [ms]",
        *(f"frames/s, {b} x {FRAMES}" for b in batches),
        "memory [MB]",
    ]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, row in rows.items():
        cells = [
            name,
            row["total_million"],
            row["frame_ms"],
            *(row["encoded_frames_per_s"].get(b, "-") for b in batches),
            row["rss_mb"],
        ]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
