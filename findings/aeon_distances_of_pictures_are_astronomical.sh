#!/usr/bin/env bash
# Rows of a camera (bytes) and of a depth camera (16 bits) compared as sequences with aeon's distances: which remembered row is nearest?
#
# Guess: a distance does not depend on the type that holds the same whole numbers (most of that module's do not), or the type is refused.
# Seen with aeon 1.6.0, numba 0.63.1, numpy 2.3.5 (PyPI; Python 3.11, x86-64), two rows of 30 and a memory of 50, uint8 and uint16 alike:
#   dtw, wdtw, erp, twe, adtw, squared, euclidean, lcss, edr    as of floats
#   manhattan, minkowski     1e20 instead of thousands: each difference below zero counts as 18446744073709551616 more
#   msm                      1e19; ddtw, wddtw: 1e38 (they look at differences of neighbours)
#   the nearest of 50        another one, with each of the five
# Nothing is said, neither there nor in the documentation. Signed types (int16, int64) are right. So: `row.astype(float)` before.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (500 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check 'aeon==1.6.0' 'numba==0.63.1' 'numpy==2.3.5'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from aeon import distances

RIGHT = ("dtw", "wdtw", "erp", "twe", "adtw", "squared", "euclidean", "lcss", "edr")
WRONG = ("manhattan", "minkowski", "msm", "ddtw", "wddtw")
random = np.random.default_rng(0)
passed = True
for kind, limit in ((np.uint8, 256), (np.uint16, 5000)):
    row, *memory = random.integers(0, limit, (51, 30))

    def distance(name, other, dtype):
        return float(getattr(distances, f"{name}_distance")(row.astype(dtype), other.astype(dtype)))

    def nearest(name, dtype):
        return int(np.argmin([distance(name, other, dtype) for other in memory]))

    print(kind.__name__)
    for name in RIGHT:
        passed &= np.isclose(distance(name, memory[0], kind), distance(name, memory[0], float))
    print("   as of floats:", *RIGHT, passed)
    for name in WRONG:
        found, signed, truth = (distance(name, memory[0], dtype) for dtype in (kind, np.int64, float))
        other = nearest(name, kind), nearest(name, float)
        print(f"   {name:10} {found:.3g} instead of {truth:.6g} (int64 {signed:.6g}); the nearest is {other[0]} instead of {other[1]}")
        passed &= found > 1e18 and truth < 1e9 and np.isclose(signed, truth) and other[0] != other[1]
sys.exit(not passed)
PYTHON
"$scratch/venv/bin/python" "$scratch/probe.py"
