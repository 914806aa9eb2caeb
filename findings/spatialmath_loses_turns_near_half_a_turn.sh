#!/usr/bin/env bash
# Turns of almost 180 degrees in spatialmath (Robotics Toolbox): from a rotation matrix to angle and axis, to its logarithm and back.
#
# Guess: back from the logarithm, a matrix is the one it was to 0.001 degrees, also where the turn is half a turn to the digits that somebody wrote.
# Seen with spatialmath-python 1.1.18, judged by scipy 1.17.1 (PyPI; Python 3.11, x86-64), SO3(R).log() and back, tr2angvec, Twist3(pose):
#   turn about x by pi as float32 has it (3.1415927410)             1.1 degrees off
#   the same and then 0.5 rad about z, as from a frame of a camera  4.5 degrees off
#   3.141593 about x                                                0.1 to 0.2 degrees off
#   3.141, 3.14159, 3.14159265, pi as float64                       0.00 degrees off
#   r2q (UnitQuaternion), SciPy                                     0.00 degrees off, all of them
# Just short of half a turn the axis is read from differences that rounding ate; from 5e-8 rad on another way takes over. Nothing is raised; an
# interpolation or an error of a pose goes wrong by it. So: Rotation.from_matrix(R).as_rotvec() of SciPy, or UnitQuaternion(R).
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (300 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'spatialmath-python==1.1.18' 'numpy==2.3.5' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import spatialmath.base as base
from scipy.spatial.transform import Rotation
from spatialmath import SE3, SO3, Twist3, UnitQuaternion

SHORT_PI = float(np.float32(np.pi))


def off(matrix, back):
    degrees = np.degrees((Rotation.from_matrix(matrix).inv() * Rotation.from_matrix(back)).magnitude())
    return "over 0.5" if degrees > 0.5 else "over 0.02" if degrees > 0.02 else "right"


def by_logarithm(matrix):
    return SO3.Exp(SO3(matrix).log(twist=True)).A


def by_angle_and_axis(matrix):
    angle, axis = base.tr2angvec(matrix)
    return Rotation.from_rotvec(angle * np.asarray(axis)).as_matrix()


def by_twist(matrix):
    return Twist3(SE3.Rt(matrix, [1, 2, 3])).exp().R


def by_quaternion(matrix):
    return UnitQuaternion(SO3(matrix)).R


def by_scipy(matrix):
    return Rotation.from_rotvec(Rotation.from_matrix(matrix).as_rotvec()).as_matrix()


def all_ways(*euler):
    matrix = Rotation.from_euler("xyz", euler).as_matrix()
    return [off(matrix, way(matrix)) for way in (by_logarithm, by_angle_and_axis, by_twist, by_quaternion, by_scipy)]


wrong, right = ["over 0.5"] * 3 + ["right"] * 2, ["right"] * 5
SEEN = [
    ("float32's pi about x", all_ways(SHORT_PI, 0, 0), wrong),
    ("and then 0.5 about z", all_ways(SHORT_PI, 0, 0.5), wrong),
    ("0.3 about y and then float32's pi about z", all_ways(0, 0.3, SHORT_PI), wrong),
    ("3.141593 about x", all_ways(3.141593, 0, 0), ["over 0.02"] * 3 + ["right"] * 2),
    ("3.141", all_ways(3.141, 0, 0), right),
    ("3.14159", all_ways(3.14159, 0, 0), right),
    ("3.14159265", all_ways(3.14159265, 0, 0), right),
    ("pi", all_ways(np.pi, 0, 0), right),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
