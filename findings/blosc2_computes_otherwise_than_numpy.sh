#!/usr/bin/env bash
# Arrays of recordings computed on while they are compressed, with Blosc2's NDArray and its expressions, which are written as NumPy's.
#
# Guess: an expression gives NumPy's numbers, within rounding, or raises (as it does for the bits of bytes).
# Seen with blosc2 4.14.1 and numpy 2.4.6 (PyPI; Python 3.11, x86-64):
#   angles -0.5 and -4 % tau                    -0.5 and -4 (right: 5.78 and 2.28): the sign of the dividend, as in C; likewise remainder, whole
#                                               numbers, and so the usual (x + pi) % tau - pi; yet x // y is rounded down as NumPy's
#   hypot of whole numbers 1 1, 2 2, 5 6        1 2 7 (right: 1.41 2.83 7.81); of floats right
#   a mask / 2                                  0 0 (right: 0.5 0); mask * 0.5 right
#   argmin of 3 NaN 1 2                         0, where 3 is (NumPy: 1, where NaN is); argmax 0; min of the same is NaN
#   bytes 200 100 / 100 250, (p + p).sum()      788, as in NumPy, where bytes wrap round
#   (p + p).sum(axis=0), max(axis=0)            600 700, 400 500: they do not wrap here (NumPy: 344 444, 200 244)
#   (p + p).std()                               129.9, that of what does not wrap, about mean() 197.0, that of what does (NumPy: 35.5)
# So: astype to a float or a wide whole number first, n.where for angles, or read with [:] and let NumPy compute.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (200 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'blosc2==4.14.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings

import blosc2
import numpy as np

warnings.filterwarnings("ignore")
TAU = 2 * np.pi
ANGLES, RANGES = np.array([-0.5, 4.0, -4.0, 7.0]), np.array([3.0, np.nan, 1.0, 2.0])
SIDES, OTHERS = np.array([1, 2, 5]), np.array([1, 2, 6])
PIXELS = np.array([[200, 100], [100, 250]], np.uint8)


def plain(found):
    found = found[()] if isinstance(found, (blosc2.LazyExpr, blosc2.NDArray)) else found
    return np.asarray(found).astype(float).round(2).ravel().tolist()


def both(function, *arrays):
    """What Blosc2 says, and what NumPy says."""
    return plain(function(blosc2, *map(blosc2.asarray, arrays))), plain(function(np, *arrays))


def wrapped(_library, angles):
    return (angles + np.pi) % TAU - np.pi


lengths, floats = [1.41, 2.83, 7.81], (SIDES.astype(float), OTHERS.astype(float))
SEEN = [
    ("angles % tau", both(lambda n, x: x % TAU, ANGLES), ([-0.5, 4.0, -4.0, 0.72], [5.78, 4.0, 2.28, 0.72])),
    ("remainder(angles, tau)", both(lambda n, x: n.remainder(x, TAU), ANGLES), ([-0.5, 4.0, -4.0, 0.72], [5.78, 4.0, 2.28, 0.72])),
    ("angles brought to -pi to pi", both(wrapped, ANGLES), ([-0.5, -2.28, -4.0, 0.72], [-0.5, -2.28, 2.28, 0.72])),
    ("-7 and 7 % 3", both(lambda n, x: x % 3, np.array([-7, 7])), ([-1.0, 1.0], [2.0, 1.0])),
    ("angles // 2", both(lambda n, x: x // 2, ANGLES), ([-1.0, 2.0, -2.0, 3.0],) * 2),
    ("hypot of whole numbers", both(lambda n, x, y: n.hypot(x, y), SIDES, OTHERS), ([1.0, 2.0, 7.0], lengths)),
    ("hypot of floats", both(lambda n, x, y: n.hypot(x, y), *floats), (lengths, lengths)),
    ("mask / 2", both(lambda n, x: x / 2, np.array([True, False])), ([0.0, 0.0], [0.5, 0.0])),
    ("mask * 0.5", both(lambda n, x: x * 0.5, np.array([True, False])), ([0.5, 0.0],) * 2),
    ("argmin beside NaN", both(lambda n, x: n.argmin(x), RANGES), ([0.0], [1.0])),
    ("argmax beside NaN", both(lambda n, x: n.argmax(x), RANGES), ([0.0], [1.0])),
    ("min beside NaN", str(both(lambda n, x: n.min(x), RANGES)), "([nan], [nan])"),
    ("(p + p).sum()", both(lambda n, x: (x + x).sum(), PIXELS), ([788.0],) * 2),
    ("(p + p).sum(axis=0)", both(lambda n, x: (x + x).sum(axis=0), PIXELS), ([600.0, 700.0], [344.0, 444.0])),
    ("(p + p).max(axis=0)", both(lambda n, x: (x + x).max(axis=0), PIXELS), ([400.0, 500.0], [200.0, 244.0])),
    ("(p + p).mean()", both(lambda n, x: (x + x).mean(), PIXELS), ([197.0],) * 2),
    ("(p + p).std()", both(lambda n, x: (x + x).std(), PIXELS), ([129.9], [35.48])),
    ("p.std()", both(lambda n, x: x.std(), PIXELS), ([64.95],) * 2),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
