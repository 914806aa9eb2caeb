#!/usr/bin/env bash
# Laser scans of x, y, z and intensity in small_gicp.
#
# Guess: the fourth column of an N x 4 array is left out, or the array is refused; `align` of arrays does leave it out.
# Seen with small_gicp 1.0.1 (PyPI; Python 3.11, x86-64), a scan of [x, y, z, intensity] that was turned by 0.05 rad and moved by 0.2 m:
#   align(array, array)                     right to 0.1 mm: the fourth column is replaced by 1
#   voxelgrid_sampling(array, ...)          right
#   preprocess_points(array, ...)           every place divided by its intensity: (1.37, -2.30) at 165 is (0.008, -0.014)
#   PointCloud(array), then preprocessing   the same; 0 intensity gives infinite places
#   nearest neighbour in PointCloud(array)  another point: difference of intensities counts as a distance
#   align of two such clouds                says it has converged, with nearly every point an inlier, and is 0.18 m off
#
# The column is a homogeneous coordinate, which only N x 3 input sets to 1. So: hand over `scan[:, :3]`, never the whole array.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (60 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'small_gicp==1.0.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import small_gicp

rng = np.random.default_rng(0)
places = rng.uniform(-5, 5, (2000, 3))
places[:, 2] = np.round(places[:, 2] / 3) * 3
intensity = rng.uniform(0, 255, 2000)
moved = np.eye(4)
moved[:2, :2] = [[np.cos(0.05), -np.sin(0.05)], [np.sin(0.05), np.cos(0.05)]]
moved[:3, 3] = 0.2, 0.1, 0.0
later = places @ moved[:3, :3].T + moved[:3, 3]
scans = [np.column_stack([one, intensity]) for one in (places, later)]
plain = [one[:, :3] for one in scans]


def farthest(cloud):
    """Greatest coordinate of a cloud, whole metres."""
    return int(np.abs(np.asarray(cloud.points())[:, :3]).max())


def off_by(pair):
    """Convergence, and error of the pose [m] to one digit, of two preprocessed clouds."""
    (a, _), (b, tree) = (small_gicp.preprocess_points(one, downsampling_resolution=0.1) for one in pair)
    found = small_gicp.align(b, a, tree, max_correspondence_distance=1.0)
    return found.converged, round(float(np.abs(found.T_target_source - moved).max()), 1), found.num_inliers > 1900


def by_arrays(pair):
    found = small_gicp.align(pair[1], pair[0], registration_type="GICP", downsampling_resolution=0.05, max_correspondence_distance=1.0)
    return found.converged, round(float(np.abs(found.T_target_source - moved).max()), 1), found.num_inliers > 1900


def nearest(scan):
    _, index, _ = small_gicp.KdTree(small_gicp.PointCloud(scan)).nearest_neighbor_search(np.zeros(3))
    return index == int(np.linalg.norm(places, axis=1).argmin())


at_one = np.array([[8.0, 4.0, 2.0, 100.0]])
SEEN = [
    ("arrays: converged, error [m], inliers", by_arrays(scans), (True, 0.0, True)),
    ("voxelgrid_sampling of an array", small_gicp.voxelgrid_sampling(at_one, 0.5).points()[0].tolist(), [8.0, 4.0, 2.0, 1.0]),
    ("preprocess_points of an array", np.round(small_gicp.preprocess_points(at_one, downsampling_resolution=0.5)[0].points()[0], 6).tolist(), [0.08, 0.04, 0.02, 1.0]),
    ("voxelgrid_sampling of a PointCloud", np.round(small_gicp.voxelgrid_sampling(small_gicp.PointCloud(at_one), 0.5).points()[0], 6).tolist(), [0.08, 0.04, 0.02, 1.0]),
    ("nearest neighbour is right, N x 4", nearest(scans[0]), False),
    ("nearest neighbour is right, N x 3", nearest(plain[0]), True),
    ("preprocessed, N x 4", off_by(scans), (True, 0.2, True)),
    ("preprocessed, N x 3", off_by(plain), (True, 0.0, True)),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
