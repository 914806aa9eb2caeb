"""``wm export generic``: make the artifact that artifact://generic means, from pinned registry packages."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from world_model.commands.common import described, guarded
from world_model.export.generic import GRID, make_generic
from world_model.export.prior import SHIPPED
from world_model.runtime.places import made_path


def main(arguments: Sequence[str] | None = None, prog: str = "wm export generic") -> int:
    """Run the command line and return its exit code: 0, or 2 when a package is missing."""
    parser = argparse.ArgumentParser(prog=prog, description=described(__doc__))
    parser.add_argument("out", type=Path, nargs="?", help="folder (default: where artifact://generic looks for it)")
    parser.add_argument("--grid", type=int, default=GRID, help=f"side of the grid of cells (default: {GRID})")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated pictures that it is calibrated on")
    parser.add_argument(
        "--prior",
        type=Path,
        nargs="?",
        const=SHIPPED,
        help="let what was learned from simulated robots speak in the first half-minute: a folder that "
        "`wm train --config prior` wrote, or, without one, what ships (default: nothing does)",
    )
    options = parser.parse_args(arguments)
    return guarded(prog, lambda: _make(options))


def _make(options: argparse.Namespace) -> None:
    console = Console(highlight=False, soft_wrap=True)
    out = options.out or made_path("generic")
    chosen = {"grid": options.grid, "seed": options.seed, "prior": options.prior}
    made = make_generic(out, **chosen, say=lambda text: console.print(text, markup=False))
    feature = made.manifest.feature or {}
    console.print(
        f"artifact generic in {out}: feature_id {feature.get('feature_id')}, {feature.get('size')} numbers, "
        f"{made.size_mb:.1f} MB; 8 bits change features by {made.nmse:.4f} of their variance",
        markup=False,
    )
