#!/usr/bin/env bash
# From rotation matrices to quaternions with ahrs, where the turn is half a turn, as between NED and ENU.
#
# Guess: each of the package's ways from a proper matrix to a quaternion gives the same turn, up to the sign of all four.
# Seen with ahrs 0.4.0 and scipy 1.17.1 as a judge (PyPI; Python 3.11, x86-64):
#   DCM(R).to_quaternion(), Quaternion(dcm=R)        right (they use Shepperd's way unless told otherwise)
#   chiaverini(R) of NED to ENU                      [1, 0, 0, 0]: no turn at all
#   chiaverini(R), sarabandi(R), half a turn about (1, 2, 3)    31 degrees off: a component is left out
#   hughes(R) of half a turn about (1, -1, 0)        half a turn off: about (1, 1, 0)
#   dcm2quat(R)                                      the inverse turn, for every R; of half a turn it holds infinity and NaN
#   ecompass of an upside-down sensor                matrix right; as a quaternion [1, 0, 0, 0]: level, to the north
#
# No error but for NumPy's warnings in dcm2quat. So: take matrices, and `Quaternion(dcm=R)` or scipy for the rest.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (130 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'ahrs==0.4.0' 'scipy==1.17.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings

import numpy as np
from ahrs import DCM, Quaternion
from ahrs.common import orientation
from scipy.spatial.transform import Rotation

warnings.simplefilter("ignore")


def off_by(found, matrix):
    """Angle between a quaternion [w, x, y, z] and a matrix [degrees], or what is wrong with the quaternion."""
    found = np.asarray(found, float)
    if not np.isfinite(found).all():
        return "not finite"
    turned = Rotation.from_quat(found[[1, 2, 3, 0]]) * Rotation.from_matrix(matrix).inv()
    return round(float(np.degrees(turned.magnitude())))


def half(*axis):
    return Rotation.from_rotvec(np.pi * np.array(axis) / np.linalg.norm(axis)).as_matrix()


NED_TO_ENU = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]])
OTHER = np.array([[0.0, -1, 0], [-1, 0, 0], [0, 0, -1]])
QUARTER = Rotation.from_euler("z", 90, degrees=True).as_matrix()
gravity, field = np.array([0.0, 0, -9.81]), np.array([0.0, 25, -43])
compass = orientation.ecompass(gravity, field, frame="NED")
SEEN = [
    ("Quaternion(dcm=...)", [off_by(Quaternion(dcm=one), one) for one in (NED_TO_ENU, OTHER, half(1, 2, 3))], [0, 0, 0]),
    ("DCM(...).to_quaternion()", [off_by(DCM(one).to_quaternion(), one) for one in (NED_TO_ENU, OTHER, half(1, 2, 3))], [0, 0, 0]),
    ("chiaverini, NED to ENU", orientation.chiaverini(NED_TO_ENU).tolist(), [1.0, 0.0, 0.0, 0.0]),
    ("chiaverini, about (1, 2, 3)", off_by(orientation.chiaverini(half(1, 2, 3)), half(1, 2, 3)), 31),
    ("sarabandi, about (1, 2, 3)", off_by(orientation.sarabandi(half(1, 2, 3)), half(1, 2, 3)), 31),
    ("hughes, NED to ENU, about (1, -1, 0)", [off_by(orientation.hughes(one), one) for one in (NED_TO_ENU, OTHER)], [0, 180]),
    ("dcm2quat of a quarter turn", off_by(orientation.dcm2quat(QUARTER), QUARTER), 180),
    ("dcm2quat of half a turn", off_by(orientation.dcm2quat(NED_TO_ENU), NED_TO_ENU), "not finite"),
    ("compass, matrix", np.round(compass).astype(int).tolist(), NED_TO_ENU.astype(int).tolist()),
    ("compass, quaternion", orientation.ecompass(gravity, field, frame="NED", representation="quaternion").tolist(), [1.0, 0.0, 0.0, 0.0]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:40}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
