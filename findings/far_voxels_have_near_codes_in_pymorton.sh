#!/usr/bin/env bash
# Cells of a map by Morton codes with pymorton: which numbers of a cell come back from the code, in two and three dimensions.
#
# Guess: Python's whole numbers have no end, so that any number of a cell comes back, or is refused as floats are.
# Seen with pymorton 1.0.5 (PyPI; Python 3.11, x86-64):
#   interleave2, up to 65 535               comes back
#   (65 536, 0), (70 000, 70 000)           code 0, as (0, 0); (4464, 4464)
#   interleave3, up to 1023                 comes back
#   (1024, 0, 0)                            code 0: with voxels of 10 cm, what is 102.4 m away lies in the robot's own cell
#   (40 000, 50 000, 60 000)                (64, 848, 608)
#   -1                                      as 65 535 and 1023: a step to the left of the origin is the far edge
#   floats                                  are refused
#   300 m of voxels of 10 cm along x         1024 codes for 3000 cells
# What does not fit in 16 or 10 bits is masked off; neither its page nor its errors say so.
# So: check the range, or point-cloud-utils' codes (signed, 21 bits per axis).
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (30 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pymorton==1.0.5'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import pymorton


def back2(*cell):
    return pymorton.deinterleave2(pymorton.interleave2(*cell))


def back3(*cell):
    return pymorton.deinterleave3(pymorton.interleave3(*cell))


def refused(*cell):
    try:
        pymorton.interleave2(*cell)
    except ValueError:
        return True
    return False


def by_hand(*cell):
    """The code with as many bits as it takes."""
    return sum((number >> bit & 1) << (len(cell) * bit + axis) for axis, number in enumerate(cell) for bit in range(40))


SEEN = [
    ("2D, at the edges", [back2(*cell) == cell for cell in ((0, 0), (65535, 1), (65535, 65535))], [True] * 3),
    ("the code is the one by hand", pymorton.interleave2(123, 4567) == by_hand(123, 4567), True),
    ("(65536, 0), its code", pymorton.interleave2(65536, 0), 0),
    ("by hand", by_hand(65536, 0), 4294967296),
    ("(70000, 70000)", back2(70000, 70000), (4464, 4464)),
    ("3D, at the edges", [back3(*cell) == cell for cell in ((0, 0, 0), (1023, 5, 1023))], [True] * 2),
    ("the code is the one by hand", pymorton.interleave3(12, 345, 678) == by_hand(12, 345, 678), True),
    ("(1024, 0, 0), its code", pymorton.interleave3(1024, 0, 0), 0),
    ("by hand", by_hand(1024, 0, 0), 1073741824),
    ("(40000, 50000, 60000)", back3(40000, 50000, 60000), (64, 848, 608)),
    ("-1", (back2(-1, 0), back3(-1, 0, 0)), ((65535, 0), (1023, 0, 0))),
    ("cells of 0..2999 along x: codes", len({pymorton.interleave3(x, 0, 0) for x in range(3000)}), 1024),
    ("floats are refused", refused(1.0, 2.0), True),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
