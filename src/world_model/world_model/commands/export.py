"""``wm export``: an artifact's networks as ONNX (checked in onnxruntime) and TensorRT, or the artifact in 8 bits.

``wm export generic`` makes the artifact that artifact://generic means.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from world_model.commands import generic
from world_model.commands.common import described, guarded
from world_model.errors import ConfigError
from world_model.export.graphs import try_runtimes
from world_model.export.onnx_export import convert_tensorrt, export_onnx
from world_model.export.quantise import Cost, quantise_artifact
from world_model.runtime.artifacts import Manifest
from world_model.training.renew import renew_artifact


def main(arguments: Sequence[str] | None = None, prog: str = "wm-export") -> int:
    """Run the command line and return its exit code: 0, or 2 when something asked for is wrong or absent."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["generic"]:
        return generic.main(given[1:], f"{prog} generic")
    parser = argparse.ArgumentParser(prog=prog, description=described(__doc__))
    parser.add_argument("artifact", help="artifact folder, or artifact://NAME")
    parser.add_argument("out", type=Path, help="folder for the files")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--tensorrt", action="store_true", help="convert on with trtexec, half precision (on a Jetson)")
    kind.add_argument(
        "--int8",
        type=Path,
        metavar="SET",
        help="write no ONNX, but an artifact with 8-bit weights for processors; SET: converted set to calibrate on",
    )
    kind.add_argument(
        "--renew",
        action="store_true",
        help="write no plain ONNX, but an artifact in today's format, each part in the runtime that is faster here",
    )
    parser.add_argument("--batch", type=int, default=1, help="most frames at once in TensorRT (default: 1)")
    options = parser.parse_args(given)
    return guarded(prog, lambda: _export(options))


def _export(options: argparse.Namespace) -> None:
    console = Console(highlight=False)
    if options.batch < 1:
        raise ConfigError(f"--batch is {options.batch} frames, expected at least 1")
    if options.int8 is not None:
        console.print(describe(*quantise_artifact(options.artifact, options.int8, options.out)), markup=False)
        return
    if options.renew:
        manifest = renew_artifact(options.artifact, options.out)
        try_runtimes(options.out, lambda text: console.print(text, markup=False))
        console.print(f"artifact {manifest.encoder_id} in {options.out}, format {manifest.format_version}")
        return
    for name, worst in export_onnx(options.artifact, options.out).items():
        console.print(f"{name}.onnx: differs by at most {worst:.1e} in onnxruntime")
    if options.tensorrt:
        for engine in convert_tensorrt(options.out, options.batch):
            console.print(str(engine))


def describe(manifest: Manifest, cost: Cost) -> str:
    """Return what 8 bits cost and give, line by line."""
    lines = [f"artifact {manifest.encoder_id}: {cost.float_mb:.1f} MB became {cost.int8_mb:.1f} MB"]
    for part, before in cost.float_ms.items():
        lines.append(f"{part}: {before:.2f} ms became {cost.int8_ms[part]:.2f} ms")
    lines.append(f"NMSE against the source: latents {cost.latent_nmse:.4f}, forecasts {cost.forecast_nmse:.4f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
