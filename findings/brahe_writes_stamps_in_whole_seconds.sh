#!/usr/bin/env bash
# Stamps of a recording as brahe's Epoch, written as ISO 8601 and as seconds since 1970, and read again.
#
# Guess: `isostring()` has the nanoseconds (its documentation says "full nanosecond precision", with an output of nine decimals), and what
#   `from_unix_timestamp` takes `unix_timestamp` gives back, to the resolution of a float of 64 bits: 0.2 microseconds in 2025.
# Seen with brahe 1.8.0, numpy 1.26.4 (PyPI; Python 3.11, x86-64):
#   isostring() of 10:30:45.123456789    10:30:45Z: whole seconds
#   of 0.5, 1.5 and 2.5 seconds          0, 2 and 2: rounded, halves to the even one, so that a stamp can be half a second late
#   of 10:59:59.5 to 10:59:59.999        10:59:60Z, on a day without a leap second; datetime.fromisoformat refuses it, brahe reads it as 11:00:00
#   20 Hz for a minute                   10 of 1 200 stamps have a second 60
#   isostring_with_decimals(1) of 59.4   59.3: that one cuts off, what lies below by the last bit, too
#   20 Hz for 50 s by unix_timestamp     990 of 1 000 come back otherwise, by up to 20 microseconds; steps of 49.97 and 50.01 ms
# `to_pydatetime().timestamp()` and `isostring_with_decimals(9)` give each of these stamps back to the microsecond.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (150 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check 'brahe==1.8.0' 'numpy==1.26.4'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
from datetime import datetime

import brahe
import numpy as np

START = 1764410400.0
UTC = brahe.TimeSystem.UTC


def at(seconds, minute=59):
    return brahe.Epoch.from_datetime(2025, 5, 6, 10, minute, seconds, 0.0, UTC)


def refused(text):
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return True
    return False


brahe.set_global_eop_provider_from_static_provider(brahe.StaticEOPProvider.from_zero())
late = at(59.7).isostring()
stamps = START + np.arange(1000) * 0.05
epochs = [brahe.Epoch.from_unix_timestamp(stamp) for stamp in stamps]
back = np.array([epoch.unix_timestamp() for epoch in epochs])
minute = [brahe.Epoch.from_unix_timestamp(START + step * 0.05).isostring() for step in range(1200)]
seen = {
    "documentation": ".123456789Z" in brahe.Epoch.isostring.__doc__,
    "nanoseconds": at(45.123456789, 30).isostring(),
    "halves": [at(second).isostring()[17:] for second in (0.5, 1.5, 2.5)],
    "last half second": [at(second).isostring()[14:] for second in (59.5, 59.999)],
    "Python refuses": refused(late),
    "brahe reads": str(brahe.Epoch.from_string(late)),
    "seconds 60": sum(":60Z" in text for text in minute),
    "one decimal": at(59.4).isostring_with_decimals(1)[17:],
    "come back otherwise": int(np.count_nonzero(back != stamps)),
    "microseconds": float(np.round(np.abs(back - stamps).max() * 1e6)),
    "steps": sorted({float(step) for step in np.round(np.diff(back) * 1e3, 2)}),
    "datetime": max(abs(epoch.to_pydatetime().timestamp() - stamp) for epoch, stamp in zip(epochs, stamps)) < 1e-6,
    "nine decimals": at(45.123456789, 30).isostring_with_decimals(9)[17:29],
}
for name, value in seen.items():
    print(f"{name:20} {value}")
sys.exit(
    seen
    != {
        "documentation": True,
        "nanoseconds": "2025-05-06T10:30:45Z",
        "halves": ["00Z", "02Z", "02Z"],
        "last half second": ["59:60Z", "59:60Z"],
        "Python refuses": True,
        "brahe reads": "2025-05-06 11:00:00.000 UTC",
        "seconds 60": 10,
        "one decimal": "59.3Z",
        "come back otherwise": 990,
        "microseconds": 20.0,
        "steps": [49.97, 50.01],
        "datetime": True,
        "nine decimals": "45.123456789",
    }
)
PYTHON
"$scratch/venv/bin/python" "$scratch/probe.py"
