#!/usr/bin/env bash
# Embeddings, scores and codes in NumPy as bfloat16, float8 and int4 (ml_dtypes, which JAX, ONNX and safetensors' readers bring): one of them is NaN.
#
# Guess: NumPy's functions mean the same of these types as of float16 and int8, coarser; NaN sorts to the end, the nan-functions leave it out.
# Seen with ml_dtypes 0.6.0 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), 5, NaN, 1, 4, NaN, 2, 3:
#   sort, float16                   1, 2, 3, 4, 5, NaN, NaN
#   bfloat16, float8                5, NaN, 1, 4, NaN, 2, 3: as it was; argsort 0, 1, 2, ...
#   the two nearest by argsort or argpartition    a distance of 5 and NaN; by float16: 1 and 2
#   unique, median                  seven values; 4 (float16: six; NaN)
#   nanargmin, nanmean              1, the place of NaN itself; NaN (float16: 2; 3)
#   nanmax, nanmin                  right
#   five sevens as int4             sum 3, mean 0, std 1; as int8: 35, 7, 0
#   a depth picture of 2 m, bfloat16    mean 0.0017 m; the median right; float16's mean 2 m
# Comparing two numbers one of which is NaN says "neither less", which the types' own comparison for sorting keeps; sums go in the type itself (known to its
# authors; NumPy takes float16 to float32 for a mean). The types' documentation has none of it, and nothing is said. So: `.astype(np.float32)` first.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (120 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'ml_dtypes==0.6.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings

import ml_dtypes
import numpy as np

warnings.simplefilter("ignore")
DISTANCES = np.array([5, np.nan, 1, 4, np.nan, 2, 3], np.float32)
TYPES = (ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fn)
AS_IT_WAS = ["5.0", "nan", "1.0", "4.0", "nan", "2.0", "3.0"]


def texts(values):
    return [str(float(one)) for one in np.ravel(values)]


def of(ask, types=TYPES):
    """What is said for each type: once where they agree."""
    said = [ask(DISTANCES.astype(one)) for one in types]
    return said[0] if all(one == said[0] for one in said) else said


def in_half(ask):
    return ask(DISTANCES.astype(np.float16))


def ordered(values):
    return texts(np.sort(values))


def two_nearest(values):
    return [texts(values[find(values)[:2]]) for find in (np.argsort, lambda v: np.argpartition(v, 2))]


def kinds(values):
    return len(np.unique(values))


def median(values):
    return str(float(np.median(values)))


def nan_functions(values):
    return int(np.nanargmin(values)), str(float(np.nanmean(values))), float(np.nanmax(values)), float(np.nanmin(values))


def five_sevens(kind):
    values = np.full(5, 7, np.int8).astype(kind)
    return int(values.sum()), int(values.mean()), int(values.std())


def depth(kind):
    picture = np.full((480, 640), 2.0, kind)
    return round(float(picture.mean()), 4), float(np.median(picture))


SEEN = [
    ("sort, float16", in_half(ordered), ["1.0", "2.0", "3.0", "4.0", "5.0", "nan", "nan"]),
    ("bfloat16, float8", of(ordered), AS_IT_WAS),
    ("two nearest, float16", in_half(two_nearest), [["1.0", "2.0"], ["1.0", "2.0"]]),
    ("bfloat16, float8", of(two_nearest), [["5.0", "nan"], ["5.0", "nan"]]),
    ("unique, float16", in_half(kinds), 6),
    ("bfloat16, float8", of(kinds), 7),
    ("median, float16", in_half(median), "nan"),
    ("bfloat16, float8", of(median), "4.0"),
    ("nanargmin, -mean, -max, -min, float16", in_half(nan_functions), (2, "3.0", 5.0, 1.0)),
    ("bfloat16, float8", of(nan_functions), (1, "nan", 5.0, 1.0)),
    ("five sevens, int8: sum, mean, std", five_sevens(np.int8), (35, 7, 0)),
    ("int4", five_sevens(ml_dtypes.int4), (3, 0, 1)),
    ("depth of 2 m, float16: mean, median", depth(np.float16), (2.0, 2.0)),
    ("bfloat16", depth(ml_dtypes.bfloat16), (0.0017, 2.0)),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
