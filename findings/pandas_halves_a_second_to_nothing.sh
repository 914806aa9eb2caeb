#!/usr/bin/env bash
# The middle between two stamps, the mean of some, stamps between two, in pandas 3: stamps that come in whole seconds or milliseconds (datetime64[s]
# of NumPy, NetCDF, Parquet), which pandas has kept as such since its second version.
#
# Guess: half of a second is half a second; pandas goes over to a finer unit where it needs one, as it does when half a second is added or written in.
# Seen with pandas 3.1.1 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), 00:00:00 and 00:00:01 as datetime64[s]:
#   (b - a) / 2, (b - a) * 0.5                  0 s; of a column likewise
#   a + (b - a) / 2, Interval(a, b).mid         00:00:00
#   mean, median, quantile(0.5), interpolate    00:00:00
#   date_range(a, b, periods=3)                 00:00:00, 00:00:00, 00:00:01
#   two pictures 33 ms apart in [ms], middle    16 ms
#   (b - a) / Timedelta("300ms")                3.33, right
#   a + Timedelta("500ms")                      00:00:00.5: the unit becomes a finer one
#   the same stamps in [us] (from a text)       right, all of them
# Nothing is raised or logged. So: `.dt.as_unit("ns")` for every column of times as it is read, `.as_unit("ns")` for a single one.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (190 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'pandas==3.1.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import pandas as pd

TEXTS = ["2026-01-01T00:00:00", "2026-01-01T00:00:01"]


def stamps(unit):
    return pd.Series(np.array(TEXTS, f"M8[{unit}]"))


def after(stamp):
    """Seconds after midnight."""
    return (pd.Timestamp(stamp).as_unit("ns") - pd.Timestamp(TEXTS[0])).total_seconds()


def seen(unit):
    both = stamps(unit)
    a, b = both
    gap = pd.Series([a, pd.NaT, b]).astype(both.dtype)
    return {
        "halves": [((b - a) / 2).total_seconds(), ((b - a) * 0.5).total_seconds(), (both.diff() / 2)[1].total_seconds()],
        "middles": [after(a + (b - a) / 2), after(pd.Interval(a, b).mid)],
        "means": [after(both.mean()), after(both.median()), after(both.quantile(0.5)), after(gap.interpolate()[1])],
        "range": [after(one) for one in pd.date_range(a, b, periods=3)],
        "ratio": round((b - a) / pd.Timedelta("300ms"), 2),
        "sum": after(a + pd.Timedelta("500ms")),
    }


coarse, fine = seen("s"), seen("us")
pictures = pd.Series(np.array([0, 33], "M8[ms]"))
SEEN = [
    ("unit of a text", str(pd.to_datetime(pd.Series(TEXTS)).dtype), "datetime64[us]"),
    ("[s], halves", coarse["halves"], [0.0] * 3),
    ("middles", coarse["middles"], [0.0] * 2),
    ("mean, median, quantile, interpolate", coarse["means"], [0.0] * 4),
    ("date_range", coarse["range"], [0.0, 0.0, 1.0]),
    ("ratio, sum", [coarse["ratio"], coarse["sum"]], [3.33, 0.5]),
    ("[ms], middle of 0 and 33 ms", (pictures.mean() - pictures[0]).total_seconds(), 0.016),
    ("[us], halves, middles", fine["halves"] + fine["middles"], [0.5] * 5),
    ("mean, median, quantile, interpolate", fine["means"], [0.5] * 4),
    ("date_range", fine["range"], [0.0, 0.5, 1.0]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:38}{found!s:34}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
