"""``wm``: one command line for data, training, evaluation and export of both branches.

Each command is a module of ``world_model.commands`` with ``main(arguments, prog)``, loaded when it is called.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "data": "recordings or simulated runs into a converted set",
    "train": "a converted set into an artifact",
    "evaluate": "errors of an artifact and of every baseline on the same episodes",
    "export": "an artifact as ONNX, TensorRT or in 8 bits",
    "slow": "the slow branch: train, adapt, evaluate, compare",
}
"""Command -> what it does; ``world_model.commands`` has a module of that name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, or 2 with one line when something asked for is wrong."""
    width = max(map(len, COMMANDS))
    parser = argparse.ArgumentParser(
        prog="wm",
        description="World models whose dynamics are conditioned on memories: data, training, evaluation, export.",
        epilog="\n".join(["commands:", *(f"  {name:{width}}  {text}" for name, text in COMMANDS.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="see below; wm COMMAND --help says more")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="of the command")
    options = parser.parse_args(arguments)
    code: int = import_module(f"world_model.commands.{options.command}").main(
        options.arguments, prog=f"wm {options.command}"
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
