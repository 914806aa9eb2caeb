#!/usr/bin/env bash
# Trajectories of robots with PyMEOS (MobilityDB's library): speed along an axis as a derivative, and values between two seconds.
#
# Guess: the derivative of a way back is below zero; a value is that of the microsecond asked for, as datetime and MEOS both have microseconds.
# Seen with pymeos 1.3.0, pymeos-cffi 1.3.0 (PyPI; Python 3.11, x86-64):
#   TFloat from 0 to 10 in 10 s, derivative           1: right
#   from 10 to 0                                      1, not -1; (3, 0, 5): 0.3 and 0.5
#   x of a point that drives west, derivative         1
#   value at 3.25, 3.999999 and 9.5 s (datetime)      3, 3, 9; by hand 3.25, 3.999999, 9.5
#   TFloatInst, TsTzSpan and TsTzSet of datetimes     at whole seconds; written as text: right
#   a sequence of instants of 10 Hz by datetime       refused: two at one second
#   delete, minus, at, with datetimes                 at whole seconds
#   integral of 5 over 10 s                           50 000 000: microseconds; its docstring says "the integral"
# A braking robot speeds up, and frames of 10 Hz stand where they were at the last full second. (The latter: open issues since 2024.) So: instants as
# text; differences with NumPy.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (200 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pymeos==1.3.0' 'pymeos-cffi==1.3.0'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
from datetime import datetime, timezone

from pymeos import MeosException, TFloatInst, TFloatSeq, TGeomPointSeq, TsTzSet, TsTzSpan, pymeos_initialize

pymeos_initialize(timezone="UTC")
DAY = "2026-01-01 00:00:"


def moment(seconds):
    whole = int(seconds)
    return datetime(2026, 1, 1, 0, 0, whole, round((seconds - whole) * 1e6), tzinfo=timezone.utc)


def sequence(*values, every=10):
    return TFloatSeq("[" + ", ".join(f"{value}@{DAY}{every * number:02}+00" for number, value in enumerate(values)) + "]")


def slopes(line):
    return [round(value, 6) for value in line.derivative().values()]


def stamp(what):
    return what.isoformat(timespec="microseconds")[17:26]


def refused(rate):
    instants = [TFloatInst(value=float(number), timestamp=moment(number / rate)) for number in range(3)]
    try:
        TFloatSeq(instant_list=instants, lower_inc=True, upper_inc=True)
    except MeosException:
        return True
    return False


AWAY, WEST = sequence(0, 10), TGeomPointSeq(f"[Point(0 0)@{DAY}00+00, Point(-10 0)@{DAY}10+00]")
SPAN = TsTzSpan(lower=moment(3.25), upper=moment(4.75), lower_inc=True, upper_inc=True)
WRITTEN = TsTzSpan(f"[{DAY}03.25+00, {DAY}04.75+00]")
SEEN = [
    ("derivative, away", slopes(AWAY)[0], 1.0),
    ("back", slopes(sequence(10, 0))[0], 1.0),
    ("3, 0, 5", slopes(sequence(3, 0, 5))[:2], [0.3, 0.5]),
    ("x of a way west", slopes(WEST.x())[0], 1.0),
    ("value at 3, 3.25, 3.999999, 9.5 s", [AWAY.value_at_timestamp(moment(when)) for when in (3, 3.25, 3.999999, 9.5)], [3.0, 3.0, 3.0, 9.0]),
    ("by an instant in text", AWAY.at(TsTzSet(f"{{{DAY}03.25+00, {DAY}09.5+00}}")).values(), [3.25, 9.5]),
    ("span of datetimes", [stamp(SPAN.lower()), stamp(SPAN.upper())], ["03.000000", "04.000000"]),
    ("span in text", [stamp(WRITTEN.lower()), stamp(WRITTEN.upper())], ["03.250000", "04.750000"]),
    ("instant of a datetime", stamp(TFloatInst(value=1.0, timestamp=moment(3.25)).timestamp()), "03.000000"),
    ("instant in text", stamp(TFloatInst(f"1@{DAY}03.25+00").timestamp()), "03.250000"),
    ("10 Hz and 1 Hz refused", [refused(10), refused(1)], [True, False]),
    ("where delete cuts", stamp(AWAY.delete(moment(3.25)).timestamps()[1]), "03.000000"),
    ("integral of 5 over 10 s", sequence(5, 5).integral(), 50000000.0),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
