#!/usr/bin/env bash
# Columns of small whole numbers in Polars (bytes of a camera, encoder counts): sums and means across columns and down a column.
#
# Guess: `mean_horizontal` is the mean, as it gives float64 for whole numbers; sums are widened, as `sum` says of 8 and 16 bits, or stay in the
# type that they say.
# Seen with polars 2.1.0 (PyPI; Python 3.11, x86-64):
#   200, 100 in two columns of UInt8: mean_horizontal      22.0: the sum wraps round before it is divided
#   60000 twice, UInt16; 30000 twice, Int16                27232.0, -2768.0
#   2147483647 twice, Int32                                -1.0
#   one of the two columns of another type                 150.0: right
#   concat_list(...).list.mean(), transpose().mean()       150.0
#   sum_horizontal                                         44, in UInt8
#   sum, group_by, list.sum, cum_sum of UInt8              300, in Int64
#   sum of 2147483647 twice, Int32                         -2; its mean is right
#   dot of 100, 100 with itself, Int8                      32, called Int64; of Int8 with Float64 right
#
# Nothing is raised or logged; of all these only the widening of 8 and 16 bits in `sum` is in the documentation. So: cast to Float64 first.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (190 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'polars==2.1.0'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import polars as pl


def columns(kind, *values):
    return pl.DataFrame({f"column {i}": pl.Series([value], dtype=kind) for i, value in enumerate(values)})


def mean(kind, *values):
    return columns(kind, *values).mean_horizontal()[0]


BYTES, TALL = columns(pl.UInt8, 200, 100), pl.DataFrame({"v": pl.Series([200, 100], dtype=pl.UInt8), "g": [1, 1]})
COUNTS, HUNDREDS = pl.Series([2**31 - 1] * 2, dtype=pl.Int32), pl.Series([100, 100], dtype=pl.Int8)
SEEN = [
    ("UInt8, mean_horizontal", BYTES.mean_horizontal()[0], 22.0),
    ("its type", str(BYTES.mean_horizontal().dtype), "Float64"),
    ("as an expression", BYTES.select(mean=pl.mean_horizontal(pl.all()))["mean"][0], 22.0),
    ("UInt16, Int16", [mean(pl.UInt16, 60000, 60000), mean(pl.Int16, 30000, 30000)], [27232.0, -2768.0]),
    ("Int32", mean(pl.Int32, 2**31 - 1, 2**31 - 1), -1.0),
    ("UInt8 with UInt16", BYTES.with_columns(pl.last().cast(pl.UInt16)).mean_horizontal()[0], 150.0),
    ("concat_list, transpose", [BYTES.select(pl.concat_list(pl.all()).list.mean()).item(), BYTES.transpose().mean().item()], [150.0, 150.0]),
    ("sum_horizontal", BYTES.sum_horizontal()[0], 44),
    ("sum, cum_sum", [TALL["v"].sum(), TALL["v"].cum_sum()[1]], [300, 300]),
    ("group_by, list.sum", [TALL.group_by("g").agg(pl.col("v").sum())["v"][0], pl.Series([[200, 100]], dtype=pl.List(pl.UInt8)).list.sum()[0]], [300, 300]),
    ("Int32, sum", COUNTS.sum(), -2),
    ("Int32, mean", COUNTS.mean(), 2147483647.0),
    ("Int8, dot", HUNDREDS.dot(HUNDREDS), 32),
    ("Int8 with Float64, dot", HUNDREDS.dot(HUNDREDS.cast(pl.Float64)), 20000.0),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:28}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
