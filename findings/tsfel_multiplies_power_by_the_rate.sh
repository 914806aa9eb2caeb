#!/usr/bin/env bash
# Features of a signal for a classifier of terrain or gait with TSFEL: power and level, from floats and from an IMU's raw counts (int16, uint16).
#
# Guess: the average power of a constant 1 is 1 at any rate; a function of raw counts says what it says of the same counts as floats.
# Seen with tsfel 0.2.0, numpy 2.4.6 (PyPI; Python 3.11, x86-64):
#   average_power of a constant 1, 10 s at 50, 100, 1000 Hz    50.1, 100.1, 1000.1: "the average power of the signal", times the rate
#   a sine of amplitude 12000 about 4000 as int16, as floats:
#   rms                             24.2; 9404 ("square root of the mean of the squares")
#   abs_energy                      585 057; 88 434 797 921; a louder one is below zero, its rms NaN
#   as uint16, 40 to 360:
#   mean_abs_diff                   31 554; 9.5
#   distance, sum_abs_diff          31 522 809, 31 522 730; 9590, 9474
#   positive_turning of 50 peaks in uint16    0; as floats 50
#   time_series_features_extractor  right: it turns counts into floats before
# Squares and differences are taken in the type of the counts and wrap round. So: `signal.astype(float)`; average_power divided by the rate, and recordings
# of two rates never mixed.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (400 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'tsfel==0.2.0' 'numpy==2.4.6' 'pandas==3.1.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings

import numpy as np
import pandas as pd
import tsfel

warnings.simplefilter("ignore")
COUNTS = (np.sin(np.arange(1000) / 8) * 12000 + 4000).astype(np.int16)
LOUD = (np.sin(np.arange(1000) / 8) * 30000).astype(np.int16)
UNSIGNED = (COUNTS // 100 + 200).astype(np.uint16)
PEAKS = (np.sin(np.arange(1000) / 1000 * 2 * np.pi * 50) * 3000 + 20000).astype(np.uint16)


def power(rate):
    return round(float(tsfel.average_power(np.ones(10 * rate), rate)), 1)


def both(feature, counts, digits=1):
    """The feature of raw counts, and of the same counts as floats."""
    return round(float(feature(counts)), digits), round(float(feature(counts.astype(float))), digits)


def by_extractor():
    config = tsfel.get_features_by_domain("temporal")
    table = pd.DataFrame({"x": COUNTS})
    found = [tsfel.time_series_features_extractor(config, one, fs=100.0, verbose=0) for one in (table, table.astype(float))]
    return bool(np.allclose(*found, equal_nan=True))


SEEN = [
    ("power of 1 at 50, 100, 1000 Hz", [power(rate) for rate in (50, 100, 1000)], [50.1, 100.1, 1000.1]),
    ("rms", both(tsfel.rms, COUNTS), (24.2, 9404.0)),
    ("abs_energy", both(tsfel.abs_energy, COUNTS), (585057.0, 88434797921.0)),
    ("rms of an amplitude of 30000", str(float(tsfel.rms(LOUD))), "nan"),
    ("mean_abs_diff", both(tsfel.mean_abs_diff, UNSIGNED), (31554.3, 9.5)),
    ("distance", both(tsfel.distance, UNSIGNED, 0), (31522809.0, 9590.0)),
    ("sum_abs_diff", both(tsfel.sum_abs_diff, UNSIGNED), (31522730.0, 9474.0)),
    ("positive_turning", both(tsfel.positive_turning, PEAKS), (0.0, 50.0)),
    ("the extractor is right", by_extractor(), True),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
