#!/usr/bin/env bash
# The yaw, pitch and roll of a quaternion with scikit-kinematics (skinematics): `quat.quat2seq`, the inverse of `rotmat.seq2quat`.
#
# Guess: `seq2quat(quat2seq(q))` is q, away from the gimbal lock, for each of the sequences; angles of a quaternion and of its matrix are the same.
# Seen with scikit-kinematics 0.10.4, judged by scipy 1.17.1 (PyPI; Python 3.11, x86-64), 1000 turns of a yaw and a roll of up to 179 degrees each:
#   seq2quat of nautical, Fick, Helmholtz, Euler   right
#   quat2seq, nautical: yaw 135, pitch 20, roll 10   45, 20, 10: the robot that looks back left is said to look forward left
#   nautical, Fick, Helmholtz, all 1000            wrong wherever yaw or roll is over 90 degrees: three of four, by up to 180 degrees
#   yaw and roll within 90 degrees                 right
#   Euler (z, x, z): 30, 20, 10                    150, 20, 10; wrong for all 1000
#   sequence(matrix), nautical                     right, beyond 90 degrees too
#   sequence(matrix), Helmholtz: 30, 20, 10        20, 30, 10: not left to right as the other sequences, so that seq2quat makes another turn of it
#   sequence(matrix), Euler                        wrong for three of four
# Sines are turned back into angles, which have two. Its notes speak of this for the matrix' last angle only. So: SciPy's as_euler("ZYX").
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (400 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'scikit-kinematics==0.10.4' 'scipy==1.17.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from scipy.spatial.transform import Rotation
from skinematics import quat, rotmat

AXES = {"nautical": "ZYX", "Fick": "ZYX", "Helmholtz": "YZX", "Euler": "ZXZ"}
RANDOM = np.random.default_rng(0)
OUTER = RANDOM.uniform(-179, 179, (1000, 2))
MIDDLE = {name: RANDOM.uniform(5, 85, 1000) for name in AXES}


def turns(name):
    angles = np.column_stack([OUTER[:, 0], MIDDLE[name], OUTER[:, 1]])
    return angles, Rotation.from_euler(AXES[name], angles, degrees=True)


def wrong(name, found):
    """Which of the turns made of the angles found are another turn."""
    off = Rotation.from_euler(AXES[name], found, degrees=True) * turns(name)[1].inv()
    return np.degrees(off.magnitude()) > 0.01


def of_quaternions(name):
    return wrong(name, quat.quat2seq(turns(name)[1].as_quat(scalar_first=True), name))


def of_matrices(name):
    return wrong(name, np.degrees([np.ravel(rotmat.sequence(one, to=name)) for one in turns(name)[1].as_matrix()]))


def forth(name):
    """Degrees at most between a turn and the quaternion that seq2quat makes of its angles."""
    angles, right = turns(name)
    made = Rotation.from_quat(np.vstack([rotmat.seq2quat(one, name) for one in angles]), scalar_first=True)
    return round(float(np.degrees((made * right.inv()).magnitude().max())), 6)


def back(angles, name):
    return np.round(quat.quat2seq(rotmat.seq2quat(angles, name), name)[0], 3).tolist()


def back_by_matrix(angles, name):
    matrix = quat.convert(rotmat.seq2quat(angles, name), "rotmat").reshape(3, 3)
    return np.round(np.degrees(np.ravel(rotmat.sequence(matrix, to=name))), 3).tolist()


THREE, BEYOND = ("nautical", "Fick", "Helmholtz"), (np.abs(OUTER) > 90).any(axis=1)
SEEN = [
    ("seq2quat", [forth(name) for name in AXES], [0.0] * 4),
    ("quat2seq, nautical, yaw 135", back([135, 20, 10], "nautical"), [45.0, 20.0, 10.0]),
    ("roll 135", back([30, 20, 135], "nautical"), [30.0, 20.0, 45.0]),
    ("yaw 60", back([60, 20, 10], "nautical"), [60.0, 20.0, 10.0]),
    ("Euler, 30, 20, 10", back([30, 20, 10], "Euler"), [150.0, 20.0, 10.0]),
    ("wrong just where beyond 90", [bool((of_quaternions(name) == BEYOND).all()) for name in THREE], [True] * 3),
    ("percent wrong", [round(100 * of_quaternions(name).mean()) for name in AXES], [75, 75, 75, 100]),
    ("matrix, nautical, yaw 135", back_by_matrix([135, 20, 10], "nautical"), [135.0, 20.0, 10.0]),
    ("matrix, Helmholtz, 30, 20, 10", back_by_matrix([30, 20, 10], "Helmholtz"), [20.0, 30.0, 10.0]),
    ("matrix, percent wrong", [round(100 * of_matrices(name).mean()) for name in AXES], [0, 0, 100, 75]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
