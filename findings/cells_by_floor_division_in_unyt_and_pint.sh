#!/usr/bin/env bash
# In which cell of a grid a place is, with units: places in millimetres, cells in metres, with unyt and pint.
#
# Guess: `place // cell`, `floor(place / cell)` and remainders are the same whichever units both have; what cannot be combined is refused.
# Seen with unyt 3.2.0, pint 0.25.3, numpy 2.4.6 (PyPI; Python 3.11, x86-64), 1500 2500 500 mm by 1.5 2 0.7 m (right: 1 1 0, rest 0 500 500):
#   unyt, place // cell                       1, 1.25, 0.714; so is 1500 mm // 1 m 1.5
#   divmod(place, cell)                       1000, 1250, 714 mm; 0, 0, 0.2 mm
#   place % cell, floor(place / cell)         right
#   pint, place // cell, divmod, %            right
#   numpy.mod, fmod(place, cell)              0, 0, 0.2 mm
#   numpy.floor(place / cell)                 1000, 1250, 714 mm/m, which is 1, 1.25, 0.714: mm/m is kept as a unit, and rounded to its thousandth
#   numpy.sum(place, initial=1.5 m), diff(place, prepend=1.5 m), ediff1d(to_end=), in both of them: 1.5 m counts as 1.5 mm
#   unyt, gradient(place, 1.5 m)              in mm, and as if the step were 1.5
#   numpy.round(place / cell), clip, where    right or refused in unyt
# Nothing is raised or logged. So: one unit for all lengths at the border of the program, `.to("m")`, and only then divide.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (190 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'unyt==3.2.0' 'pint==0.25.3' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import pint
import unyt

PLACES, CELLS = np.array([1500.0, 2500.0, 500.0]), np.array([1.5, 2.0, 0.7])
registry = pint.UnitRegistry()
u_place, u_cell = unyt.unyt_array(PLACES, "mm"), unyt.unyt_array(CELLS, "m")
p_place, p_cell = registry.Quantity(PLACES, "mm"), registry.Quantity(CELLS, "m")


def shown(value):
    numbers, unit = (value.v, value.units) if isinstance(value, unyt.unyt_array) else (value.magnitude, f"{value.units:~}")
    return np.round(numbers, 3).tolist(), str(unit)


RATIO, REST = [1.0, 1.0, 0.0], ([0.0, 500.0, 500.0], "mm")
WRONG, RAW = [1.0, 1.25, 0.714], [1000.0, 1250.0, 714.0]
mean = unyt.unyt_quantity(1500.0, "mm")
SEEN = [
    ("unyt, //", shown(u_place // u_cell), (WRONG, "dimensionless")),
    ("unyt, 1500 mm // 1 m", float(mean // unyt.unyt_quantity(1.0, "m")), 1.5),
    ("unyt, divmod", [shown(one) for one in divmod(u_place, u_cell)], [(RAW, "mm"), ([0.0, 0.0, 0.2], "mm")]),
    ("unyt, %", shown(u_place % u_cell), REST),
    ("unyt, floor of /", shown(np.floor(u_place / u_cell)), (RATIO, "dimensionless")),
    ("pint, //, %", [shown(p_place // p_cell), shown(p_place % p_cell)], [(RATIO, ""), REST]),
    ("pint, mod, fmod", [shown(one(p_place, p_cell)) for one in (np.mod, np.fmod)], [([0.0, 0.0, 0.2], "mm")] * 2),
    ("pint, floor of /", shown(np.floor(p_place / p_cell)), (RAW, "mm / m")),
    ("pint, the same as a number", np.round(np.floor(p_place / p_cell).to("").magnitude, 3).tolist(), WRONG),
    ("sum(initial=1.5 m)", [shown(np.sum(one, initial=cell[0]))[0] for one, cell in ((u_place, u_cell), (p_place, p_cell))], [4501.5] * 2),
    (
        "diff(prepend=1.5 m)",
        [shown(np.diff(one, prepend=cell[0]))[0][0] for one, cell in ((u_place, u_cell), (p_place, p_cell))],
        [1498.5] * 2,
    ),
    (
        "ediff1d(to_end=1.5 m)",
        [shown(np.ediff1d(one, to_end=cell[0]))[0][-1] for one, cell in ((u_place, u_cell), (p_place, p_cell))],
        [1.5] * 2,
    ),
    ("unyt, gradient by 1.5 m", shown(np.gradient(u_place, u_cell[0])), ([0.667, -0.333, -1.333], "mm")),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:28}{found!s:62}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
