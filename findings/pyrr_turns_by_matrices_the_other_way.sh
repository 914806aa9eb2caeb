#!/usr/bin/env bash
# Attitudes with pyrr, which draws and simulates with NumPy: the same turn as quaternion and as matrix, the same three angles as each of them.
#
# Guess: 90 degrees about z bring x to y, by a quaternion, by a matrix, by the matrix of that quaternion; roll, pitch, yaw mean the same in both.
# Seen with pyrr 0.10.3, judged by scipy 1.17.1 (PyPI; Python 3.11, x86-64), what becomes of x, by each kind's own apply_to_vector or `*`:
#   quaternion.create_from_z_rotation           y, as in SciPy
#   matrix33, matrix44.create_from_z_rotation   -y
#   matrix33.create_from_axis_rotation          y: two matrices of one turn are each other's inverse
#   matrix33.create_from_quaternion of the one  -y
#   above, Matrix33(Quaternion) * vector
#   roll, pitch, yaw of 0, 0, 90 degrees        as quaternion about z: y; as matrix about y: z
#   of 0, 90, 0                                 as quaternion about y: -z; as matrix about z: -y
# The numbers of a matrix are those of SciPy's, but apply_to_vector multiplies from the left by a row, and the third angle is another axis. Nothing
# is said. So: keep to quaternions in pyrr, or multiply by NumPy's `matrix @ vector`.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (240 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'pyrr==0.10.3' 'numpy==2.4.6' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from pyrr import Matrix33, Quaternion, Vector3, matrix33, matrix44, quaternion
from scipy.spatial.transform import Rotation

QUARTER, X, Z = np.pi / 2, np.array([1.0, 0, 0]), np.array([0, 0, 1.0])
NAMES = {(1, 0, 0): "x", (0, 1, 0): "y", (0, 0, 1): "z", (-1, 0, 0): "-x", (0, -1, 0): "-y", (0, 0, -1): "-z"}


def named(vector):
    return NAMES[tuple(int(round(float(one))) for one in vector)]


def by_quaternion(one):
    return named(quaternion.apply_to_vector(one, X))


def by_matrix(one):
    return named(matrix33.apply_to_vector(one, X))


turn = quaternion.create_from_z_rotation(QUARTER)
YAW, PITCH = np.array([0, 0, QUARTER]), np.array([0, QUARTER, 0])
SEEN = [
    ("SciPy", named(Rotation.from_euler("z", 90, degrees=True).apply(X)), "y"),
    (
        "quaternion, about z, about an axis",
        [by_quaternion(turn), by_quaternion(quaternion.create_from_axis_rotation(Z, QUARTER))],
        ["y", "y"],
    ),
    (
        "matrix33, about z, about an axis",
        [by_matrix(matrix33.create_from_z_rotation(QUARTER)), by_matrix(matrix33.create_from_axis_rotation(Z, QUARTER))],
        ["-y", "y"],
    ),
    ("matrix44, about z", named(matrix44.apply_to_vector(matrix44.create_from_z_rotation(QUARTER), X)), "-y"),
    ("matrix33 of the quaternion", by_matrix(matrix33.create_from_quaternion(turn)), "-y"),
    ("Quaternion * Vector3", named(Quaternion.from_z_rotation(QUARTER) * Vector3(X)), "y"),
    ("Matrix33(Quaternion) * Vector3", named(Matrix33(Quaternion.from_z_rotation(QUARTER)) * Vector3(X)), "-y"),
    (
        "numbers of the matrix as in SciPy",
        bool(np.allclose(matrix33.create_from_quaternion(turn), Rotation.from_quat(turn).as_matrix())),
        True,
    ),
    (
        "yaw: quaternion, matrix",
        [by_quaternion(quaternion.create_from_eulers(YAW)), by_matrix(matrix33.create_from_eulers(YAW))],
        ["y", "z"],
    ),
    (
        "pitch: quaternion, matrix",
        [by_quaternion(quaternion.create_from_eulers(PITCH)), by_matrix(matrix33.create_from_eulers(PITCH))],
        ["-z", "-y"],
    ),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:36}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
