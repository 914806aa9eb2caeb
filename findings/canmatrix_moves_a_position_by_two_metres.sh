#!/usr/bin/env bash
# A CAN bus of a vehicle described in DBC, brought to other tools' formats (KCD, ARXML, SYM) with canmatrix.
#
# Guess: a converted file decodes the same bytes to the same numbers, or a warning says what a format does not hold.
# Seen with canmatrix 1.2, lxml 6.1.3 (PyPI; Python 3.11, x86-64), decoded by itself before and after, a latitude of 47.3769 degrees in steps of 180 /
# 2**31 (as J1939 and receivers have it), a float, two multiplexed signals:
#   to DBC, JSON                                the same
#   to KCD, ARXML, the latitude                 2.0 m to the south: its factor is written with five digits
#   a speed in steps of 1 / 8192 rad/s          3.9995 instead of 3.99951
#   to SYM, the latitude                        the same
#   the float (IEEE 754) 1.5                    1069547520: its bits as a whole number
#   multiplexed signals                         the same in all of them
# Nothing is raised or logged. So: convert to DBC or JSON only, or compare decoded messages before and after.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (40 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'canmatrix==1.2' 'lxml==6.1.3'

cat >"$scratch/probe.py" <<'PYTHON'
import logging
import struct
import sys

import canmatrix.formats

DBC = """VERSION ""
NS_ :
BS_:
BU_: ECU
BO_ 291 Place: 8 ECU
 SG_ latitude : 0|32@1- (8.381903171539307e-08,0) [-180|180] "deg" ECU
 SG_ height : 32|32@1- (1,0) [0|0] "m" ECU
BO_ 292 Wheel: 8 ECU
 SG_ speed : 0|16@1- (0.0001220703125,0) [-4|4] "rad/s" ECU
BO_ 293 Battery: 8 ECU
 SG_ which M : 0|8@1+ (1,0) [0|1] "" ECU
 SG_ volts m0 : 8|16@1+ (0.01,0) [0|655.35] "V" ECU
 SG_ amperes m1 : 8|16@1- (0.01,0) [-327.68|327.67] "A" ECU
SIG_VALTYPE_ 291 height : 1;
"""
SAID = []
logging.getLogger().addHandler(logging.Handler())
logging.getLogger().handlers[-1].emit = lambda record: SAID.append(record.getMessage()) if record.levelno >= logging.WARNING else None
with open("probe.dbc", "w") as file:
    file.write(DBC)
MATRIX = canmatrix.formats.loadp_flat("probe.dbc")
PLACE = struct.pack("<if", round(47.3769 / (180 / 2**31)), 1.5)


def through(ending):
    """The matrix after it was written in a format and read again."""
    canmatrix.formats.dumpp({"": MATRIX}, f"out.{ending}")
    return canmatrix.formats.loadp_flat(f"out.{ending}")


def decoded(matrix, number, data, signal):
    frame = next(one for one in matrix.frames if one.arbitration_id.id == number)
    signals = frame.decode(data)
    return float(signals[signal].phys_value) if signal in signals else None


def seen(matrix):
    latitude = decoded(matrix, 291, PLACE, "latitude")
    height = decoded(matrix, 291, PLACE, "height")
    speed = decoded(matrix, 292, struct.pack("<h6x", 32764), "speed")
    volts = decoded(matrix, 293, struct.pack("<BH5x", 0, 4812), "volts")
    amperes = decoded(matrix, 293, struct.pack("<Bh5x", 1, -250), "amperes")
    return round((latitude - 47.3769) * 111_000, 1), height, round(speed, 5), volts, amperes


SAME = (0.0, 1.5, 3.99951, 48.12, -2.5)
SEEN = [
    ("as read: metres off, m, rad/s, V, A", seen(MATRIX), SAME),
    ("DBC", seen(through("dbc")), SAME),
    ("JSON", seen(through("json")), SAME),
    ("KCD", seen(through("kcd")), (-2.0, 1.5, 3.9995, 48.12, -2.5)),
    ("ARXML", seen(through("arxml")), (-2.0, 1.5, 3.9995, 48.12, -2.5)),
    ("SYM", seen(through("sym")), (0.0, 1069547520.0, 3.99951, 48.12, -2.5)),
    ("warnings", SAID, []),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:38}{found!s:52}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
