"""``wm-train``: from a converted set to an artifact."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from world_model.errors import ConfigError, WorldModelError
from world_model.training.config import load_config
from world_model.training.pipeline import run_training

CONFIGS = Path(__file__).parents[1] / "configs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, or 2 when something asked for is wrong."""
    parser = argparse.ArgumentParser(prog="wm-train", description=__doc__)
    parser.add_argument("data", type=Path, help="converted set, as wm-data makes it")
    parser.add_argument("out", type=Path, help="folder of the run; a killed run goes on from what is there")
    parser.add_argument("--config", default="tiny", help="YAML file, or the name of one that ships (default: tiny)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as optimiser.steps=100")
    parser.add_argument("--workers", type=int, default=2, help="processes that prepare the data")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    path = Path(options.config)
    path = path if path.suffix else CONFIGS / f"{options.config}.yaml"
    try:
        config = load_config(path, dict(parse_override(text) for text in options.set))
        run_training(config, options.data, options.out, workers=options.workers, say=console.print)
    except WorldModelError as error:
        Console(stderr=True, highlight=False).print(f"wm-train: {error}", markup=False)
        return 2
    return 0


def parse_override(text: str) -> tuple[str, object]:
    """Return key and value of ``KEY=VALUE``; the value is read as YAML.

    Raises:
        ConfigError: No ``=`` in it.
    """
    import yaml

    key, sign, value = text.partition("=")
    if not sign or not key:
        raise ConfigError(f"--set {text}: expected KEY=VALUE")
    return key, yaml.safe_load(value)


if __name__ == "__main__":
    sys.exit(main())
