"""``wm-export``: an artifact's networks as ONNX (checked in onnxruntime) and TensorRT."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from world_model.errors import WorldModelError
from world_model.onnx_export import convert_tensorrt, export_onnx


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, or 2 when something asked for is wrong or absent."""
    parser = argparse.ArgumentParser(prog="wm-export", description=__doc__)
    parser.add_argument("artifact", help="artifact folder, or artifact://NAME")
    parser.add_argument("out", type=Path, help="folder for the files")
    parser.add_argument("--tensorrt", action="store_true", help="convert on with trtexec, half precision")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        for name, worst in export_onnx(options.artifact, options.out).items():
            console.print(f"{name}.onnx: differs by at most {worst:.1e} in onnxruntime")
        if options.tensorrt:
            for engine in convert_tensorrt(options.out):
                console.print(str(engine))
    except WorldModelError as error:
        Console(stderr=True, highlight=False).print(f"wm-export: {error}", markup=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
