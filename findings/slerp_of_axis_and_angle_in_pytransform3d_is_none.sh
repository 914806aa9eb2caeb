#!/usr/bin/env bash
# Half way between two orientations as axis and angle, with pytransform3d: `axis_angle_slerp`, "spherical linear interpolation" like its neighbours.
#
# Guess: it gives the turn that `quaternion_slerp` and `matrix_slerp` of the same package give, to a thousandth of a degree, for the shorter way.
# Seen with pytransform3d 3.17.0, judged by its own quaternion_slerp and by scipy 1.17.1 (PyPI; Python 3.11, x86-64):
#   57 degrees about x to 57 degrees about y    15 degrees off half way; 19 for 115 degrees
#   10 degrees one way about z to 10 the other  axis (0, 0, 0) and 10 degrees half way, instead of no turn; axis (0, 0, 0.5) at a quarter
#   11 degrees about z to 6 degrees about -z,   half way 9 degrees about y, which neither turns about, instead of 3 about z
#   its axis 0.06 degrees aside
#   no turn (axis x, angle 0) to 57 about z     half way 29 degrees about an axis between x and z
#   1000 pairs at random                        25 degrees off in the median; 1 of 20 by more than 170
#   quaternion_slerp(shortest_path=True)        right, all of them, as is matrix_slerp
#   axis_angle_slerp about one and the same     right
# Axis and angle are each interpolated by themselves. Nothing is said. So: by quaternions and back.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (330 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pytransform3d==3.17.0' 'numpy==2.4.6' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import pytransform3d.rotations as pr
from scipy.spatial.transform import Rotation, Slerp


def scipys(start, end, when):
    keys = Rotation.from_rotvec([start[3] * start[:3], end[3] * end[:3]])
    return Slerp([0, 1], keys)(when).as_matrix()


def by_quaternions(start, end, when):
    quaternions = (pr.quaternion_from_axis_angle(one) for one in (start, end))
    return pr.matrix_from_quaternion(pr.quaternion_slerp(*quaternions, when, shortest_path=True))


def by_matrices(start, end, when):
    return pr.matrix_slerp(pr.matrix_from_axis_angle(start), pr.matrix_from_axis_angle(end), when)


def by_axis_and_angle(start, end, when):
    return pr.matrix_from_axis_angle(pr.axis_angle_slerp(start, end, when))


def off(start, end, way=by_axis_and_angle, when=0.5):
    between = Rotation.from_matrix(way(start, end, when)).inv() * Rotation.from_matrix(scipys(start, end, when))
    return float(np.degrees(between.magnitude()))


def turn(x, y, z, angle):
    axis = np.array([x, y, z], float)
    return np.r_[axis / np.linalg.norm(axis), angle]


def half(start, end, when=0.5):
    return np.round(pr.axis_angle_slerp(start, end, when), 2).tolist()


RANDOM = np.random.default_rng(0)
PAIRS = [(pr.random_axis_angle(RANDOM), pr.random_axis_angle(RANDOM)) for _ in range(1000)]
ASIDE = turn(0, 0, 1, 0.2), turn(0, 0.001, -1, 0.1)
SEEN = [
    ("57 degrees about x, y", round(off(turn(1, 0, 0, 1), turn(0, 1, 0, 1))), 15),
    ("115 degrees", round(off(turn(1, 0, 0, 2), turn(0, 1, 0, 2))), 19),
    ("0.175 rad about z, -z: half way", half(turn(0, 0, 1, 0.175), turn(0, 0, -1, 0.175)), [0.0, 0.0, 0.0, 0.18]),
    ("a quarter", half(turn(0, 0, 1, 0.175), turn(0, 0, -1, 0.175), 0.25), [0.0, 0.0, 0.5, 0.18]),
    ("its axis aside", half(*ASIDE), [0.0, 1.0, 0.0, 0.15]),
    ("no turn about x to a turn about z", half(turn(1, 0, 0, 0), turn(0, 0, 1, 1)), [0.71, 0.0, 0.71, 0.5]),
    ("about one axis", round(off(turn(1, 2, 3, 0.3), turn(1, 2, 3, 1.0)), 3), 0.0),
    ("random: median over 20 degrees", float(np.median([off(*pair) for pair in PAIRS])) > 20, True),
    ("over 170 degrees, more than 4 percent", float(np.mean([off(*pair) > 170 for pair in PAIRS])) > 0.04, True),
    ("quaternion_slerp", max(off(*pair, by_quaternions) for pair in PAIRS) < 1e-3, True),
    ("matrix_slerp", max(off(*pair, by_matrices) for pair in PAIRS) < 1e-3, True),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
