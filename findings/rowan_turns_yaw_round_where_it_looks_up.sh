#!/usr/bin/env bash
# Quaternions to Euler angles with rowan where the middle angle is a quarter turn: a camera that looks straight up, a drone on its tail.
#
# Guess: `from_euler(to_euler(q))` is q for each of the 12 conventions, intrinsic and extrinsic; where two axes coincide, one of the angles is 0.
# Seen with rowan 1.3.2, judged by scipy 1.17.1 (PyPI; Python 3.11, x86-64), the middle angle at +90 or -90 degrees (0 or 180 for xyx and the like):
#   46 of 48 cases                              back within 0.01 degrees
#   xyz extrinsic (roll, pitch, yaw) at +90     up to 180 degrees off: roll 0.3, yaw 0.4 give roll +0.1; SciPy -0.1, which is right
#   yzx extrinsic at +90                        up to 180 degrees off
#   the same two at -90 and at 89 degrees       right
# It warns of a gimbal lock and of a third angle set to zero; the first has the wrong sign. So: SciPy's as_euler, or matrices.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (250 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'rowan==1.3.2' 'scipy==1.17.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings

import numpy as np
import rowan
from scipy.spatial.transform import Rotation

warnings.simplefilter("ignore")
CONVENTIONS = ["xyz", "xzy", "yxz", "yzx", "zxy", "zyx", "xyx", "xzx", "yxy", "yzy", "zxz", "zyz"]


def off(angles, convention, kind):
    """Degrees between a quaternion and the one of its Euler angles."""
    one = rowan.from_euler(*angles, convention=convention, axis_type=kind)
    back = rowan.from_euler(*rowan.to_euler(one, convention, kind), convention=convention, axis_type=kind)
    return np.degrees(2 * np.arccos(min(1.0, abs(float(one @ back)))))


def worst(middle, convention, kind):
    random = np.random.default_rng(0)
    return max(off((random.uniform(-3, 3), middle, random.uniform(-3, 3)), convention, kind) for _ in range(50))


def cases():
    for convention in CONVENTIONS:
        for middle in (90, -90) if len(set(convention)) == 3 else (0, 180):
            for kind in ("extrinsic", "intrinsic"):
                yield convention, kind, middle


def both(*angles):
    one = rowan.from_euler(*angles, convention="xyz", axis_type="extrinsic")
    mine = rowan.to_euler(one, "xyz", "extrinsic")
    theirs = Rotation.from_quat(np.roll(one, -1)).as_euler("xyz")
    return [round(float(mine[0]), 3), round(float(theirs[0]), 3)]


wrong = [case for case in cases() if worst(np.radians(case[2]), *case[:2]) > 0.01]
SEEN = [
    ("cases", len(list(cases())), 48),
    ("wrong", wrong, [("xyz", "extrinsic", 90), ("yzx", "extrinsic", 90)]),
    ("by more than 150 degrees", [bool(worst(np.pi / 2, convention, "extrinsic") > 150) for convention in ("xyz", "yzx")], [True, True]),
    ("at 89 degrees", [bool(worst(np.radians(89), convention, "extrinsic") < 0.01) for convention in ("xyz", "yzx")], [True, True]),
    ("roll at +90, SciPy's", both(0.3, np.pi / 2, 0.4), [0.1, -0.1]),
    ("roll at -90, SciPy's", both(0.3, -np.pi / 2, 0.4), [0.7, 0.7]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
