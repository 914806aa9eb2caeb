#!/usr/bin/env bash
# How fast one clock runs against another, and what the nearest echo of a scan is, with Awkward Array, which holds scans of uneven length.
#
# Guess: `linear_fit` over stamps (1.7e9 s) is right to a millionth, or its error says that it is not; the least of a scan without an echo is None or
# NaN; softmax of finite numbers is finite and sums to 1.
# Seen with awkward 2.14.0 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), a clock that is 20 parts per million fast, at 10 Hz, without noise:
#   linear_fit, 10 s                            slope 0.0199 with an error of 0.005; right is 1.00002
#   a minute, ten minutes                       0.805, 0.998
#   an hour                                     1.0000212: 21 ppm
#   stamps from the first one on                1.0000200
#   var, covar, corr                            right
#   min, max of a scan of NaN only              inf, -inf: nothing near, nothing far; argmin 0; of an empty scan None; nanmin None
#   softmax of 700, 710; of -800, -801          0 and NaN; NaN and NaN (right: 0.00005 and 0.99995; 0.73 and 0.27). numpy warns of an overflow
# So: take off the first stamp before a fit, nanmin for scans, and the greatest number off before softmax.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (120 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'awkward==2.14.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import awkward as ak
import numpy as np


def slope(seconds, digits, start=1.7e9):
    ticks = np.arange(seconds * 10) * 0.1
    found = ak.linear_fit(start + ticks, ticks * (1 + 20e-6))
    return round(float(found.slope), digits)


def moments():
    stamps, device = 1.7e9 + np.arange(100) * 0.1, np.arange(100) * 0.1
    right = np.cov(stamps, device, bias=True)
    found = ak.var(stamps), ak.covar(stamps, device), ak.corr(stamps, device)
    return bool(np.allclose(found, (right[0, 0], right[0, 1], 1.0), rtol=1e-6))


ten = 1.7e9 + np.arange(100) * 0.1
scans = ak.Array([[2.0, np.nan, 5.0], [], [np.nan, np.nan]])


def softmax(*numbers):
    return np.round(ak.to_numpy(ak.softmax(ak.Array([list(numbers)]), axis=-1))[0], 5).tolist()


SEEN = [
    ("slope, 10 s", slope(10, 4), 0.0199),
    ("its error", round(float(ak.linear_fit(ten, np.arange(100) * 0.1 * (1 + 20e-6)).slope_error), 3), 0.005),
    ("a minute, ten minutes", [slope(60, 3), slope(600, 3)], [0.805, 0.998]),
    ("an hour", slope(3600, 7), 1.0000212),
    ("10 s, from the first stamp on", slope(10, 7, 0.0), 1.00002),
    ("var, covar, corr are right", moments(), True),
    ("min", ak.min(scans, axis=1).tolist(), [2.0, None, np.inf]),
    ("max", ak.max(scans, axis=1).tolist(), [5.0, None, -np.inf]),
    ("argmin", ak.argmin(scans, axis=1).tolist(), [0, None, 0]),
    ("nanmin", ak.nanmin(scans, axis=1).tolist(), [2.0, None, None]),
    ("softmax of 1, 2", softmax(1.0, 2.0), [0.26894, 0.73106]),
    ("softmax of 700, 710; -800, -801", str([softmax(700.0, 710.0), softmax(-800.0, -801.0)]), "[[0.0, nan], [nan, nan]]"),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:34}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
