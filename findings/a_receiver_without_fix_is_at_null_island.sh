#!/usr/bin/env bash
# A GPS receiver's sentences with pynmea2 before it has found its place.
#
# Guess: where a sentence has no latitude, `latitude` is None, as `altitude` is.
# Seen with pynmea2 1.19.0 and pynmeagps 1.1.8 (PyPI; Python 3.11, x86-64), empty fields as receivers send them without a fix:
#   pynmea2, GGA, RMC, GLL without a place    latitude 0.0, longitude 0.0: a place in the Gulf of Guinea
#   pynmea2, altitude of the same GGA         None
#   pynmeagps, the same GGA                   lat, lon and alt are ""
#   pynmea2, is_valid                         False for all three: it goes by the quality or the status
#
# So: look at `is_valid` (or at the raw `lat`, which is "") before `latitude`; a filter of finite numbers lets 0.0, 0.0 through.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (40 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pynmea2==1.19.0' 'pynmeagps==1.1.8'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
from functools import reduce

import pynmea2
from pynmeagps import NMEAReader


def sentence(text):
    return f"${text}*{reduce(lambda sum, sign: sum ^ ord(sign), text, 0):02X}"


def by_pynmea2(text):
    found = pynmea2.parse(sentence(text))
    return found.latitude, found.longitude, getattr(found, "altitude", "-"), found.is_valid


def by_pynmeagps(text):
    found = NMEAReader.parse(sentence(text) + "\r\n")
    return found.lat, found.lon, found.alt


GGA = "GPGGA,123519,,,,,0,00,,,M,,M,,"
SEEN = [
    ("GGA without a fix", by_pynmea2(GGA), (0.0, 0.0, None, False)),
    ("RMC without a fix", by_pynmea2("GPRMC,123519,V,,,,,,,230326,,"), (0.0, 0.0, "-", False)),
    ("GLL without a fix", by_pynmea2("GPGLL,,,,,123519,V"), (0.0, 0.0, "-", False)),
    ("GGA with one", by_pynmea2("GPGGA,123519,4730.000,N,00830.000,E,1,08,0.9,545.4,M,46.9,M,,"), (47.5, 8.5, 545.4, True)),
    ("GGA without a fix, pynmeagps", by_pynmeagps(GGA), ("", "", "")),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:36}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
