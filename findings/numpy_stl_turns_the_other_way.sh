#!/usr/bin/env bash
# A robot's part turned in numpy-stl: `rotate`, `rotate_using_matrix`, `transform`, and its area after that.
#
# Guess: 90 degrees about z bring x to y (right hand), a rotation matrix is applied as it stands, as in `transform`; areas are those of the triangles.
# Seen with numpy-stl 4.1.1, judged by scipy 1.17.1 (PyPI; Python 3.11, x86-64), a corner at (1, 0, 0):
#   transform(matrix of 90 degrees about z)     (0, 1, 0), as in SciPy
#   rotate([0, 0, 1], radians(90))              (0, -1, 0)
#   rotate_using_matrix(that matrix)            (0, -1, 0): its transpose acts
#   rotate about x, y                           likewise the left hand's way
#   a mesh filled by `vectors`, as in its       areas 0; update_areas() and update_normals() have to be called
#   README: areas
#   filled by Mesh(data) and then made twice    its first areas, a quarter of the right ones; after a call of max_ the first extent, too
#   as large in place
# There is no word of the direction in the docstring of `rotate`. So: `transform`, or `-angle`; update_areas(), update_max() after each change.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (240 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'numpy-stl==4.1.1' 'numpy==2.4.6' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from scipy.spatial.transform import Rotation
from stl import mesh

CORNERS = np.array([[[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]])
QUARTER = np.radians(90)


def made():
    data = np.zeros(1, dtype=mesh.Mesh.dtype)
    data["vectors"] = CORNERS
    return mesh.Mesh(data)


def filled():
    part = mesh.Mesh(np.zeros(1, dtype=mesh.Mesh.dtype))
    part.vectors[:] = CORNERS
    return part


def turned(act):
    part = made()
    act(part)
    return (np.round(part.vectors[0]) + 0.0).tolist()


def right(axis):
    return (np.round(Rotation.from_rotvec(QUARTER * np.array(axis)).apply(CORNERS[0])) + 0.0).tolist()


def left(axis):
    return (np.round(Rotation.from_rotvec(-QUARTER * np.array(axis)).apply(CORNERS[0])) + 0.0).tolist()


X, Y, Z = np.eye(3)
MATRIX = np.eye(4)
MATRIX[:3, :3] = Rotation.from_rotvec(QUARTER * Z).as_matrix()
larger = made()
before = round(float(larger.areas.sum()), 3), larger.max_.tolist()
larger.vectors *= 2
after = round(float(larger.areas.sum()), 3), larger.max_.tolist()
larger.update_areas()
larger.update_max()
later = round(float(larger.areas.sum()), 3), larger.max_.tolist()
SEEN = [
    ("transform is right", turned(lambda part: part.transform(MATRIX)) == right(Z), True),
    (
        "rotate about x, y, z is right",
        [turned(lambda part, axis=axis: part.rotate(axis, QUARTER)) == right(axis) for axis in (X, Y, Z)],
        [False] * 3,
    ),
    (
        "rotate goes the left hand's way",
        [turned(lambda part, axis=axis: part.rotate(axis, QUARTER)) == left(axis) for axis in (X, Y, Z)],
        [True] * 3,
    ),
    ("rotate_using_matrix: first corner", turned(lambda part: part.rotate_using_matrix(MATRIX[:3, :3]))[0], [0.0, -1.0, 0.0]),
    ("filled by vectors: area", float(filled().areas.sum()), 0.0),
    ("area, extent", before, (0.866, [1.0, 1.0, 1.0])),
    ("twice as large: area, extent", after, (0.866, [1.0, 1.0, 1.0])),
    ("after update_areas, update_max", later, (3.464, [2.0, 2.0, 2.0])),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:36}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
