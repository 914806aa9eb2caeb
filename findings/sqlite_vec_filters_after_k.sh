#!/usr/bin/env bash
# Nearest neighbours in SQLite under a filter: which conditions of a WHERE clause act before the k nearest are chosen.
#
# Guess: `k = 10` gives the 10 nearest rows of those that fulfil the other conditions, or an error where that cannot be done.
# Seen with sqlite-vec 0.1.9 in SQLite 3.54 (apsw, PyPI; Python 3.11, x86-64), 1000 vectors, 99 of them with t > 900:
#   t > 900 (a metadata column beside a literal)   10 rows: before
#   t + 0 > 900, abs(t) > 900, t < 50 or t > 950   as many as happen to be among the 10 nearest of all: after, in silence
#   id > 900 (the table's own key)                 after as well; `id in (...)` acts before
#   s in (0, 1) on a partition key                 20 rows: 10 of each partition
#
# So: write each condition as `column operator literal`, one by one, and count what comes back.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (40 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'sqlite-vec==0.1.9' 'apsw==3.54.1.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import apsw
import numpy as np
import sqlite_vec

COUNT, K = 1000, 10
db = apsw.Connection(":memory:")
db.enable_load_extension(True)
db.load_extension(sqlite_vec.loadable_path())
db.execute("create virtual table v using vec0(id integer primary key, e float[4], t float, s integer partition key)")
# The first are the nearest to the origin.
for row in range(COUNT):
    vector = np.full(4, row, np.float32).tobytes()
    db.execute("insert into v(id, e, t, s) values (?, ?, ?, ?)", (row, vector, float(row), row % 3))


def found(condition):
    rows = db.execute(f"select id from v where e match ? and k = {K} and {condition}", (np.zeros(4, np.float32).tobytes(),))
    return len(list(rows))


SEEN = [
    ("t > 900", found("t > 900"), K),
    ("t > 900 and t < 905", found("t > 900 and t < 905"), 4),
    ("t + 0 > 900", found("t + 0 > 900"), 0),
    ("abs(t) > 900", found("abs(t) > 900"), 0),
    ("t < 5 or t > 950", found("(t < 5 or t > 950)"), 5),
    ("id > 900", found("id > 900"), 0),
    ("id in (901, 902, 903)", found("id in (select value from json_each('[901, 902, 903]'))"), 3),
    ("s in (0, 1)", found("s in (0, 1)"), 2 * K),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:30}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
