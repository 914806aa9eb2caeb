#!/usr/bin/env bash
# A robot's URDF read and written again in Python, as to change a path or a limit: yourdfpy and urchin.
#
# Guess: what the libraries read (`joint.mimic`, links without mass), they write; kinematics agree between the two.
# Seen with yourdfpy 0.0.60 and urchin 0.0.30 (PyPI; Python 3.11, x86-64), a gripper whose second finger mimics the first:
#   yourdfpy, joint.mimic after reading         there; 1 joint to move
#   after write_xml_file and reading again      gone; 2 joints: the second finger no longer follows. So are safety_controller, calibration,
#                                               transmissions and what is for Gazebo; dynamics stay
#   urchin, after save                          mimic stays, but each link without <inertial> (a camera's frame) weighs 1 kg with
#                                               1 kg m2 about each axis
#   finger positions with all joints at zero    yourdfpy goes by the mimic's offset; urchin's link_fk() does not, unless the first joint
#                                               is named: link_fk({"left": 0.0}) does
# validate() is true; nothing is raised or logged.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (560 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'yourdfpy==0.0.60' 'urchin==0.0.30' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import urchin
import yourdfpy

LIMIT = '<limit lower="-3" upper="3" effort="1" velocity="1"/>'
URDF = f"""<robot name="gripper"><link name="base"/><link name="a"/><link name="b"/>
<joint name="left" type="revolute"><parent link="base"/><child link="a"/><axis xyz="0 0 1"/>{LIMIT}</joint>
<joint name="right" type="revolute"><parent link="base"/><child link="b"/><axis xyz="0 0 1"/>{LIMIT}
<mimic joint="left" multiplier="-1" offset="0.5"/><dynamics damping="0.5" friction="0.1"/>
<safety_controller soft_lower_limit="-2" soft_upper_limit="2" k_position="9" k_velocity="9"/><calibration rising="0.3"/></joint>
<transmission name="t"><type>transmission_interface/SimpleTransmission</type><joint name="left">
<hardwareInterface>EffortJointInterface</hardwareInterface></joint>
<actuator name="motor"><mechanicalReduction>50</mechanicalReduction></actuator></transmission>
<gazebo reference="base"><mu1>0.2</mu1></gazebo></robot>"""
TAGS = ("mimic", "dynamics", "safety_controller", "calibration", "transmission", "gazebo", "inertial")
Path("gripper.urdf").write_text(URDF)


def tags(file):
    root = ET.parse(file).getroot()
    return [tag for tag in TAGS if root.find(f".//{tag}") is not None]


def sine(transform):
    return round(float(transform[1, 0]), 3)


once = yourdfpy.URDF.load("gripper.urdf")
once.write_xml_file("y.urdf")
twice = yourdfpy.URDF.load("y.urdf")
other = urchin.URDF.load("gripper.urdf")
other.save("./u.urdf")
masses = [float(mass.get("value")) for mass in ET.parse("u.urdf").iter("mass")]
once.update_cfg(once.zero_cfg)
SEEN = [
    ("in the file", tags("gripper.urdf"), list(TAGS[:-1])),
    ("yourdfpy, written again", tags("y.urdf"), ["dynamics"]),
    ("joints to move, before and after", [once.actuated_joint_names, twice.actuated_joint_names], [["left"], ["left", "right"]]),
    ("validate", [once.validate(), twice.validate()], [True, True]),
    ("urchin, written again", tags("u.urdf"), list(TAGS)),
    ("masses", masses, [1.0, 1.0, 1.0]),
    ("yourdfpy at zero, sine of right", sine(once.get_transform("b", "base")), 0.479),
    ("urchin, link_fk()", sine(other.link_fk(link="b")), 0.0),
    ("urchin, link_fk of left at 0", sine(other.link_fk({"left": 0.0}, link="b")), 0.479),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:36}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
