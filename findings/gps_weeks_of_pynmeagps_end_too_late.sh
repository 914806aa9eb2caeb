#!/usr/bin/env bash
# GPS week and time of week of a moment in UTC, and back, with pynmeagps and pyubx2, in the first seconds of a GPS week: Saturdays from 23:59:42 UTC on.
#
# Guess: a time of week is below 604 800 000 ms; `wnotow2utc(utc2wnotow(t))` is t, whatever t is.
# Seen with pynmeagps 1.1.8 and pyubx2 1.4.0 (PyPI; Python 3.11, x86-64), 2026-11-28, a Saturday:
#   23:59:41 UTC                      week 2446, 604 799 000 ms; back: right
#   23:59:42 UTC (GPS week 2447       week 2446, 604 800 000 ms: the new week's time in the old week, beyond its end
#   begins, 18 leap seconds ahead)
#   the same, back by wnotow2utc      23:59:42 on the Saturday before: a week is lost
#   23:59:42 to 23:59:59              all eighteen seconds, GPS, Galileo, QZSS, NavIC; with autoroll too
#   Beidou                            the last four seconds
#   Sunday 00:00:00 UTC               week 2447, 18 000 ms; right
#   pyubx2, utc2itow at 23:59:50      (2446, 604 808 000)
#   pynmeagps, llh2iso6709 of a       "+7.5+8.25--3.2CRSWGS_84/": two signs, and degrees without the leading zeros by which ISO 6709 is read
#   height of -3.2 m
# The week is counted in UTC, its time in GPS time. A receiver's aid that is written then lies a week back. So: add the leap seconds first, then divide.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (30 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pynmeagps==1.1.8' 'pyubx2==1.4.0'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
from datetime import datetime, timedelta, timezone

from pynmeagps import llh2iso6709, utc2wnotow, wnotow2utc
from pyubx2 import utc2itow

MIDNIGHT = datetime(2026, 11, 29, tzinfo=timezone.utc)
EPOCH, WEEK = datetime(1980, 1, 6, tzinfo=timezone.utc), timedelta(weeks=1)


def before(seconds):
    return MIDNIGHT - timedelta(seconds=seconds)


def by_hand(moment):
    elapsed = moment + timedelta(seconds=18) - EPOCH
    return elapsed // WEEK, (elapsed % WEEK) // timedelta(milliseconds=1)


def lost(moment, gnss="G", **how):
    """Days that a moment lies back once it went through week and time of week."""
    week, time, _ = utc2wnotow(moment, gnss, **how)
    return (moment - wnotow2utc(week, time, gnss=gnss, **how)).days


def seconds_lost(gnss):
    """Which of a day's last 30 seconds come back a week early, counted before midnight."""
    return [second for second in range(30, -1, -1) if lost(before(second), gnss, modwno=False) == 7]


ROLLED = wnotow2utc(*utc2wnotow(before(10))[:2], autoroll=True)
SEEN = [
    ("23:59:41", utc2wnotow(before(19), modwno=False)[:2], (2446, 604799000)),
    ("23:59:42", utc2wnotow(before(18), modwno=False)[:2], (2446, 604800000)),
    ("by hand", by_hand(before(18)), (2447, 0)),
    ("Sunday", utc2wnotow(MIDNIGHT, modwno=False)[:2], (2447, 18000)),
    ("by hand, Sunday", by_hand(MIDNIGHT), (2447, 18000)),
    ("days lost at 23:59:41, :42, :59, Sunday", [lost(before(s), modwno=False) for s in (19, 18, 1, 0)], [0, 7, 7, 0]),
    ("seconds lost, GPS", seconds_lost("G"), list(range(18, 0, -1))),
    ("Galileo, QZSS, NavIC the same", [seconds_lost(one) == seconds_lost("G") for one in "EJI"], [True] * 3),
    ("Beidou", seconds_lost("C"), [4, 3, 2, 1]),
    ("autoroll, the day", (ROLLED.month, ROLLED.day), (11, 21)),
    ("pyubx2 at 23:59:50", utc2itow(before(10).replace(tzinfo=None)), (2446, 604808000)),
    ("a place below the sea", llh2iso6709(7.5, 8.25, -3.2), "+7.5+8.25--3.2CRSWGS_84/"),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
