#!/usr/bin/env bash
# A drone that stands on its tail (VTOL, catapult, a camera that looks down): Euler angles of an attitude with pymavlink.
#
# Guess: the pitch of an attitude lies between -90 and 90 degrees; angles of a matrix or a quaternion, made a matrix again, are the same attitude.
# Seen with pymavlink 2.4.50 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), `Matrix3.to_euler`, which `Quaternion.euler` uses as well:
#   pitch 89.9 degrees                                89.9
#   pitch 90, -90 degrees                             -180 and 180
#   the attitude made of these angles                 a quarter turn away: level instead of upright
#   2000 attitudes within 0.02 degrees of 90, as      about 590 have a pitch of 180 or -180, for rounding makes the sine 1 or more
#     float32 quaternions (as logs hold them)
#
# So: keep quaternions, or take angles by scipy's Rotation (from_quat([x, y, z, w]).as_euler("ZYX")).
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (200 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pymavlink==2.4.50' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import math
import sys

import numpy as np
from pymavlink.quaternion import Quaternion
from pymavlink.rotmat import Matrix3


def matrix(roll, pitch, yaw):
    made = Matrix3()
    made.from_euler(roll, pitch, yaw)
    return made


def pitch_by(degrees, kind):
    made = matrix(0.0, math.radians(degrees), 0.0)
    return round(math.degrees((made.to_euler() if kind is Matrix3 else Quaternion(made).euler)[1]), 3)


def turned_by(degrees):
    """The angle between an attitude and the one made of its Euler angles."""
    first = matrix(0.0, math.radians(degrees), 0.0)
    between = first.transposed() * matrix(*first.to_euler())
    return round(math.degrees(math.acos((between.a.x + between.b.y + between.c.z - 1) / 2)), 3)


def upright_in_float32():
    """How many of 2000 attitudes near 90 degrees have a pitch beyond 90, given as quaternions of float32."""
    random, beyond = np.random.default_rng(0), 0
    for _ in range(2000):
        pitch, yaw = math.radians(90 + random.uniform(-0.02, 0.02)) / 2, random.uniform(-3, 3) / 2
        wxyz = [math.cos(pitch) * math.cos(yaw), -math.sin(pitch) * math.sin(yaw)]
        wxyz += [math.sin(pitch) * math.cos(yaw), math.cos(pitch) * math.sin(yaw)]
        beyond += abs(Quaternion([float(one) for one in np.float32(wxyz)]).dcm.to_euler()[1]) > 3
    return beyond


SEEN = [
    ("89.9 degrees: Matrix3, Quaternion", (pitch_by(89.9, Matrix3), pitch_by(89.9, Quaternion)), (89.9, 89.9)),
    ("90 degrees", (pitch_by(90, Matrix3), pitch_by(90, Quaternion)), (-180.0, -180.0)),
    ("-90 degrees", (pitch_by(-90, Matrix3), pitch_by(-90, Quaternion)), (180.0, 180.0)),
    ("attitude of the angles, 89.9 degrees", turned_by(89.9), 0.0),
    ("attitude of the angles, 90 degrees", turned_by(90), 90.0),
    ("of 2000 in float32, between 500 and 700", 500 < upright_in_float32() < 700, True),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
