#!/usr/bin/env bash
# How to get the [rows, size] array out of a Parquet column of vectors (actions, states), and rows by their time.
#
# Guess: `column.flatten()` of a list column, reshaped to its size, is the array, as is `.values`; a row that is missing is
# a row of nothing in it; and a filter `timestamp == 0.3` finds the row that was written with 0.3.
# Seen with pyarrow 26.0.1 (PyPI; Python 3.11, x86-64), three rows of which the second is null:
#   flatten() of list and fixed_size_list      leaves the null row out: 2 rows, the third stands where the second belongs
#   .values of a fixed_size_list               3 rows, the null one as nulls: what is wanted
#   .values of a list                          2 rows
#   .values after slice(2)                     all rows again: the slice is forgotten; flatten() keeps to it
#   to_numpy() of the column                   an object array of arrays and a None, in both
#   timestamp == 0.3 on float32                nothing: the column's 0.3 is 0.30000001192...; 0.5 is found
# So: take rows as Python lists or check null_count first; compare times with a tolerance.
#
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (150 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check 'pyarrow==26.0.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

rows = [[1.0, 2.0], None, [3.0, 4.0]]
times = np.arange(12, dtype=np.float32) / np.float32(10)
pq.write_table(pa.table({"fixed": pa.array(rows, pa.list_(pa.float32(), 2)), "list": pa.array(rows, pa.list_(pa.float32()))}), "v")
pq.write_table(pa.table({"timestamp": times}), "t")
table = pq.read_table("v")
fixed, listed = (table[name].combine_chunks() for name in ("fixed", "list"))


def with_time(value):
    return pq.read_table("t", filters=[("timestamp", "==", value)]).num_rows


SEEN = [
    ("fixed.flatten()", fixed.flatten().to_pylist(), [1.0, 2.0, 3.0, 4.0]),
    ("list.flatten()", listed.flatten().to_pylist(), [1.0, 2.0, 3.0, 4.0]),
    ("fixed.values", fixed.values.to_pylist(), [1.0, 2.0, None, None, 3.0, 4.0]),
    ("list.values", listed.values.to_pylist(), [1.0, 2.0, 3.0, 4.0]),
    ("fixed.slice(2).values", fixed.slice(2).values.to_pylist(), [1.0, 2.0, None, None, 3.0, 4.0]),
    ("list.slice(2).values", listed.slice(2).values.to_pylist(), [1.0, 2.0, 3.0, 4.0]),
    ("fixed.slice(2).flatten()", fixed.slice(2).flatten().to_pylist(), [3.0, 4.0]),
    ("to_numpy() is of objects", [str(c.to_numpy(zero_copy_only=False).dtype) for c in (fixed, listed)], ["object"] * 2),
    ("rows with timestamp == 0.3, 0.5", [with_time(0.3), with_time(0.5)], [0, 1]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:34}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py"
