#!/usr/bin/env bash
# The nearest and the farthest of a scan's ranges, by frame, in Daft, where a ray has no return (NaN): list_min, list_max, and min and max of groups.
#
# Guess: a missing range is passed over, or makes the answer NaN; which of the two does not depend on where it stands, and no answer is wrong.
# Seen with daft 0.7.26, judged by numpy 2.4.6 (PyPI; Python 3.11, x86-64):
#   list_min of (1, 3, NaN), (1, NaN, 3), (NaN, 1, 3)     NaN, 3, 1
#   list_max of (3, 1, NaN), (3, NaN, 1), (NaN, 3, 1)     NaN, 1, 3
#   1000 scans of 64 ranges, one of them missing, in      nearest wrong (a number that is too large) in 48 %, farthest in 46 %, NaN in 1 %
#   a place of its own
#   the same by rows: groupby("scan"), min and max        the same numbers
#   fixed_size_list, float32                              the same
#   ungrouped, df.agg(x.min(), x.max())                   1 and NaN of (1, NaN, 3): NaN is the greatest there
#   null instead of NaN                                   right everywhere
# What stands before the last NaN is forgotten; nothing is said. A robot takes the wall behind for the nearest one. So: null for a missing range, or
# `.fill_nan` first.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (330 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'daft==0.7.26' 'numpy==2.4.6' 'pyarrow==25.0.1'

cat >"$scratch/probe.py" <<'PYTHON'
import itertools
import sys

import daft
import numpy as np
import pyarrow as pa
from daft import col
from daft.functions import list_max, list_min

NAN = float("nan")
ORDERS = [list(order) for order in itertools.permutations((1.0, 3.0, NAN))]
RANDOM = np.random.default_rng(0)
SCANS = RANDOM.uniform(1, 30, (1000, 64))
SCANS[np.arange(1000), RANDOM.integers(0, 64, 1000)] = np.nan


def of_lists(rows, kind):
    frame = daft.from_arrow(pa.table({"x": pa.array(rows, kind)}))
    return frame.select(list_min(col("x")).alias("low"), list_max(col("x")).alias("high")).to_pydict()


def of_groups(rows):
    frame = daft.from_arrow(pa.table({"scan": range(len(rows)), "x": pa.array(rows, pa.list_(pa.float64()))})).explode("x")
    return frame.groupby("scan").agg(col("x").min().alias("low"), col("x").max().alias("high")).sort("scan").to_pydict()


def shares(found):
    """Percent of scans whose nearest is a wrong number, whose farthest is, and whose nearest is NaN."""
    low, high = np.array(found["low"], float), np.array(found["high"], float)
    nearest, farthest = np.nanmin(SCANS, 1), np.nanmax(SCANS, 1)
    wrong = (low != nearest) & ~np.isnan(low), (high != farthest) & ~np.isnan(high), np.isnan(low)
    return [round(100 * float(which.mean())) for which in wrong]


def said(found):
    return [str(value) for value in found["low"]], [str(value) for value in found["high"]]


def ungrouped():
    frame = daft.from_pydict({"x": [1.0, NAN, 3.0]})
    return said(frame.agg(col("x").min().alias("low"), col("x").max().alias("high")).to_pydict())


DOUBLE = pa.list_(pa.float64())
SIX = (["nan", "3.0", "nan", "1.0", "1.0", "1.0"], ["nan", "3.0", "nan", "1.0", "3.0", "3.0"])
NULLS = [[None if np.isnan(value) else value for value in row] for row in ORDERS]
WRONG = shares(of_lists(SCANS.tolist(), DOUBLE))
SEEN = [
    ("lists, six orders of 1, 3 and NaN", said(of_lists(ORDERS, DOUBLE)), SIX),
    ("fixed_size_list", said(of_lists(ORDERS, pa.list_(pa.float64(), 3))), SIX),
    ("float32", said(of_lists(ORDERS, pa.list_(pa.float32()))), SIX),
    ("groups", said(of_groups(ORDERS)), SIX),
    ("null", said(of_lists(NULLS, DOUBLE)), (["1.0"] * 6, ["3.0"] * 6)),
    ("ungrouped, 1, NaN, 3", ungrouped(), (["1.0"], ["nan"])),
    ("scans, percent wrong, wrong, NaN", WRONG, [48, 46, 1]),
    ("scans by rows", shares(of_groups(SCANS.tolist())), WRONG),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
