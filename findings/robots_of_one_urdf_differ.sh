#!/usr/bin/env bash
# A joint of a robot's URDF that turns about a slanted axis, or has no axis, in four libraries for kinematics.
#
# Guess: the axis is the one in the file, and (1, 0, 0) where there is none, as URDF has it: all four put the tip at the same place.
# Seen with roboticstoolbox-python 1.5.0, kinpy 0.6.1, yourdfpy 0.0.60, mujoco 4.0.0 (PyPI; Python 3.11, x86-64), a joint at 0.4 rad or 0.4 m:
#   axis 0 0 1, 0 -1 0                            right in all
#   axis 0 0.001 1, as of a joint that CAD or     roboticstoolbox: 57 degrees off
#   a calibration tilted by 0.06 degrees
#   0 0.17 0.98; 0.577 0.577 0.577                57 and 51 degrees off
#   prismatic, axis 0.7071 0 0.7071               0.31 m off
#   no <axis>                                     kinpy: 32 degrees off; prismatic 0.57 m: it goes by (0, 0, 1)
#   at angle 0, axis 0 0.001 1                    roboticstoolbox: 57 degrees off already there
#   yourdfpy, mujoco                              right in all
# Nothing is raised. So: for roboticstoolbox give each slanted joint a frame of its own (a fixed joint that tilts) and axis 0 0 1; for kinpy write
# every axis out; compare the tip's pose with a second library once.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (600 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'roboticstoolbox-python==1.5.0' 'kinpy==0.6.1' 'yourdfpy==0.0.60' 'mujoco==4.0.0' 'numpy==2.3.5' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import os
import sys
import warnings

warnings.filterwarnings("ignore")
import kinpy
import mujoco
import numpy as np
import roboticstoolbox
import yourdfpy

TURN = 0.4
URDF = """<robot name="arm"><link name="base"/><link name="tip"/>
<joint name="shoulder" type="{kind}"><parent link="base"/><child link="tip"/>{axis}
<limit lower="-3" upper="3" effort="1" velocity="1"/></joint></robot>"""
MASS = '<link name="tip"><inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial></link>'


def by_yourdfpy(path, _text, turn):
    robot = yourdfpy.URDF.load(path)
    robot.update_cfg([turn])
    return robot.get_transform("tip", "base")


def by_mujoco(_path, text, turn):
    model = mujoco.MjModel.from_xml_string(text.replace('<link name="tip"/>', MASS))
    data = mujoco.MjData(model)
    data.qpos[0] = turn
    mujoco.mj_kinematics(model, data)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = data.body("tip").xmat.reshape(3, 3), data.body("tip").xpos
    return pose


def by_kinpy(_path, text, turn):
    return kinpy.build_chain_from_urdf(text).forward_kinematics({"shoulder": turn})["tip"].matrix()


def by_roboticstoolbox(path, _text, turn):
    return roboticstoolbox.Robot.URDF(path).fkine([turn], end="tip").A


def by_hand(axis, kind, turn):
    pose, axis = np.eye(4), np.array(axis) / np.linalg.norm(axis)
    if kind == "prismatic":
        pose[:3, 3] = turn * axis
        return pose
    cross = np.cross(axis, np.eye(3)).T
    pose[:3, :3] = np.eye(3) + np.sin(turn) * cross + (1 - np.cos(turn)) * cross @ cross
    return pose


def off(reader, axis, kind, turn):
    """How far the tip is from where the axis puts it: degrees, or metres for a prismatic joint."""
    path, text = os.path.abspath("arm.urdf"), URDF.format(kind=kind, axis=f'<axis xyz="{" ".join(map(str, axis))}"/>' if axis else "")
    with open(path, "w") as file:
        file.write(text)
    found, right = np.asarray(reader(path, text, turn)), by_hand(axis or (1, 0, 0), kind, turn)
    if kind == "prismatic":
        return round(float(np.linalg.norm(found[:3, 3] - right[:3, 3])), 2)
    cosine = (np.trace(found[:3, :3].T @ right[:3, :3]) - 1) / 2
    return round(float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))), 1)


def all_four(axis, kind="revolute", turn=TURN):
    return [off(reader, axis, kind, turn) for reader in (by_yourdfpy, by_mujoco, by_kinpy, by_roboticstoolbox)]


SEEN = [
    ("axis 0 0 1", all_four((0, 0, 1)), [0.0] * 4),
    ("axis 0 -1 0", all_four((0, -1, 0)), [0.0] * 4),
    ("axis 0 0.001 1", all_four((0, 0.001, 1)), [0.0, 0.0, 0.0, 57.3]),
    ("the same at angle 0", all_four((0, 0.001, 1), turn=0.0), [0.0, 0.0, 0.0, 57.3]),
    ("axis 0 0.17365 0.98481", all_four((0, 0.17365, 0.98481)), [0.0, 0.0, 0.0, 57.1]),
    ("axis 0.577 0.577 0.577", all_four((0.577, 0.577, 0.577)), [0.0, 0.0, 0.0, 51.1]),
    ("prismatic, 0.7071 0 0.7071", all_four((0.7071, 0, 0.7071), "prismatic"), [0.0, 0.0, 0.0, 0.31]),
    ("no axis", all_four(None), [0.0, 0.0, 32.3, 0.0]),
    ("no axis, prismatic", all_four(None, "prismatic"), [0.0, 0.0, 0.57, 0.0]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
