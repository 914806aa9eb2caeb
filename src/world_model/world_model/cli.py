"""``wm``: one command line for data, training, evaluation and export of both branches.

Each command is a module of ``world_model.commands`` with ``main(arguments, prog)``, loaded when it is called. A package
above this one adds a command by an entry point ``NAME = module:main`` in the group ``wm.commands``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

COMMANDS = {
    "data": "recordings or simulated runs into a converted set",
    "adapt": "a robot's recordings into its profile: motion, and a fine-tuned transition where it pays",
    "train": "a converted set into an artifact",
    "family": "a larger model on simulated worlds, within so many minutes, and what it is worth",
    "evaluate": "errors of an artifact and of every baseline on the same episodes",
    "export": "an artifact as ONNX, TensorRT or in 8 bits",
    "slow": "the slow branch: train, adapt, evaluate, compare",
}
"""Command -> what it does; ``world_model.commands`` has a module of that name."""

MORE = {"memory": "the file of a robot's memory: backup, verify, mend, regions for other robots"}
"""Commands that other packages of this workspace add, where they are installed -> what they do."""


STOPPED = 130


def _added() -> dict[str, EntryPoint]:
    """Return the commands that installed packages add."""
    return {each.name: each for each in entry_points(group="wm.commands") if each.name not in COMMANDS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    It is 0, 2 with one line when something asked for is wrong, 130 when it was stopped by Ctrl-C, or the command's own.
    """
    added = _added()
    known = COMMANDS | {name: MORE.get(name, f"of {each.module}") for name, each in added.items()}
    width = max(map(len, known))
    parser = argparse.ArgumentParser(
        prog="wm",
        description="World models whose dynamics are conditioned on memories: data, training, evaluation, export.",
        epilog="\n".join(["commands:", *(f"  {name:{width}}  {text}" for name, text in known.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=known, metavar="COMMAND", help="see below; wm COMMAND --help says more")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="of the command")
    options = parser.parse_args(arguments)
    try:
        if options.command in added:
            command = added[options.command].load()
        else:
            command = import_module(f"world_model.commands.{options.command}").main
        code: int = command(options.arguments, prog=f"wm {options.command}")
    except KeyboardInterrupt:
        sys.stderr.write(f"\nwm {options.command}: stopped by Ctrl-C\n")
        return STOPPED
    return code


if __name__ == "__main__":
    sys.exit(main())
