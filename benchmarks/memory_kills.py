"""Spatial memory: nothing acknowledged is lost when the process is killed, a hundred times.

scripts/bench memory_kills [--kills 100] [--seed 0] [--json PATH]
"""

from __future__ import annotations

import runpy
from pathlib import Path

CRASH = Path(__file__).resolve().parents[1] / "src" / "spatial_memory" / "test" / "crash.py"

if __name__ == "__main__":
    runpy.run_path(str(CRASH), run_name="__main__")
