#!/usr/bin/env bash
# A map of costs or heights as a smooth function for planning, with CasADi's `interpolant("...", "bspline", ...)`: beside the map.
#
# Guess: beside its grid it goes on, as "linear" does and SciPy's splines, or gives NaN.
# Seen with casadi 3.8.2, scipy 1.17.1 beside it (PyPI; Python 3.11, x86-64), heights of 2 to 7 m over places 0 to 10:
#   "linear" at -1, 10.5                        1.5, 7.25: goes on
#   SciPy's make_interp_spline                  1.5, 7.25: goes on
#   "bspline" at 0, 5, 10                       2, 4.5, 7
#   "bspline" at -1, -1e-9, 10.000000001        0; its derivative is 0 as well
#   in two dimensions, beside one side          0
#   cost (p - 9)^2 + 1 on 0 to 10, p from -5    started at 8: 9, cost 1; started at 12: 11.3, cost 0, "Solve_Succeeded": off the map it is free
#   to 15, with IPOPT
# So: bounds on the place that keep it on the map, or a grid that is wider than those bounds.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (330 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'casadi==3.8.2' 'numpy==2.4.6' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import casadi
import numpy as np
from scipy.interpolate import make_interp_spline

PLACES = np.linspace(0, 10, 11)
HEIGHTS = 2 + 0.5 * PLACES
x = casadi.MX.sym("x")


def of(kind, places, heights=HEIGHTS):
    surface = casadi.interpolant("surface", kind, [PLACES], heights)
    slope = casadi.Function("slope", [x], [casadi.jacobian(surface(x), x)])
    return [round(float(surface(place)), 3) for place in places], [round(float(slope(place)), 3) for place in places]


def in_two_dimensions(place):
    return round(float(casadi.interpolant("surface", "bspline", [PLACES, PLACES], np.full(121, 3.0))(place)), 3)


def cheapest(start):
    """Where the solver ends, at which cost, and what it says."""
    cost, problem = casadi.interpolant("cost", "bspline", [PLACES], (PLACES - 9) ** 2 + 1), casadi.Opti()
    place = problem.variable()
    problem.minimize(cost(place))
    problem.subject_to(problem.bounded(-5, place, 15))
    problem.set_initial(place, start)
    problem.solver("ipopt", {"print_time": False}, {"print_level": 0, "sb": "yes"})
    found = problem.solve()
    return bool(0 <= found.value(place) <= 10), round(float(found.value(cost(place))), 3), found.stats()["return_status"]


SEEN = [
    ("linear", of("linear", [-1, 5, 10.5]), ([1.5, 4.5, 7.25], [0.5, 0.5, 0.5])),
    ("SciPy's spline", make_interp_spline(PLACES, HEIGHTS, 3)([-1, 5, 10.5]).round(3).tolist(), [1.5, 4.5, 7.25]),
    ("bspline on the map", of("bspline", [0, 5, 10]), ([2.0, 4.5, 7.0], [0.5, 0.5, 0.5])),
    ("bspline beside it", of("bspline", [-1, -1e-9, 10 + 1e-9, 10.5]), ([0.0] * 4, [0.0] * 4)),
    ("bspline in two dimensions", [in_two_dimensions([5, 5]), in_two_dimensions([5, 10.1])], [3.0, 0.0]),
    ("from 8: on the map, cost", cheapest(8), (True, 1.0, "Solve_Succeeded")),
    ("from 12", cheapest(12), (False, 0.0, "Solve_Succeeded")),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
