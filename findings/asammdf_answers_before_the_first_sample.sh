#!/usr/bin/env bash
# A vehicle's measurements (MDF) to one table with asammdf, where a sensor starts later or stops earlier.
#
# Guess: `to_dataframe`, `resample` and `interp` give NaN, or nothing, where a signal has no samples yet, as `cut` does.
# Seen with asammdf 8.8.28 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), a speed from 0 to 0.3 s and a lidar's range from 0.15 s on:
#   to_dataframe(), range at 0 and 0.1 s        5.0, its value of 0.15 s: a look into the future; no mark of it in the table
#   speed after its last sample                 its last value, for as long as any other signal goes on
#   to_dataframe(use_interpolation=False)       NaN in both, and wherever the stamps differ
#   cut(0, 0.1)                                 no sample of the range, as it should be
#   one NaN among a signal's samples            NaN on both of its sides, up to the neighbouring samples
#   uint8 200 + 100 of two signals              44; speed + range has a value only where the two overlap
#
# So: take the union of stamps without interpolation and fill forward oneself.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (330 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'asammdf==8.8.28' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from asammdf import MDF, Signal


def signal(name, values, stamps, kind=np.float64):
    return Signal(np.array(values, kind), np.array(stamps), name=name)


def column(table, name):
    return str([round(float(one), 2) for one in table[name]])


speed = signal("speed", [0, 10, 20, 30], [0.0, 0.1, 0.2, 0.3])
lidar = signal("range", [5, 6, 7], [0.15, 0.25, 0.35])
measured = MDF()
measured.append([speed])
measured.append([lidar])
table = measured.to_dataframe()
apart = measured.to_dataframe(use_interpolation=False)
bytes_ = signal("a", [200], [0.0], np.uint8) + signal("a", [100], [0.0], np.uint8)
both = speed + lidar
SEEN = [
    ("stamps", str([round(float(one), 2) for one in table.index]), "[0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35]"),
    ("range", column(table, "range"), "[5.0, 5.0, 5.0, 5.5, 6.0, 6.5, 7.0]"),
    ("speed", column(table, "speed"), "[0.0, 10.0, 15.0, 20.0, 25.0, 30.0, 30.0]"),
    ("range, without interpolation", column(apart, "range"), "[nan, nan, 5.0, nan, 6.0, nan, 7.0]"),
    ("range at 0 and 9 s by interp", lidar.interp(np.array([0.0, 9.0])).samples.tolist(), [5.0, 7.0]),
    ("samples of range in cut(0, 0.1)", len(measured.cut(0, 0.1).get("range")), 0),
    ("beside a NaN", str(signal("a", [1, np.nan, 3], [0.0, 0.1, 0.2]).interp(np.array([0.05, 0.15])).samples.tolist()), "[nan, nan]"),
    ("uint8 200 + 100", bytes_.samples.tolist(), [44]),
    ("stamps of speed + range", both.timestamps.round(2).tolist(), [0.15, 0.2, 0.25, 0.3]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:34}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
