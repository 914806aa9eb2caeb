#!/usr/bin/env bash
# Frames in LanceDB by their stamp, timestamp[ns] as ROS and pandas have it: what a literal in a filter is compared as.
#
# Guess: `ts > timestamp '... .123456790'` compares nine digits, as the column has them and as DuckDB does with a literal of its nanosecond type; or
# a literal that is too fine is refused.
# Seen with lancedb 0.40.0 and pyarrow 26.0.1 (PyPI; Python 3.11, x86-64), rows at ...789, ...790, ...7000 ns and so on, all stored exactly:
#   ts = timestamp '... .123456790'              no row: the literal becomes .123456000
#   ts > the same                                all rows, those at and before it as well
#   ts <= the same                               none; `delete` with it deletes nothing and says so to nobody
#   ts between one row's stamp and the next      none
#   = on a column of milliseconds                .123456790 equals .123: cut to the column's unit, so `>=` finds what is earlier
#   ts = cast('... .123456790' as timestamp(9)), one row: right
#   to_timestamp_nanos(1700000000123456790)
#   the stamp as int64                           right
#
# Nothing is raised or logged. So: stamps as int64, or one of the two forms above; never the plain literal.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (420 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'lancedb==0.40.0' 'pyarrow==26.0.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import lancedb
import numpy as np
import pyarrow as pa

STAMPS = 1_700_000_000_123_456_789 + np.array([0, 1, 211, 1000, 1211, 5000])
SECOND = "timestamp '2023-11-14 22:13:20.123456790'"
FIRST = SECOND.replace("790", "789")
columns = {
    "row": pa.array(np.arange(6)),
    "t": pa.array(STAMPS),
    "ts": pa.array(STAMPS, pa.timestamp("ns")),
    "ms": pa.array(STAMPS // 1_000_000, pa.timestamp("ms")),
    "vector": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(12, np.float32)), 2),
}
table = lancedb.connect("frames").create_table("frames", pa.table(columns))


def rows(condition):
    return sorted(one["row"] for one in table.search().where(condition).select(["row"]).limit(100).to_list())


ALL = [0, 1, 2, 3, 4, 5]
SEEN = [
    ("stored exactly", table.to_arrow()["ts"].cast("int64").to_pylist() == STAMPS.tolist(), True),
    ("ts = the second row's stamp", rows(f"ts = {SECOND}"), []),
    ("ts > it", rows(f"ts > {SECOND}"), ALL),
    ("ts <= it", rows(f"ts <= {SECOND}"), []),
    ("ts between the first's and the second's", rows(f"ts between {FIRST} and {SECOND}"), []),
    ("milliseconds = it", rows(f"ms = {SECOND}"), ALL),
    ("milliseconds >= it", rows(f"ms >= {SECOND}"), ALL),
    ("ts = cast(... as timestamp(9))", rows("ts = cast('2023-11-14 22:13:20.123456790' as timestamp(9))"), [1]),
    ("ts = to_timestamp_nanos(...)", rows("ts = to_timestamp_nanos(1700000000123456790)"), [1]),
    ("t = 1700000000123456790", rows("t = 1700000000123456790"), [1]),
]
table.delete(f"ts <= {SECOND}")
SEEN.append(("rows left after deleting up to it", table.count_rows(), 6))
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
