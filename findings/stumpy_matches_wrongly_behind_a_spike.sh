#!/usr/bin/env bash
# Where a motion repeats itself in a long signal (IMU, torque, distance), by the matrix profile of stumpy, after one sample that a driver filled with
# its mark for "no value".
#
# Guess: one sample out of range spoils the windows that it lies in; behind them the distances are what they were.
# Seen with stumpy 1.14.1, numpy 2.4.6 (PyPI; Python 3.11, x86-64), 300 samples of normal noise, windows of 20, sample 10 set to 1e9, judged by hand:
#   no spike, 1e4, 1e6, 1e8                     right to 0.05
#   1e9                                         62 of 100 of the windows behind it have another distance to their nearest, by up to 4.3 (where 6.3 is
#                                               "nothing alike"), to the end of the signal
#   1e10                                        99 of 100, by up to 4.6
#   `mass` of one window, the same              right
# The products of windows are carried on from one to the next, and what is as large as 1e18 leaves its rounding there. Nothing is raised or logged.
# So: NaN for what is missing, which it takes, or cut off what no sensor can measure.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (450 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'stumpy==1.14.1' 'numpy==2.4.6' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import stumpy

WINDOW, FIRST, SECOND, SPIKE = 20, 100, 200, 10
SIGNAL = np.random.default_rng(0).normal(size=300)
SIGNAL[SECOND : SECOND + WINDOW] = SIGNAL[FIRST : FIRST + WINDOW]


def with_spike(spike):
    signal = SIGNAL.copy()
    signal[SPIKE] = spike
    return signal


def by_hand(signal):
    """Each window's distance to the nearest other one, both brought to mean 0 and deviation 1."""
    windows = np.lib.stride_tricks.sliding_window_view(signal, WINDOW)
    windows = (windows - windows.mean(1, keepdims=True)) / windows.std(1, keepdims=True)
    distances = np.linalg.norm(windows[:, None] - windows[None], axis=2)
    places = np.arange(len(windows))
    distances[np.abs(places[:, None] - places) <= WINDOW // 4] = np.inf
    return distances.min(1)


def wrong(spike):
    """Of the windows behind the spike, in percent, whose distance is more than 0.1 off; by how much at most."""
    found = stumpy.stump(with_spike(spike), WINDOW)[:, 0].astype(float)
    off = np.abs(found - by_hand(with_spike(spike)))[SPIKE + 1 :]
    return round(100 * float(np.mean(off > 0.1))), round(float(off.max()), 1)


def by_mass(spike):
    """The same of one window's distances by mass."""
    signal = with_spike(spike)
    windows = np.lib.stride_tricks.sliding_window_view(signal, WINDOW)
    windows = (windows - windows.mean(1, keepdims=True)) / windows.std(1, keepdims=True)
    off = np.abs(stumpy.mass(signal[FIRST : FIRST + WINDOW], signal) - np.linalg.norm(windows - windows[FIRST], axis=1))
    return round(float(off[SPIKE + 1 :].max()), 1)


SEEN = [
    ("no spike", wrong(0.0), (0, 0.0)),
    ("1e4, 1e6", [wrong(1e4), wrong(1e6)], [(0, 0.0)] * 2),
    ("1e8", wrong(1e8), (0, 0.0)),
    ("1e9, 1e10: over half, by over 4", [(share > 50, most > 4) for share, most in (wrong(1e9), wrong(1e10))], [(True, True)] * 2),
    ("mass, 1e9, 1e10", [by_mass(1e9), by_mass(1e10)], [0.0, 0.0]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:34}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
