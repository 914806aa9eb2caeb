#!/usr/bin/env bash
# A pose as a screw (an axis, an angle, a way along it) with dual_quaternions: `screw()` and back by `from_screw`.
#
# Guess: `DualQuaternion.from_screw(*pose.screw())` is the pose, for every pose; the angle belongs to the axis it comes with.
# Seen with dual_quaternions 0.4.0, judged by scipy 1.17.1 (PyPI; Python 3.11, x86-64), poses from 4 x 4 matrices, turned about z:
#   10, 100, 179 degrees                        back as they were: axis z, angle 10, 100, 179
#   181, 200, 270 degrees                       2, 40 and 180 degrees off: axis -z, angle -179, -160, -90; either of the two signs would do
#   300 random poses                            of 113 whose quaternion has w < 0 every one is off, by up to 180 degrees; of the others none
#   a pose with its quaternion's sign turned,   likewise, at any angle
#   which is the same pose
#   sclerp of the same poses                    right
# The place is right. Nothing is raised. So: take the angle's absolute value, or turn the sign of a dual quaternion with w < 0 before screw().
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (240 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'dual-quaternions==0.4.0' 'numpy==2.4.6' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from dual_quaternions import DualQuaternion
from scipy.spatial.transform import Rotation

PLACE = np.array([1.0, 2.0, 3.0])


def pose(turn):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn.as_matrix(), PLACE
    return DualQuaternion.from_homogeneous_matrix(matrix)


def about_z(degrees):
    return Rotation.from_euler("z", degrees, degrees=True)


def off(one, turn):
    """By how many degrees a screw there and back is off, and whether the place is right."""
    back = DualQuaternion.from_screw(*one.screw()).homogeneous_matrix()
    angle = np.degrees((Rotation.from_matrix(back[:3, :3]) * turn.inv()).magnitude())
    return round(float(angle), 3), bool(np.allclose(back[:3, 3], PLACE))


def axis_and_angle(degrees):
    axis, _, angle, _ = pose(about_z(degrees)).screw()
    return round(float(axis[2])), round(float(np.degrees(angle)))


def of_random():
    turns = Rotation.random(300, random_state=1)
    poses = [pose(turn) for turn in turns]
    below = np.array([one.q_r.w < 0 for one in poses])
    angles = np.array([off(*one)[0] for one in zip(poses, turns)])
    return int(below.sum()), int((angles[below] > 1e-3).sum()), int((angles[~below] > 1e-3).sum()), bool(angles.max() > 170)


def other_sign(degrees):
    turn = about_z(degrees)
    numbers = np.array(pose(turn).quat_pose_array())
    numbers[:4] *= -1
    return off(DualQuaternion.from_quat_pose_array(numbers.tolist()), turn)


def half_way(degrees):
    start = DualQuaternion.identity()
    found = DualQuaternion.sclerp(start, pose(about_z(degrees)), 0.5).homogeneous_matrix()
    return round(float(np.degrees(Rotation.from_matrix(found[:3, :3]).as_rotvec()[2])))


SEEN = [
    ("10, 100, 179 degrees: off, place right", [off(pose(about_z(one)), about_z(one)) for one in (10, 100, 179)], [(0.0, True)] * 3),
    (
        "181, 200, 270 degrees",
        [off(pose(about_z(one)), about_z(one)) for one in (181, 200, 270)],
        [(2.0, True), (40.0, True), (180.0, True)],
    ),
    ("z of axis, angle: 100, 200, 270", [axis_and_angle(one) for one in (100, 200, 270)], [(1, 100), (-1, -160), (-1, -90)]),
    ("random: w < 0, off of these, of others", of_random(), (113, 113, 0, True)),
    ("30 degrees, the other sign", other_sign(30), (60.0, True)),
    ("sclerp half way to 100, 200, 270", [half_way(one) for one in (100, 200, 270)], [50, -80, -45]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:40}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
