#!/usr/bin/env bash
# Joining frames with poses of half their rate by the nearest stamp: what a frame half way between two poses gets.
#
# Guess: both libraries' nearest joins break a tie the same way, or some to one side, some to the other.
# Seen with pandas 3.1.1 and polars 2.1.0 (PyPI; Python 3.11, x86-64), frames at 20 Hz, poses at 10 Hz, so every second frame lies half way:
#   pandas.merge_asof(direction="nearest")     all of them get the earlier pose, 50 ms old
#   polars.join_asof(strategy="nearest")       all of them get the later pose, 50 ms ahead of the frame
#   a tolerance of just those 50 ms            takes them in both
#
# The same table gives, library by library, poses that differ by 100 ms on half of all frames: a model trained on the one sees the future. So:
# interpolate between the two poses, or join backward.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (260 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pandas==3.1.1' 'polars==2.1.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import pandas as pd
import polars as pl

START, MS = 1_700_000_000_000_000_000, 1_000_000
FRAMES = START + np.arange(0, 40) * 50 * MS
POSES = START + np.arange(0, 21) * 100 * MS


def late_by(tolerance=None):
    frames, poses = {"stamp": FRAMES}, {"stamp": POSES, "pose_stamp": POSES}
    by_pandas = pd.merge_asof(
        pd.DataFrame(frames), pd.DataFrame(poses), on="stamp", direction="nearest", tolerance=tolerance
    )
    by_polars = pl.DataFrame(frames).join_asof(pl.DataFrame(poses), on="stamp", strategy="nearest", tolerance=tolerance)
    for found in (by_pandas["pose_stamp"].to_numpy(), by_polars["pose_stamp"].to_numpy()):
        late, times = np.unique((found - FRAMES) // MS, return_counts=True)
        yield dict(zip(late.tolist(), times.tolist(), strict=True))


(PANDAS, POLARS), (PANDAS_WITHIN, POLARS_WITHIN) = late_by(), late_by(50 * MS)
SEEN = [
    ("pandas: pose minus frame [ms], frames", PANDAS, {-50: 20, 0: 20}),
    ("polars: pose minus frame [ms], frames", POLARS, {0: 20, 50: 20}),
    ("pandas, tolerance 50 ms", PANDAS_WITHIN, {-50: 20, 0: 20}),
    ("polars, tolerance 50 ms", POLARS_WITHIN, {0: 20, 50: 20}),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
