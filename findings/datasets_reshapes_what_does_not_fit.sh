#!/usr/bin/env bash
# A robot's recordings as a Hugging Face dataset (the form of LeRobot's): shapes that features declare, and stamps by `with_format("numpy")`.
#
# Guess: an array whose shape is not the declared one is refused; a column of float64 is read as float64, the same in a row as in a batch.
# Seen with datasets 5.2.0 and numpy 2.4.6 (PyPI; Python 3.11, x86-64):
#   Array2D((2, 3)), given 3 x 2                      taken, and read as 2 x 3: 0 1 / 2 3 / 4 5 is 0 1 2 / 3 4 5
#   Array3D((4, 5, 3)), a picture of [3, H, W]        likewise: a red picture becomes one of red, black rows
#   Array2D((2, 3)), two rows of 2 x 4                ValueError, when it is read
#   float64 stamps, row: dataset[0]["t"]              exact
#   the same in a batch: dataset[:]["t"]              float32: up to a minute off
#   in a list, an Array2D                             float32, in the row as well
#   whole nanoseconds beside a missing one, [:]       float32, off by half a minute; [0] exact
#   with_format("numpy", dtype=np.float64)            float64 everywhere
#
# The file holds float64; its documentation says that numbers are float32 "by default" for PyTorch and others, rows differ all the same. Nothing
# is raised or logged. So: compare shapes before adding, and name the dtype.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (480 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'datasets==5.2.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import os
import sys

os.environ["HF_DATASETS_OFFLINE"] = "1"
import numpy as np
from datasets import Array2D, Array3D, Dataset, Features, List, Value

STAMPS = [1_700_000_000.123456, 1_700_000_031.5]


def as_numpy(values, feature, **how):
    return Dataset.from_dict({"t": values}, features=Features({"t": feature})).with_format("numpy", **how)


def off(found, wanted):
    """Kind of the numbers and whether they are more than a second away."""
    found = np.asarray(found)
    return str(found.dtype), bool(np.nanmax(np.abs(found.astype(np.float64) - np.asarray(wanted))) > 1.0)


def refused(what):
    try:
        what()
    except ValueError:
        return True
    return False


red = np.zeros((3, 4, 5), np.uint8)
red[0] = 255
picture = as_numpy([red], Array3D((4, 5, 3), "uint8"))[0]["t"]
scalars, lists = as_numpy(STAMPS, Value("float64")), as_numpy([STAMPS], List(Value("float64")))
whole = as_numpy([1_700_000_050_123_456_789, None], Value("int64"))
named = as_numpy(STAMPS, Value("float64"), dtype=np.float64)
SEEN = [
    ("3 x 2 as Array2D((2, 3))", as_numpy([np.arange(6).reshape(3, 2)], Array2D((2, 3), "int64"))[0]["t"].tolist(), [[0, 1, 2], [3, 4, 5]]),
    ("a red [3, H, W] as (H, W, 3): is red", [bool((row == [255, 0, 0]).all()) for row in picture], [False] * 4),
    ("its first and last pixels", [picture[0, 0].tolist(), picture[3, 4].tolist()], [[255, 255, 255], [0, 0, 0]]),
    ("two of 2 x 4 refused", refused(lambda: as_numpy([np.ones((2, 4))] * 2, Array2D((2, 3), "float32"))[:]), True),
    ("float64, a row", off(scalars[1]["t"], STAMPS[1]), ("float64", False)),
    ("float64, a batch", off(scalars[:]["t"], STAMPS), ("float32", True)),
    ("float64 in a list, a row", off(lists[0]["t"], STAMPS), ("float32", True)),
    ("float64 in Array2D, a row", off(as_numpy([[STAMPS]], Array2D((1, 2), "float64"))[0]["t"], STAMPS), ("float32", True)),
    ("nanoseconds, a row", off(whole[0]["t"], 1_700_000_050_123_456_789), ("int64", False)),
    ("nanoseconds and None, a batch", str(whole[:]["t"].dtype), "float32"),
    ("the same, more than a second off", off(whole[:]["t"].astype(np.float64)[:1] / 1e9, 1_700_000_050.123456789)[1], True),
    ("dtype named, a row and a batch", [off(named[1]["t"], STAMPS[1]), off(named[:]["t"], STAMPS)], [("float64", False)] * 2),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:42}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
