"""One run of one side's demo on a recording, in that side's environment: prints what its graph said as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ament_index_python.packages import get_package_prefix

from benchmarks.against.sides import SideError, require_own

KEPT = ("prediction_error", "frames_sent", "frames_encoded", "lost_in_transport", "degraded_predictions")
"""What is reported of a run, of the summary's entries."""
_DEMOS = ("wm_demo.demo", "wm_bringup.demo")


def demo() -> Callable[[Sequence[str]], int]:
    """Return this side's demo.

    Raises:
        SideError: It has none.
    """
    for name in _DEMOS:
        try:
            found: Callable[[Sequence[str]], int] = import_module(name).main
        except ModuleNotFoundError:
            continue
        return found
    raise SideError(f"none of {_DEMOS} here")


def measure(bag: Path, model_path: str, pose_wait_s: float | None) -> dict[str, Any]:
    """Return what the graph said of a recording; frames that it lost on a busy machine are among it.

    Args:
        bag: Recording.
        model_path: Artifact.
        pose_wait_s: How long a measured pose is waited for [s]; ``None``: as this side does.
    """
    with TemporaryDirectory(prefix="bench_live_") as folder:
        out = Path(folder) / "out"
        arguments = ["--bag", str(bag), "--out", str(out), "--model-path", model_path, "--no-table"]
        if pose_wait_s is not None:
            params = Path(folder) / "waits.yaml"
            params.write_text(json.dumps({"latent_publisher": {"ros__parameters": {"pose_wait_s": pose_wait_s}}}))
            arguments += ["--params-file", str(params)]
        with redirect_stdout(sys.stderr):
            demo()(arguments)
        summary = json.loads((out / "summary.json").read_text())
    return {name: summary[name] for name in KEPT}


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bag", type=Path)
    parser.add_argument("model_path")
    parser.add_argument("--pose-wait-s", type=float)
    options = parser.parse_args()
    require_own(get_package_prefix("wm_bringup"))
    print(json.dumps(measure(options.bag, options.model_path, options.pose_wait_s)))


if __name__ == "__main__":
    main()
