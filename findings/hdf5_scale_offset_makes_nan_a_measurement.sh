#!/usr/bin/env bash
# Depth pictures in HDF5 with its own lossy filter: `scaleoffset=3` keeps three decimals.
#
# Guess: a NaN (no echo) stays NaN, or is refused; whatever is finite stays within half a thousandth.
# Seen with h5py 3.16.0 (PyPI; Python 3.11, x86-64), values from 0.5 to 10 m in chunks of five rows:
#   finite values                       within 0.0005, as promised
#   NaN                                 0.5: the smallest value of its chunk, a close obstacle; no word of it
#   infinity                            stays; its chunk is then kept as it is
#   fill value NaN, 3 of 5 values written    the two that nobody wrote read 1.0, the smallest of the three
#   fill value -1, the same             they read -1
#
# So: store a mask beside the depth, or a number that no measurement has, before the filter.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (60 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'h5py==3.16.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings

import h5py
import numpy as np

warnings.simplefilter("ignore")
DEPTH = np.linspace(0.5, 10, 100, dtype=np.float32).reshape(10, 10)


def read_back(value):
    """What stands where the value was written, and the largest error of the others."""
    depth = DEPTH.copy()
    depth[3, 3] = value
    with h5py.File("depth.h5", "w") as file:
        file.create_dataset("depth", data=depth, chunks=(5, 10), scaleoffset=3)
    with h5py.File("depth.h5") as file:
        found = file["depth"][:]
    others = np.abs(found - DEPTH)
    others[3, 3] = 0
    return str(found[3, 3]), bool(others.max() <= 0.0005)


def partly_written(fill):
    with h5py.File("part.h5", "w") as file:
        values = file.create_dataset("v", (5,), np.float32, chunks=(5,), scaleoffset=3, fillvalue=fill)
        values[:3] = [1, 2, 3]
    with h5py.File("part.h5") as file:
        return str(file["v"][:].tolist())


SEEN = [
    ("2.0: found, others within 0.0005", read_back(2.0), ("2.0", True)),
    ("NaN: found, others within 0.0005", read_back(np.nan), ("0.5", True)),
    ("infinity: found, others within 0.0005", read_back(np.inf), ("inf", True)),
    ("3 of 5 written, fill value NaN", partly_written(np.nan), "[1.0, 2.0, 3.0, 1.0, 1.0]"),
    ("3 of 5 written, fill value -1", partly_written(-1), "[1.0, 2.0, 3.0, -1.0, -1.0]"),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:52}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
