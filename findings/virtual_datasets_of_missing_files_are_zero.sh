#!/usr/bin/env bash
# Episodes in HDF5 files of their own, joined to one array by a virtual dataset.
#
# Guess: an episode whose file is not there (or no longer holds the dataset) makes reading fail.
# Seen with h5py 3.16.0 (PyPI; Python 3.11, x86-64), three episodes of two rewards, 1, 2 and 3:
#   all there                            1 1 2 2 3 3
#   the second file is gone              1 1 0 0 3 3: a fill value, by default 0; no word of it, and shape and type as before
#   its dataset was renamed              1 1 0 0 3 3
#   VirtualLayout filled with NaN        1 1 nan nan 3 3 (`create_virtual_dataset(..., fillvalue=math.nan)`)
#   it has become one row                OSError
#   int32 behind a uint8 layout          300 is read as 255
#
# So: give a fill value that no measurement has, and go through `virtual_sources()` for files that are not there.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (60 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'h5py==3.16.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import math
import sys
from pathlib import Path

import h5py
import numpy as np


def episodes():
    for number in (1, 2, 3):
        with h5py.File(f"{number}.h5", "w") as file:
            file["reward"] = np.full(2, number, np.float32)
            file["step"] = np.full(2, 150 * number, np.int32)


def joined(name, kind, **more):
    layout = h5py.VirtualLayout((6,), kind)
    for number in (1, 2, 3):
        layout[2 * number - 2 : 2 * number] = h5py.VirtualSource(f"{number}.h5", name, (2,))
    with h5py.File("all.h5", "w") as file:
        file.create_virtual_dataset(name, layout, **more)


def read(name):
    with h5py.File("all.h5") as file:
        try:
            return file[name][:].tolist()
        except OSError:
            return "OSError"


def after(change, **more):
    """What a reader sees of the rewards once the second episode's file is changed."""
    episodes()
    joined("reward", np.float32, **more)
    change(Path("2.h5"))
    return str(read("reward"))


def renamed(path):
    with h5py.File(path, "r+") as file:
        file.move("reward", "rewards")


def shorter(path):
    with h5py.File(path, "w") as file:
        file["reward"] = np.full(1, 2, np.float32)


episodes()
joined("step", np.uint8)
steps = read("step")
SEEN = [
    ("all there", after(lambda path: None), "[1.0, 1.0, 2.0, 2.0, 3.0, 3.0]"),
    ("a file is gone", after(Path.unlink), "[1.0, 1.0, 0.0, 0.0, 3.0, 3.0]"),
    ("a dataset was renamed", after(renamed), "[1.0, 1.0, 0.0, 0.0, 3.0, 3.0]"),
    ("a file is gone, fill value NaN", after(Path.unlink, fillvalue=math.nan), "[1.0, 1.0, nan, nan, 3.0, 3.0]"),
    ("it has one row", after(shorter), "OSError"),
    ("int32 behind uint8", steps, [150, 150, 255, 255, 255, 255]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:36}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
