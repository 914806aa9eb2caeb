#!/usr/bin/env bash
# GPS fixes to metres with utm: an array of positions that crosses a zone's edge.
#
# Guess: an array gives what its elements give one by one, or a zone for each.
# Seen with utm 0.9.0 (PyPI; Python 3.11, x86-64), two fixes 1.5 km apart at 6 degrees east:
#   as an array, western first       both in zone 31: a track without a jump, the second one outside its own zone
#   as an array, eastern first       both in zone 32: other numbers for the same two fixes
#   one by one                       zones 31 and 32: a jump of some 450 km
#   an array that crosses the equator    is refused; one by one the northing jumps by 10 000 km
#
# So: take the zone (`force_zone_number`) from the first fix of a recording, keep it, and write it beside the poses.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (40 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'utm==0.9.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import utm

LATITUDES, LONGITUDES = np.array([48.0, 48.0]), np.array([5.99, 6.01])


def zone_and_length(order):
    east, north, zone, _ = utm.from_latlon(LATITUDES[order], LONGITUDES[order])
    return zone, round(float(np.hypot(*np.diff([east, north]).ravel())) / 10) * 10


def one_by_one():
    (east, _, zone, _), (other_east, _, other_zone, _) = (utm.from_latlon(*fix) for fix in zip(LATITUDES, LONGITUDES))
    return int(zone), int(other_zone), abs(float(east - other_east)) > 400_000


def across_the_equator():
    try:
        return utm.from_latlon(np.array([0.1, -0.1]), np.array([5.0, 5.0]))[2]
    except ValueError:
        return "refused"


SEEN = [
    ("western first: zone, metres between", zone_and_length([0, 1]), (31, 1490)),
    ("eastern first: zone, metres between", zone_and_length([1, 0]), (32, 1490)),
    ("one by one: zones, jump over 400 km", one_by_one(), (31, 32, True)),
    ("an array across the equator", across_the_equator(), "refused"),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:40}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
