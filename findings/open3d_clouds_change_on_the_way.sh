#!/usr/bin/env bash
# Point clouds in Open3D: written to files, moved, thinned out and compared.
#
# Guess: text files keep what binary files keep (the points are float64); normals stay of length one; covariances go along with the points;
# a distance that cannot be told is NaN or infinite.
# Seen with open3d 0.20.0 (PyPI; Python 3.11, x86-64), a place at 465123.123, 5247000.456:
#   PLY, binary                           exact
#   PLY, write_ascii=True                 465123, 5247000: six digits (a mesh as OBJ or OFF likewise)
#   PCD, binary                           465123.125, 5247000.5: float32
#   PCD, write_ascii=True                 exact: the other way round than with PLY
#   transform() by a scale of 2           normals of length 2; a shear turns them away from their surface
#   voxel_down_sample()                   a normal is the mean of those in the voxel: two at right angles give length 0.71, two sides of
#                                         a thin wall give 0 0 0
#   scale(2)                              covariances stay as they were; transform() by the same scale makes them four times as large
#   compute_point_cloud_distance()        a missing point (NaN) is 0 from any cloud; each point is 0 from an empty cloud (a warning says
#                                         that there is no data)
# So a cloud that was lost on the way matches perfectly. Look for NaN and for emptiness; normalize_normals() after each of the above.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (1300 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'open3d==0.20.0' 'numpy==2.4.6' 'libusb-package==1.0.30.0'

cat >"$scratch/probe.py" <<'PYTHON'
import ctypes
import sys
from pathlib import Path

import libusb_package
import numpy as np

LIBUSB = next(path for path in Path(libusb_package.__file__).parent.iterdir() if ".so" in path.name)
ctypes.CDLL(str(LIBUSB), mode=ctypes.RTLD_GLOBAL)  # for machines that have none

import open3d as o3d  # noqa: E402

PLACE = np.array([[465123.123, 5247000.456, 100.5]])
GRID = np.random.default_rng(0).random((50, 3))


def cloud(points, normals=None):
    made = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(np.array(points, float)))
    if normals is not None:
        made.normals = o3d.utility.Vector3dVector(np.array(normals, float))
    return made


def read_back(kind, **how):
    o3d.io.write_point_cloud(f"cloud.{kind}", cloud(PLACE), **how)
    return np.asarray(o3d.io.read_point_cloud(f"cloud.{kind}").points)[0, :2].tolist()


def mesh(kind):
    corners = o3d.utility.Vector3dVector(np.vstack([PLACE, PLACE + 1, PLACE + [[1, 0, 0]]]))
    made = o3d.geometry.TriangleMesh(corners, o3d.utility.Vector3iVector([[0, 1, 2]]))
    o3d.io.write_triangle_mesh(f"mesh.{kind}", made)
    return np.asarray(o3d.io.read_triangle_mesh(f"mesh.{kind}").vertices)[0, :2].tolist()


def normal(normals, change):
    points = np.zeros((len(normals), 3)) + np.arange(len(normals))[:, None] * 0.01
    return np.asarray(change(cloud(points, normals)).normals)[0].round(3).tolist()


def spread(change):
    points = cloud(GRID)
    points.estimate_covariances()
    before = np.trace(np.asarray(points.covariances)[0])
    return round(float(np.trace(np.asarray(change(points).covariances)[0]) / before), 3)


def distance(points, other):
    return np.asarray(cloud(points).compute_point_cloud_distance(cloud(other))).tolist()


TWICE, SHEAR = np.diag([2.0, 2.0, 2.0, 1.0]), np.eye(4)
SHEAR[0, 2] = 1.0
exact, six, single = PLACE[0, :2].tolist(), [465123.0, 5247000.0], [465123.125, 5247000.5]
nan = float("nan")
SEEN = [
    ("PLY: binary, text", [read_back("ply"), read_back("ply", write_ascii=True)], [exact, six]),
    ("PCD: binary, text", [read_back("pcd"), read_back("pcd", write_ascii=True)], [single, exact]),
    ("meshes: OBJ, OFF", [mesh("obj"), mesh("off")], [six, six]),
    ("normal 0 0.6 0.8, scale 2", normal([[0, 0.6, 0.8]], lambda c: c.transform(TWICE)), [0.0, 1.2, 1.6]),
    ("normal 0 0 1 of a floor, x sheared by z", normal([[0, 0, 1]], lambda c: c.transform(SHEAR)), [1.0, 0.0, 1.0]),
    ("a floor and a wall in one voxel", normal([[0, 0, 1], [0, 1, 0]], lambda c: c.voxel_down_sample(1.0)), [0.0, 0.5, 0.5]),
    ("two sides of a wall", normal([[0, 1, 0], [0, -1, 0]], lambda c: c.voxel_down_sample(1.0)), [0.0, 0.0, 0.0]),
    ("covariances by scale(2)", spread(lambda c: c.scale(2.0, center=(0, 0, 0))), 1.0),
    ("by transform()", spread(lambda c: c.transform(TWICE)), 4.0),
    ("a missing point, and one 5 away", distance([[nan] * 3, [5, 0, 0]], [[0, 0, 0]]), [0.0, 5.0]),
    ("to an empty cloud", distance([[5, 0, 0]], np.zeros((0, 3))), [0.0]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:42}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
