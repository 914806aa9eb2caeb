#!/usr/bin/env bash
# A gripper's URDF, and poses of a base, in Pinocchio.
#
# Guess: a joint that the URDF says mimics another moves with it; a pose whose quaternion is not of length one is refused or normalised.
# Seen with pin 4.1.0 (PyPI; Python 3.11, x86-64), two fingers of which the right mimics the left:
#   buildModelFromXML(urdf)                    two joints, each with a number of its own: closing the left leaves the right where it is,
#                                              and random configurations hold the fingers apart; `mimic=True` gives one
#   a free base with a quaternion of length 2  a "rotation" that stretches, here of 1 rad about z: 1 m ahead is 3.47 m away
#   difference to it                           twice the angle
#   XYZQUATToSE3 of the same                   the same
#   `isNormalized`                             says so, when asked
#
# No error, no warning. So: build with `mimic=True`, and `pin.normalize` each configuration that comes from outside.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (250 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pin==4.1.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import pinocchio

MASS = '<inertial><mass value="1"/><inertia ixx="1" ixy="0" ixz="0" iyy="1" iyz="0" izz="1"/></inertial>'
JOINT = '<joint name="{0}" type="prismatic"><parent link="palm"/><child link="{0}_finger"/><axis xyz="0 {1} 0"/>'
JOINT += '<limit lower="0" upper="0.04" effort="1" velocity="1"/>{2}</joint>'
URDF = f'<robot name="gripper"><link name="palm"/><link name="left_finger">{MASS}</link><link name="right_finger">{MASS}</link>'
URDF += JOINT.format("left", 1, "") + JOINT.format("right", -1, '<mimic joint="left" multiplier="1" offset="0"/>') + "</robot>"
LONG = np.array([0, 0, 0, 0, 0, 2 * np.sin(0.5), 2 * np.cos(0.5)])


def fingers(model, *opening):
    data = model.createData()
    pinocchio.forwardKinematics(model, data, np.array(opening))
    return [round(float(data.oMi[joint].translation[1]), 3) for joint in (1, 2)]


plain, coupled = pinocchio.buildModelFromXML(URDF), pinocchio.buildModelFromXML(URDF, mimic=True)
base = pinocchio.buildModelFromXML(URDF, pinocchio.JointModelFreeFlyer())
at = np.concatenate([LONG, [0, 0]])
data = base.createData()
pinocchio.forwardKinematics(base, data, at)
ahead = np.array([1.0, 0, 0])
turned = pinocchio.difference(base, pinocchio.neutral(base), at)[5]
SEEN = [
    ("numbers of a configuration", (plain.nq, coupled.nq), (2, 1)),
    ("left closed by 3 cm", fingers(plain, 0.03, 0.0), [0.03, 0.0]),
    ("the same with mimic=True", fingers(coupled, 0.03), [0.03, -0.03]),
    ("1 m ahead of a base [m]", round(float(np.linalg.norm(data.oMi[1].act(ahead))), 3), 3.469),
    ("turned by 1 rad, difference", round(float(turned), 2), 2.0),
    ("1 m ahead, XYZQUATToSE3 [m]", round(float(np.linalg.norm(pinocchio.XYZQUATToSE3(LONG).act(ahead))), 3), 3.469),
    ("isNormalized", pinocchio.isNormalized(base, at), False),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:34}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
