#!/usr/bin/env bash
# Which frames are farther than some distance, where the distance of some is NaN: the same filter on a table and on its Parquet file.
#
# Guess: a filter gives the same rows whether the table lies in memory or in a file; and `> 5` does not find NaN.
# Seen with duckdb 2.0.1, polars 2.1.0, pyarrow 26.0.1, pandas 3.1.1 (PyPI; Python 3.11, x86-64), rows 1, NaN, 3:
#   distance > 5 in DuckDB, a table in memory         1 row: NaN is greater than every number (as it says)
#   distance > 5, a file that pyarrow, polars wrote   no row
#   distance > 2, the same file                       2 rows: 3, and now NaN too
#   distance > 5, a file that DuckDB wrote            1 row
#   Polars: in memory, any of the files               1 row
#   pyarrow's filters, pandas                         none; the greatest of the column is 3
#
# In DuckDB whether a NaN is found depends on what else is in its row group and on who wrote the file: where the statistics, which leave NaN
# out, say that nothing is greater, the group is skipped. So: `distance > 5 and not isnan(distance)`, or NULL for what is missing.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (420 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'duckdb==2.0.1' 'polars==2.1.0' 'pyarrow==26.0.1' 'pandas==3.1.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import math
import sys

import duckdb
import polars
import pyarrow
import pyarrow.parquet

rows = pyarrow.table({"distance": [1.0, math.nan, 3.0]})
pyarrow.parquet.write_table(rows, "pyarrow.parquet")
polars.from_arrow(rows).write_parquet("polars.parquet")
duckdb.sql("copy (select * from rows) to 'duckdb.parquet'")
FILES = ("pyarrow", "polars", "duckdb")


def by_duckdb(source, than):
    ((count,),) = duckdb.sql(f"select count(*) from {source} where distance > {than}").fetchall()
    return count


def by_polars(name, than):
    return polars.scan_parquet(f"{name}.parquet").filter(polars.col("distance") > than).collect().height


def by_pyarrow(name, than):
    return pyarrow.parquet.read_table(f"{name}.parquet", filters=[("distance", ">", than)]).num_rows


in_memory = polars.from_arrow(rows).filter(polars.col("distance") > 5).height
SEEN = [
    ("DuckDB, in memory, > 5 and > 2", [by_duckdb("rows", than) for than in (5, 2)], [1, 2]),
    ("DuckDB, files, > 5", [by_duckdb(f"'{name}.parquet'", 5) for name in FILES], [0, 0, 1]),
    ("DuckDB, files, > 2", [by_duckdb(f"'{name}.parquet'", 2) for name in FILES], [2, 2, 2]),
    ("Polars, in memory, > 5", in_memory, 1),
    ("Polars, files, > 5", [by_polars(name, 5) for name in FILES], [1, 1, 1]),
    ("pyarrow, files, > 5", [by_pyarrow(name, 5) for name in FILES], [0, 0, 0]),
    ("pandas, > 5 and the greatest", [int((rows.to_pandas().distance > 5).sum()), float(rows.to_pandas().distance.max())], [0, 3.0]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:34}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
