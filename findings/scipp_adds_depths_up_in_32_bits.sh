#!/usr/bin/env bash
# The mean of a depth picture in whole millimetres, with scipp, which holds arrays with units.
#
# Guess: sums and means of int32 are as in NumPy, which adds them up in 64 bits, or an overflow is said.
# Seen with scipp 26.8.0 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), 480 x 640 pixels of 30000 mm as int32 (uint16 is refused):
#   mean                                        2037.97 mm; NumPy 30000
#   sum                                         626065408 (right: 9216000000)
#   cumsum, at the end                          626065408
#   sum along x, then the mean over y           1304302.93 (right: 19200000), though each sum fits
#   bins.mean(), bins.sum() of all in one bin   2037.97 and 626065408
#   int64, float64                              right
#   90 degrees as a whole number .to("rad")     2, as its documentation says: rounded
# Nothing is raised or logged. So: `.to(dtype="float64")` before anything is added up.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (200 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'scipp==26.8.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import scipp as sc

DEPTH = np.full((480, 640), 30000)


def picture(dtype):
    return sc.array(dims=["y", "x"], values=DEPTH.astype(dtype), unit="mm")


def binned(dtype):
    depths = sc.array(dims=["pixel"], values=DEPTH.ravel().astype(dtype), unit="mm")
    table = sc.DataArray(depths, coords={"x": sc.zeros(dims=["pixel"], shape=[DEPTH.size])})
    bins = table.bin(x=sc.array(dims=["x"], values=[-1.0, 1.0]))
    return [round(float(one.values[0]), 2) for one in (bins.bins.mean().data, bins.bins.sum().data)]


small = picture("int32")
SEEN = [
    (
        "mean, int32, int64, float64",
        [round(float(picture(one).mean().value), 2) for one in ("int32", "int64", "float64")],
        [2037.97, 30000.0, 30000.0],
    ),
    ("NumPy, int32", float(DEPTH.astype(np.int32).mean()), 30000.0),
    ("sum, int32, int64", [int(picture(one).sum().value) for one in ("int32", "int64")], [626065408, 9216000000]),
    ("cumsum, int32", int(sc.cumsum(small.flatten(to="pixel")).values[-1]), 626065408),
    ("sum along x, mean over y", round(float(small.sum("x").mean().value), 2), 1304302.93),
    ("mean, sum of a bin", binned("int32"), [2037.97, 626065408.0]),
    ("90 degrees in rad", int(sc.scalar(90, unit="deg").to(unit="rad").value), 2),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:32}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
