#!/usr/bin/env bash
# Precise orbits of GNSS satellites (SP3 files) with georinex, where a position or a clock is absent.
#
# Guess: a position of 0 0 0 and a clock of 999999.999999, which is how SP3 says "bad or absent", are NaN, as where an epoch lacks the satellite;
# a file without velocities has NaN for them, or none.
# Seen with georinex 1.16.2, numpy 2.4.6, xarray 2026.9.0 (PyPI; Python 3.11, x86-64):
#   absent position                            0, 0, 0 km: the satellite is at the earth's centre
#   absent clock                               999999.999999 us, a second: 300 000 km in a range
#   velocities of a file that has none         NaN but for its first epoch, which holds what was in that memory before
#   clock rates of a file that has none        in each epoch what was in that memory before
#
# So: mask both numbers by hand, and leave velocities and rates alone unless the file's first line says #dV.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (250 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'georinex==1.16.2' 'numpy==2.4.6' 'xarray==2026.9.0'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import georinex
import numpy as np

SATELLITES = ("G01", "G02", "R01")
KNOWN = "  13372.459000 -22881.123456   1234.567890    123.456789"
ABSENT = "      0.000000      0.000000      0.000000 999999.999999"
NO_CLOCK = "  13372.459000 -22881.123456   1234.567890 999999.999999"


def epoch(minute, *rows):
    positions = [f"P{name}{row}" for name, row in zip(SATELLITES, rows, strict=True)]
    return [f"*  2026  1  1  0 {minute:2}  0.00000000", *positions]


LINES = [
    "#dP2026  1  1  0  0  0.00000000       2 ORBIT IGS20 HLM  IGS",
    "## 2399 345600.00000000   900.00000000 61041 0.0000000000000",
    f"+    3   {''.join(SATELLITES)}{'  0' * 14}",
    *[f"+        {'  0' * 17}"] * 4,
    *[f"++       {'  0' * 17}"] * 5,
    "%c M  cc GPS ccc cccc cccc cccc cccc ccccc ccccc ccccc ccccc",
    "%c cc cc ccc ccc cccc cccc cccc cccc ccccc ccccc ccccc ccccc",
    "%f  1.2500000  1.025000000  0.00000000000  0.000000000000000",
    "%f  0.0000000  0.000000000  0.00000000000  0.000000000000000",
    *["%i    0    0    0    0      0      0      0      0         0"] * 2,
    "/* PCV:IGS20      OL/AL:FES2004  NONE     YN CLK:CoN ORB:CoN",
    *epoch(0, KNOWN, ABSENT, NO_CLOCK),
    *epoch(15, KNOWN, KNOWN, KNOWN),
    "EOF",
]
with open("probe.sp3", "w") as file:
    file.write("\n".join(LINES) + "\n")
orbits = georinex.load("probe.sp3")
SEEN = [
    ("position, known", orbits.position[0, 0].values.tolist(), [13372.459, -22881.123456, 1234.56789]),
    ("position, absent", orbits.position[0, 1].values.tolist(), [0.0, 0.0, 0.0]),
    ("clock, known", float(orbits.clock[0, 0]), 123.456789),
    ("clocks, absent", orbits.clock[0, 1:].values.tolist(), [999999.999999] * 2),
    ("velocities, second epoch", bool(np.isnan(orbits.velocity[1]).all()), True),
    ("velocities, first epoch, all NaN", bool(np.isnan(orbits.velocity[0]).all()), False),
    ("clock rates, all NaN", bool(np.isnan(orbits.dclock).all()), False),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
