#!/usr/bin/env bash
# Stamps with gaps (NaT, as pandas and NumPy have them) to JSON with orjson's OPT_SERIALIZE_NUMPY.
#
# Guess: a missing stamp becomes null, as a NaN does, or is refused.
# Seen with orjson 3.13.0, ormsgpack 1.13.1 beside it (PyPI; Python 3.11, x86-64), an array of 2026-01-01 00:00:00.123456789 and NaT:
#   orjson, nanoseconds (what pandas gives)     "1677-09-21T00:12:43.145224", a date like any other; a single NaT likewise
#   orjson, microseconds, milliseconds          refused, with a TypeError
#   ormsgpack, all three                        refused
#   orjson, NaN in an array of floats           null
#   the nanoseconds .123456789                  .123456 in both: a stamp that is read back no longer equals its own row
# A range of time, a minimum or a join over it starts in 1677. So: stamps as whole numbers, or the array as objects with None where np.isnat says so.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (80 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'orjson==3.13.0' 'ormsgpack==1.13.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import json
import sys

import numpy as np
import orjson
import ormsgpack

STAMPS = np.array(["2026-01-01T00:00:00.123456789", "NaT"], "datetime64[ns]")


def by_orjson(array):
    return json.loads(orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY))


def by_ormsgpack(array):
    return ormsgpack.unpackb(ormsgpack.packb(array, option=ormsgpack.OPT_SERIALIZE_NUMPY))


def of(writer, array):
    try:
        return writer(array)
    except TypeError:
        return "refused"


def coarser(writer):
    return [of(writer, STAMPS.astype(f"datetime64[{unit}]")) for unit in ("us", "ms")]


SEEN = [
    ("orjson", of(by_orjson, STAMPS), ["2026-01-01T00:00:00.123456", "1677-09-21T00:12:43.145224"]),
    ("a single NaT", of(by_orjson, STAMPS[1]), "1677-09-21T00:12:43.145224"),
    ("microseconds, milliseconds", coarser(by_orjson), ["refused"] * 2),
    ("ormsgpack", of(by_ormsgpack, STAMPS), "refused"),
    ("microseconds, milliseconds", coarser(by_ormsgpack), ["refused"] * 2),
    ("orjson, 1.5 and NaN", of(by_orjson, np.array([1.5, np.nan])), [1.5, None]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
