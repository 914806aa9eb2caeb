#!/usr/bin/env bash
# A cloud with labels or intensities written as PLY and read again, with pyntcloud: which types of a column come through.
#
# Guess: what PLY has a name for (8, 16, 32 bits, float, double) comes back as it was; 64-bit whole numbers are refused or made 32.
# Seen with pyntcloud 0.3.1 and plyfile 1.1.5 (PyPI; Python 3.11, x86-64), points (0, 1, 2), (3, 4, 5), ..., one more column, in binary, the default:
#   uint8, int32, float32                        come back
#   float64                                      comes back as float32
#   int64, as pandas makes it of a list          the first point's place is right; the second's is (0, 3, 4), the others' are lost
#   uint16 (a lidar's intensity), int16          the same; so int8, uint32, uint64
#   plyfile on the same file                     as pyntcloud: it is the file that is wrong (int8, int16: too short, it says)
#   the header                                   "property int" for every signed, "property uchar" for every unsigned number
#   as_text=True                                 places are right; unsigned above 255 come back otherwise (30000 as 48)
# Nothing is raised in writing or in reading. So: `.astype("int32")` or "uint8" for each column before to_file.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (280 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pyntcloud==0.3.1' 'plyfile==1.1.5' 'numpy==2.4.6' 'pandas==2.3.3' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from plyfile import PlyData, PlyElementParseError
from pyntcloud import PyntCloud

warnings.simplefilter("ignore")
PLACES, LABELS = np.arange(12.0).reshape(4, 3), [1, 2, 100, 120]


def written(kind, values=None, **how):
    table = pd.DataFrame(PLACES, columns=["x", "y", "z"])
    cloud = PyntCloud(table)
    cloud.points["label"] = np.array(LABELS if values is None else values, dtype=kind) if kind else (values or LABELS)
    cloud.to_file("cloud.ply", **how)
    return cloud.points["label"].dtype.name


def back(kind, values=None, **how):
    """Whether places come back, whether labels do, and as what."""
    written(kind, values, **how)
    points = PyntCloud.from_file("cloud.ply").points
    same = bool(np.array_equal(points[["x", "y", "z"]], PLACES))
    return same, bool(np.array_equal(points["label"], LABELS if values is None else values)), points["label"].dtype.name


def second(kind):
    written(kind)
    return PyntCloud.from_file("cloud.ply").points[["x", "y", "z"]].to_numpy()[:2].round(3).tolist()


def header(kind):
    written(kind)
    return next(line for line in Path("cloud.ply").read_bytes().split(b"\n") if line.endswith(b" label")).decode().split()[1]


def by_plyfile(kind):
    """Whether plyfile reads the same places; None where it finds the file too short."""
    written(kind)
    try:
        vertex = PlyData.read("cloud.ply")["vertex"]
    except PlyElementParseError:
        return None
    return bool(np.array_equal(np.column_stack([vertex["x"], vertex["y"], vertex["z"]]), PLACES))


def text_of(kind, values):
    written(kind, values, as_text=True)
    return PyntCloud.from_file("cloud.ply").points["label"].tolist()


WRONG = ("int8", "int16", "uint16", "uint32", "int64", "uint64")
SEEN = [
    ("uint8", back("uint8"), (True, True, "uint8")),
    ("int32", back("int32"), (True, True, "int32")),
    ("float32", back("float32"), (True, True, "float32")),
    ("float64", back("float64"), (True, True, "float32")),
    ("a list, in pandas", written(None), "int64"),
    ("the first two points, int64", second("int64"), [[0.0, 1.0, 2.0], [0.0, 3.0, 4.0]]),
    ("places right", [back(kind)[0] for kind in WRONG], [False] * 6),
    ("plyfile: places right", [by_plyfile(kind) for kind in ("uint8", "int32", *WRONG)], [True, True, None, None, False, False, False, False]),
    ("header", [header(kind) for kind in WRONG], ["int", "int", "uchar", "uchar", "int", "uchar"]),
    ("text, int64", back("int64", as_text=True), (True, True, "int32")),
    ("text, uint16, places", back("uint16", [1, 2, 300, 30000], as_text=True)[0], True),
    ("and values", text_of("uint16", [1, 2, 300, 30000]), [1, 2, 44, 48]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
