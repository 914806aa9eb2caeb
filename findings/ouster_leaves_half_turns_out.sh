#!/usr/bin/env bash
# A lidar that hangs upside down, or that came back the way it went, with ouster-sdk: poses between poses, and the turn that makes gravity point down.
#
# Guess: `interp_pose` at a known stamp is the known pose, and half way there half of the turn, about one axis or the other; what is measured as
# (0, 0, -9.81) is turned to (0, 0, 1), by any half turn.
# Seen with ouster-sdk 1.0.1, judged by scipy 1.17.1 (PyPI; Python 3.11, x86-64), two poses 1 m and a turn apart, 100 axes:
#   interp_pose, 179.999999 degrees            half way 90, at the end 179.999999: right
#   180 degrees (yaw, roll, any axis)          0 at every stamp, at the second pose's own as well: it looks the way it did before; the metre is right
#   interp_pose_float, 180 degrees             one axis in 25, yaw from standing straight among them
#   get_rot_matrix_to_align_to_gravity of      the identity: gravity still points up; (0, 0, -1) the same, with fix_yaw and without
#   (0, 0, -9.81)
#   (1e-8, 0, -9.81), (9.81, 0, 0)             right
# Nothing is said. So: SciPy's Slerp between poses; a sensor mounted head down is turned by its mount's own matrix, not by gravity.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (450 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'ouster-sdk==1.0.1' 'numpy==2.4.6' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from ouster.sdk import core
from scipy.spatial.transform import Rotation

RANDOM = np.random.default_rng(0)
AXES = RANDOM.normal(size=(100, 3))
AXES /= np.linalg.norm(AXES, axis=1, keepdims=True)


def pose(turn, place):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn.as_matrix(), place
    return matrix


def between(axis, degrees, start=None, single=False):
    """Degrees from the first pose, and metres, half way and at the second pose's stamp."""
    first = start or Rotation.identity()
    known = np.stack([pose(first, [0, 0, 0]), pose(first * Rotation.from_rotvec(np.radians(degrees) * axis), [1, 0, 0])])
    if single:
        found = core.interp_pose_float(np.array([0.5, 1.0]), np.array([0.0, 1.0]), known.astype("f4"))
    else:
        found = core.interp_pose(np.array([0.5, 1.0]), np.array([0.0, 1.0]), known)
    turned = [np.degrees((first.inv() * Rotation.from_matrix(one[:3, :3].astype(float))).magnitude()) for one in found]
    return [round(float(one), 1) for one in turned], [round(float(one), 3) for one in np.asarray(found)[:, 0, 3]]


def lost(degrees, single=False):
    """How many of the 100 axes lose their turn."""
    starts = [Rotation.random(random_state=number) for number in range(100)]
    return sum(between(axis, degrees, start, single)[0][0] < 1 for axis, start in zip(AXES, starts, strict=True))


def down(*measured):
    """Where gravity points once it is turned by the matrix."""
    turns = [core.get_rot_matrix_to_align_to_gravity(*measured, fix_yaw) for fix_yaw in (True, False)]
    return [round(float((turn @ measured)[2] / np.linalg.norm(measured)), 3) for turn in turns]


X, Z = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
SEEN = [
    ("yaw 90, half way and at the end", between(Z, 90), ([45.0, 90.0], [0.5, 1.0])),
    ("yaw 179.999999", between(Z, 179.999999)[0], [90.0, 180.0]),
    ("yaw 180", between(Z, 180), ([0.0, 0.0], [0.5, 1.0])),
    ("roll 180", between(X, 180)[0], [0.0, 0.0]),
    ("axes lost of 100: 180, 179.999999", [lost(180), lost(179.999999)], [100, 0]),
    ("float: some, fewer than half", 0 < lost(180, single=True) < 50, True),
    ("float, yaw from standing straight", between(Z, 180, single=True)[0], [0.0, 0.0]),
    ("gravity (0, 0, 9.81)", down(0.0, 0.0, 9.81), [1.0, 1.0]),
    ("(0, 0, -9.81)", down(0.0, 0.0, -9.81), [-1.0, -1.0]),
    ("(0, 0, -1)", down(0.0, 0.0, -1.0), [-1.0, -1.0]),
    ("(1e-8, 0, -9.81)", down(1e-8, 0.0, -9.81), [1.0, 1.0]),
    ("(9.81, 0, 0)", down(9.81, 0.0, 0.0), [1.0, 1.0]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
