#!/usr/bin/env bash
# Orientations from drivers that change a quaternion's sign from message to message, in numpy-quaternion, quaternionic and rowan.
#
# Guess: q and -q are the same turn, so the mean of two orientations, the middle between them and their rotation vector do not change.
# Seen with numpy-quaternion 2024.0.13, quaternionic 1.0.18, rowan 1.3.2 (PyPI; Python 3.11, x86-64), turns of 11.5 and 34.4 degrees about z:
#   middle by slerp                                22.9 degrees; with one sign changed: numpy-quaternion and rowan 22.9, quaternionic
#                                                  157.1 the other way round
#   squad of either package                        another turn as well
#   mean_rotor_in_chordal_metric                   22.9; with one sign changed 157.1 the other way round, where no sensor ever was
#   as_rotation_vector of -q, 11.5 degrees         349 degrees about -z, in numpy-quaternion, quaternionic and rowan: a controller turns once round
#   the same of -1 (no turn)                       a whole turn about x
#   rowan.rotate by a quaternion of length 2       makes a vector four times as long; the others normalise
#
# So: make the first number positive (q if w >= 0 else -q), or each like the one before (quaternionic.unflip_rotors), before any of these.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (350 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'numpy-quaternion==2024.0.13' 'quaternionic==1.0.18' 'rowan==1.3.2' 'numpy==2.4.6' 'numba==0.68.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings

import numpy as np

warnings.simplefilter("ignore")
import quaternion
import quaternionic
import rowan

A, B = (np.array([np.cos(half), 0, 0, np.sin(half)]) for half in (0.1, 0.3))


def degrees(found):
    w, _, _, z = np.asarray(found, float).ravel()
    return round(float(np.degrees(2 * np.arctan2(z, w))), 1)


def by_numpy(*values):
    return quaternion.as_quat_array(np.array(values))


def middle(a, b):
    first, second = by_numpy(a, b)
    return (
        degrees(quaternion.as_float_array(quaternion.slerp(first, second, 0, 1, 0.5))),
        degrees(rowan.interpolate.slerp(a, b, 0.5)),
        degrees(quaternionic.slerp(quaternionic.array(a), quaternionic.array(b), 0.5)),
    )


def mean(a, b):
    return degrees(quaternion.as_float_array(quaternion.mean_rotor_in_chordal_metric(by_numpy(a, b))))


def squad(a, b):
    return degrees(quaternion.as_float_array(quaternion.squad(by_numpy(a, b, a, b), np.arange(4.0), np.array([0.5]))))


def vector(q):
    axis, angle = rowan.to_axis_angle(q)
    found = quaternion.as_rotation_vector(by_numpy(q)[0]), quaternionic.array(q).to_rotation_vector, np.ravel(axis) * np.ravel(angle)
    return [round(float(np.degrees(np.asarray(one)[2])), 1) for one in found]


SEEN = [
    ("middle", middle(A, B), (22.9, 22.9, 22.9)),
    ("middle, sign changed", middle(A, -B), (22.9, 22.9, -157.1)),
    ("mean, sign changed", (mean(A, B), mean(A, -B)), (22.9, -157.1)),
    ("squad, sign changed", squad(A, B) == squad(A, -B), False),
    ("rotation vector about z", vector(A), [11.5, 11.5, 11.5]),
    ("the same, sign changed", vector(-A), [-348.5, -348.5, -348.5]),
    ("no turn, sign changed", np.degrees(quaternion.as_rotation_vector(by_numpy([-1, 0, 0, 0])[0])).round().tolist(), [360.0, 0.0, 0.0]),
    ("rowan.rotate, length 2", np.linalg.norm(rowan.rotate(2 * A, np.array([0.0, 0, 3]))).round(1).item(), 12.0),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:26}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
