#!/usr/bin/env bash
# How far an orientation is from the wanted one, as a reward or an error has it, with `quat_dist` of dm_control.
#
# Guess: it is "the rotational distance from source to target": the angle between them, whichever sign a quaternion has.
# Seen with dm_control 1.0.50, judged by scipy 1.17.1 (PyPI; Python 3.11, x86-64), two orientations 0, 10, 90 and 180 degrees apart:
#   quat_dist                                   0, 5, 45 and 90 degrees: half of it
#   quat_dist, one of them with its sign turned 180, 175, 135 and 90: the nearer, the farther (0 only where both are equal to the last digit)
#   quat_to_axisangle, length                   0, 10, 90 and 180, with either sign
# It is the length of the quaternion's logarithm, which is half an angle and knows the two signs apart; MuJoCo, its mat_to_quat and an integration
# give either sign. A policy is then taught away from where it should go. So: 2 * min(d, pi - d), or quat_to_axisangle of quat_diff.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (360 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'dm_control==1.0.50' 'numpy==2.4.6' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from dm_control.utils import transformations
from scipy.spatial.transform import Rotation

START = Rotation.from_euler("xyz", [0.3, 0.4, 0.5])


def numbers(turn):
    return np.roll(turn.as_quat(), 1)


def apart(degrees, sign=1.0):
    """What the two functions say of orientations that are so many degrees apart, and SciPy."""
    end = START * Rotation.from_rotvec([0, np.radians(degrees), 0])
    source, target = numbers(START), sign * numbers(end)
    distance = np.degrees(transformations.quat_dist(source, target)).item()
    axis_angle = np.linalg.norm(transformations.quat_to_axisangle(transformations.quat_diff(source, target)))
    return [round(distance), round(float(np.degrees(axis_angle))), round(float(np.degrees((START.inv() * end).magnitude())))]


SEEN = [
    ("10 degrees", apart(10), [5, 10, 10]),
    ("90 degrees", apart(90), [45, 90, 90]),
    ("180 degrees", apart(180), [90, 180, 180]),
    ("10 degrees, sign turned", apart(10, -1.0), [175, 10, 10]),
    ("90 degrees, sign turned", apart(90, -1.0), [135, 90, 90]),
    ("0.001 degrees, sign turned", apart(0.001, -1.0), [180, 0, 0]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
