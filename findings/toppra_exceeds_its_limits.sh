#!/usr/bin/env bash
# A path of a robot's arm to a trajectory within its limits, with TOPP-RA: the trajectory that `compute_trajectory` gives as by default.
#
# Guess: velocities and accelerations keep to the limits that were given, within a hundredth; a finer grid comes nearer to them.
# Seen with toppra 0.6.10 and numpy 2.3.5 (PyPI; Python 3.11, x86-64), a spline through 5 places, 2 rad/s and 3 rad/s^2 at most, read at 20000 times:
#   as by default                               2.00 rad/s, 3.19 rad/s^2
#   grids of 100, 200, 1000                     3.30, 3.32, 3.36 rad/s^2: finer is worse
#   parametrizer="ParametrizeConstAccel", the   2.00 rad/s, 3.00 rad/s^2
#   same grids
#   DiscretizationType.Collocation, with that   3.7 rad/s^2
# The solution keeps to its limits at each point of the grid; the default then lays a cubic spline through the points in time, and that is what a
# controller is given. Nothing is said. So: ParametrizeConstAccel and a grid of 200, or limits that are a fifth below the real ones.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (250 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'toppra==0.6.10' 'numpy==2.3.5' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import toppra
from toppra import algorithm, constraint

toppra.setup_logging("ERROR")
PLACES = np.array([[0, 0, 0], [1, 0.5, -0.5], [0.5, 1.5, 0.2], [-0.5, 0.3, 1], [0, 0, 0.5]])
SPEED, ACCELERATION = 2.0, 3.0


def limits(most):
    return np.array([[-most, most]] * 3)


def greatest(grid=None, scheme=constraint.DiscretizationType.Interpolation, **how):
    """The greatest speed and acceleration of any joint."""
    if grid:
        how["gridpoints"] = np.linspace(0, 1, grid)
    bounds = [
        constraint.JointVelocityConstraint(limits(SPEED)),
        constraint.JointAccelerationConstraint(limits(ACCELERATION), discretization_scheme=scheme),
    ]
    path = toppra.SplineInterpolator(np.linspace(0, 1, len(PLACES)), PLACES)
    trajectory = algorithm.TOPPRA(bounds, path, **how).compute_trajectory(0, 0)
    times = np.linspace(0, trajectory.duration, 20001)
    return [round(float(np.abs(trajectory(times, order)).max()), 1) for order in (1, 2)]


even = {"parametrizer": "ParametrizeConstAccel"}
SEEN = [
    ("as by default", greatest(), [2.0, 3.2]),
    ("grid of 100", greatest(100), [2.0, 3.3]),
    ("grid of 200", greatest(200), [2.0, 3.3]),
    ("grid of 1000", greatest(1000), [2.0, 3.4]),
    ("ParametrizeConstAccel", greatest(**even), [2.0, 3.0]),
    ("grid of 200", greatest(200, **even), [2.0, 3.0]),
    ("grid of 1000", greatest(1000, **even), [2.0, 3.0]),
    ("Collocation", greatest(scheme=constraint.DiscretizationType.Collocation, **even), [2.0, 3.7]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
