#!/usr/bin/env bash
# Finding the frames in which a robot stands still (speed 0) in Vortex files and in Daft, where a controller wrote -0.0, as -1 * 0.0 and rounding do.
#
# Guess: -0.0 equals 0.0 and is not below it, as IEEE 754 says and as NumPy, pyarrow and Lance have it.
# Seen with vortex-data 0.93.0, daft 0.7.26, pylance 14.0.2, judged by numpy 2.4.6 (PyPI; Python 3.11, x86-64), speeds 0.0, -0.0, 1, -1, NaN, infinity:
#   x == 0                            Vortex and Daft 0.0 alone; Lance and pyarrow both zeros
#   x != 0                            Vortex and Daft -0.0 too: it is said to move
#   x < 0                             Vortex and Daft -0.0 too: it is said to go backwards
#   x >= 0                            Vortex and Daft leave -0.0 out
#   a Vortex file as a pyarrow        as Vortex: one filter, two answers by the format of the file
#   dataset, field("x") == 0
#   Daft: is_in([0.0]), a join on x   0.0 alone
#   Daft: distinct, groupby           0.0 and -0.0 are two values
#   Daft: sort                        0.0 before -0.0 if it came before: there they are equal
#   x > 0                             NaN too, in Vortex, Daft and Lance; not in pyarrow
# They compare by IEEE 754's total order, as arrow-rs chose to; the docstrings of their == and < do not say so. Adding 0.0 in Daft changes
# nothing; NumPy makes a plain zero of it so. So: abs(x) == 0 or abs(x) < a limit, or x + 0.0 in NumPy before writing.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (700 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'vortex-data==0.93.0' 'daft==0.7.26' 'pylance==14.0.2' 'numpy==2.4.6' 'pyarrow==25.0.1'

cat >"$scratch/probe.py" <<'PYTHON'
import operator
import sys

import daft
import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import vortex
import vortex.expr
from daft import col

SPEEDS = np.array([0.0, -0.0, 1.0, -1.0, np.nan, np.inf])
TABLE = pa.table({"x": SPEEDS, "row": range(6)})
WAYS = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, ">=": operator.ge, ">": operator.gt}
vortex.io.write(vortex.array(TABLE), "speeds.vortex")
FILE, LANCE = vortex.open("speeds.vortex"), lance.write_dataset(TABLE, "speeds.lance")


def rows(table):
    return sorted(table["row"].to_pylist())


def answers(way):
    """Rows by NumPy, pyarrow, Lance, Vortex, Vortex through pyarrow, Daft."""
    compare = WAYS[way]
    by_field = compare(pc.field("x"), pa.scalar(0.0))
    return [
        np.flatnonzero(compare(SPEEDS, 0.0)).tolist(),
        rows(pads.dataset(TABLE).to_table(filter=by_field)),
        rows(LANCE.to_table(filter=f"x {way} 0.0")),
        rows(FILE.to_arrow(expr=compare(vortex.expr.column("x"), 0.0)).read_all()),
        rows(FILE.to_dataset().to_table(filter=by_field)),
        sorted(daft.from_arrow(TABLE).where(compare(col("x"), 0.0)).to_pydict()["row"]),
    ]


FRAME = daft.from_arrow(TABLE)
REST = daft.from_pydict({"x": [0.0]})
ONE, BOTH, MOVES, MORE = [0], [0, 1], [2, 3, 4, 5], [1, 2, 3, 4, 5]
SEEN = [
    ("x == 0", answers("="), [BOTH, BOTH, BOTH, ONE, ONE, ONE]),
    ("x != 0", answers("!="), [MOVES, MOVES, MOVES, MORE, MORE, MORE]),
    ("x < 0", answers("<"), [[3], [3], [3], [1, 3], [1, 3], [1, 3]]),
    ("x >= 0", answers(">="), [[0, 1, 2, 5], [0, 1, 2, 5], [0, 1, 2, 4, 5], [0, 2, 4, 5], [0, 2, 4, 5], [0, 2, 4, 5]]),
    ("x > 0", answers(">"), [[2, 5], [2, 5], [2, 4, 5], [2, 4, 5], [2, 4, 5], [2, 4, 5]]),
    ("Daft, is_in", FRAME.where(col("x").is_in([0.0])).to_pydict()["row"], ONE),
    ("Daft, join", FRAME.join(REST, on="x").to_pydict()["row"], ONE),
    ("Daft, distinct", FRAME.select("x").distinct().count_rows(), 6),
    ("Daft, groupby", FRAME.groupby("x").agg(col("row").count()).count_rows(), 6),
    ("Daft, sort", FRAME.sort("x").to_pydict()["row"][:3], [3, 0, 1]),
    ("and the other way round", daft.from_arrow(TABLE.take([1, 0, 3])).sort("x").to_pydict()["row"], [3, 1, 0]),
    ("Daft, x + 0.0 == 0", FRAME.where(col("x") + 0.0 == 0.0).to_pydict()["row"], ONE),
    ("Daft, abs(x) == 0", FRAME.where(col("x").abs() == 0.0).to_pydict()["row"], BOTH),
    ("NumPy, -0.0 + 0.0 has no sign", bool(np.signbit(np.float64(-0.0) + 0.0)), False),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
