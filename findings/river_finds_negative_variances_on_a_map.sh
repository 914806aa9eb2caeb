#!/usr/bin/env bash
# How much a sensor's value scatters lately, one value after the other, with River: its exponentially weighted variance, and the scaler made of it.
#
# Guess: a variance is not negative and does not depend on where zero is, as `Var` of the same package; what AdaptiveStandardScaler gives neither.
# Seen with river 0.26.1 (PyPI; Python 3.11, x86-64), 500 values of noise, EWVar(0.1) after each:
#   noise of 1 around 0                         0.98; never negative
#   0.1 m around 5200 km (northing)             0 at the end, negative 125 times
#   0.01 m there                                -0.0078 at the end, negative 311 times
#   1e-6 degrees (0.1 m) around 47              0 at the end, negative 51 times
#   a second around 1.7e9 s (stamps)            -1024, negative 384 times
#   Var of all of them                          right to a tenth of itself or better
#   AdaptiveStandardScaler, 0.01 m at 5200 km   never beyond 0.4, where the same values around 0 go to 3
# The mean of the squares less the square of the mean eats the digits; `Var` goes another way. A threshold at three deviations never finds anything.
# Nothing is said. So: subtract the first value before.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (330 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'river==0.26.1' 'numpy==2.3.5'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from river import preprocessing, stats


def values(zero, spread):
    return [float(value) for value in zero + spread * np.random.default_rng(0).normal(size=500)]


def variances(zero, spread):
    """Whether the last weighted variance is within half to twice the true one, whether one was negative, and whether Var is right."""
    weighted, plain, negative = stats.EWVar(0.1), stats.Var(), 0
    for value in values(zero, spread):
        weighted.update(value)
        plain.update(value)
        negative += weighted.get() < 0
    return 0.5 < weighted.get() / spread**2 < 2, negative > 20, abs(plain.get() / spread**2 - 1) < 0.2


def furthest(zero, spread, scaler):
    found = 0.0
    for value in values(zero, spread):
        scaler.learn_one({"x": value})
        found = max(found, abs(scaler.transform_one({"x": value})["x"]))
    return found


def adaptive():
    return preprocessing.AdaptiveStandardScaler(fading_factor=0.1)


RIGHT, WRONG = (True, False, True), (False, True, True)
SEEN = [
    ("1 around 0", variances(0.0, 1.0), RIGHT),
    ("0.01 around 0", variances(0.0, 0.01), RIGHT),
    ("0.1 m around 5200 km", variances(5.2e6, 0.1), WRONG),
    ("0.01 m", variances(5.2e6, 0.01), WRONG),
    ("1e-6 degrees around 47", variances(47.0, 1e-6), WRONG),
    ("a second around 1.7e9 s", variances(1.7e9, 1.0), WRONG),
    ("scaler, around 0, beyond 2.5", furthest(0.0, 0.01, adaptive()) > 2.5, True),
    ("around 5200 km, beyond 0.5", furthest(5.2e6, 0.01, adaptive()) > 0.5, False),
    ("StandardScaler there, beyond 2.5", furthest(5.2e6, 0.01, preprocessing.StandardScaler()) > 2.5, True),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
