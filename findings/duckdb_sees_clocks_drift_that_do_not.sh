#!/usr/bin/env bash
# How fast one clock runs away from another, and how two signals go together, from recorded stamps in DuckDB: regr_slope, regr_r2, corr.
#
# Guess: double-precision statistics over stamps (1.7e9 s) are right to a millionth of what they are, as NumPy's are once the mean is taken off; r2
# is 1 at most.
# Seen with duckdb 2.0.1 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), a device that counts from 0, 20 parts per million too fast, without noise:
#   regr_slope, 10 s at 10 Hz, 60 s at 10 Hz,    19.0 ppm
#   an hour at 10 Hz
#   10 s and 60 s at 100 Hz                      21.0 ppm (by hand: 20.0 in each)
#   a device that does not drift                 1.0 ppm too slow or too fast: 80 ms in a day
#   regr_intercept                               off by some 1600 s (what the device would have said in 1970)
#   regr_r2 at 100 Hz                            above 1: 1.000000003
#   var_pop and covar_pop of the stamps          off by 2 and 1 millionths: more rows do not help
#   stamps from the recording's start on         20.0 ppm, right
# So: take the first stamp off in the query (x - (select min(x) ...)) before any such function.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (160 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'duckdb==2.0.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import duckdb
import numpy as np

START, FAST = 1.7e9, 20e-6
rows = duckdb.connect()


def asked(what, seconds, rate, drift=FAST, start=START):
    """The answer over a host's stamps x and a device's stamps y, which count from 0."""
    elapsed = START + np.arange(seconds * rate) / rate - START
    stamps = (start + elapsed, elapsed * (1 + drift))
    rows.execute("create or replace table clocks as select unnest($x) as x, unnest($y) as y", dict(zip("xy", map(np.ndarray.tolist, stamps))))
    return rows.execute(f"select {what} from clocks").fetchone()[0]


def drift(*how, **given):
    return round((asked("regr_slope(y, x)", *how, **given) - 1) * 1e6, 1)


def by_hand(seconds, rate):
    x = START + np.arange(seconds * rate) / rate
    y = (x - START) * (1 + FAST)
    x, y = x - x.mean(), y - y.mean()
    return round((float(x @ y / (x @ x)) - 1) * 1e6, 1)


SEEN = [
    ("10 s at 10 Hz", drift(10, 10), 19.0),
    ("60 s at 10 Hz", drift(60, 10), 19.0),
    ("an hour at 10 Hz", drift(3600, 10), 19.0),
    ("10 s at 100 Hz", drift(10, 100), 21.0),
    ("60 s at 100 Hz", drift(60, 100), 21.0),
    ("by hand", [by_hand(10, 10), by_hand(10, 100), by_hand(3600, 10)], [20.0, 20.0, 20.0]),
    ("no drift at 10 and 100 Hz", [drift(60, 10, 0.0), drift(60, 100, 0.0)], [-1.0, 1.0]),
    ("from the recording's start on", drift(60, 10, start=0.0), 20.0),
    ("r2 above 1", asked("regr_r2(y, x) > 1", 10, 100), True),
    ("intercept off by more than 1000 s", round(asked("regr_intercept(y, x)", 60, 10) + START * (1 + FAST)) > 1000, True),
    ("millionths that var_pop is off", round(abs(asked("var_pop(x)", 60, 10) / asked("var_pop(x)", 60, 10, start=0.0) - 1) * 1e6, 1), 1.9),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
