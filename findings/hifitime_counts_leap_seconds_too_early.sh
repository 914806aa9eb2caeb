#!/usr/bin/env bash
# Times of satellite receivers (GPS time) to UTC around a leap second with hifitime, whose summary promises "leap second support".
#
# Guess: GPS time and UTC are converted to each other and back without a change, and 23:59:60 is a time of its own, as in astropy.
# Seen with hifitime 4.3.1, astropy 8.0.2 as a judge (PyPI; Python 3.11, x86-64), the leap second at the end of 2016:
#   UTC to GPS time, 23:59:00 to 23:59:59      right
#   GPS time to UTC, the last minute           right until 23:59:23; from then on, for 36 s, and in the leap second itself, a second early
#   there and back, the same                   a second is lost each time
#   "2016-12-31T23:59:60 UTC"                  read as 23:59:59, without a word
#   from 00:00:00 on                           right
#
# So: keep a recording's stamps in one scale (GPS or TAI), and convert once, by astropy where it is about a day with a leap second.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (180 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'hifitime==4.3.1' 'astropy==8.0.2' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

from astropy.time import Time
from astropy.utils import iers
from hifitime import Epoch, TimeScale

iers.conf.auto_download = False
LEAP = 1167264017  # 2016-12-31T23:59:60 UTC in seconds of GPS time


def utc_of(seconds):
    return Epoch.from_gpst_seconds(seconds).to_time_scale(TimeScale.UTC)


def judged(seconds):
    return str(utc_of(seconds))[:19] == Time(seconds, format="gps").utc.isot[:19]


def gps_of(text):
    return Epoch(f"{text} UTC").to_gpst_seconds() - LEAP


MINUTE = [f"2016-12-31T23:59:{second:02}" for second in range(60)]
EARLY = [seconds - LEAP for seconds in range(LEAP - 90, LEAP + 90) if not judged(seconds)]
SEEN = [
    ("UTC to GPS time: seconds that are wrong", sum(gps_of(one) + LEAP != float(Time(one, scale="utc").gps) for one in MINUTE), 0),
    ("GPS time to UTC: first, last, how many", (EARLY[0], EARLY[-1], len(EARLY)) if EARLY else (), (-36, 0, 37)),
    ("one second before: UTC", str(utc_of(LEAP - 1)), "2016-12-31T23:59:58 UTC"),
    ("there and back: seconds lost", [seconds - utc_of(seconds).to_gpst_seconds() for seconds in (LEAP - 40, LEAP - 30)], [0.0, 1.0]),
    ("in the leap second: UTC", str(utc_of(LEAP)), "2016-12-31T23:59:59 UTC"),
    ("23:59:60", gps_of("2016-12-31T23:59:60"), -1.0),
    ("the same by astropy", float(Time("2016-12-31T23:59:60", scale="utc").gps) - LEAP, 0.0),
    ("00:00:00", gps_of("2017-01-01T00:00:00"), 1.0),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
