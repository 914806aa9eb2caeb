#!/usr/bin/env bash
# One query point with point-cloud-utils: its nearest neighbours, its distance to a mesh, the ray of one sensor.
#
# Guess: one row asked alone is answered as the same row among others: "(#p, 3)-shaped array", "(one per row)".
# Seen with point-cloud-utils 0.34.0, judged by numpy 2.4.6 (PyPI; Python 3.11, x86-64), the point (0.2, 0.3, 0.4), a tetrahedron of edges 1:
#   k_nearest_neighbors of a cloud that holds it           some 4.6 m from its nearest; asked twice in one call: 0
#   signed_distance_to_mesh, inside                        +0.141, as if it were outside; twice: -0.058, right
#   closest_points_on_mesh                                 0.141; twice: 0.058, right
#   ray_mesh_intersection, from 5 m below                  0.0 m or no hit; two rays: 5.0 m, right
#   one_sided_hausdorff_distance to a cloud that holds it  some 4.6 m; twice: 0
#   float32                                                the same
#   pairwise_distances, winding numbers, Morton codes,     right
#   chamfer_distance, RayMeshIntersector
# An array of one row lies in memory by rows and by columns alike, and these functions then read it the wrong way round. (One ray: an open issue.)
# Nothing is raised; the numbers differ from run to run. So: ask with the row twice and take the first answer.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (110 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'point-cloud-utils==0.34.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import point_cloud_utils as pcu

ONE = np.array([[0.2, 0.3, 0.4]])
CLOUD = np.array([[0.2, 0.3, 0.4], [0.3, 0.4, 0.2], [5.0, 5.0, 5.0], [9.0, 9.0, 9.0]])
CORNERS = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], dtype=np.int32)
BELOW, UP = np.array([[0.1, 0.1, -5.0]]), np.array([[0.0, 0.0, 1.0]])


def both(ask, one=ONE):
    """Whether one row's answer is that of the same row asked twice, and the latter's first number."""
    alone, twice = (float(np.ravel(ask(rows))[0]) for rows in (one, np.repeat(one, 2, axis=0)))
    return abs(alone - twice) < 1e-3, round(twice, 3)


def nearest(rows):
    return pcu.k_nearest_neighbors(rows, CLOUD.astype(rows.dtype), 2)[0]


def ray(rows):
    return pcu.ray_mesh_intersection(CORNERS, FACES, rows, np.repeat(UP, len(rows), axis=0))[2]


def kept_ray(rows):
    return pcu.RayMeshIntersector(CORNERS, FACES).intersect_rays(rows, np.repeat(UP, len(rows), axis=0))[2]


INSIDE = (ONE.sum() - 1) / np.sqrt(3)  # of the face x + y + z = 1; the other three are farther
FAR = round(float(np.linalg.norm(ONE - CLOUD, axis=1).min()), 3)
SEEN = [
    ("by hand: nearest, distance to the mesh", [FAR, round(float(INSIDE), 3)], [0.0, -0.058]),
    ("k_nearest_neighbors", both(nearest), (False, 0.0)),
    ("float32", both(nearest, ONE.astype("f4")), (False, 0.0)),
    ("signed_distance_to_mesh", both(lambda rows: pcu.signed_distance_to_mesh(rows, CORNERS, FACES)[0]), (False, -0.058)),
    ("closest_points_on_mesh", both(lambda rows: pcu.closest_points_on_mesh(rows, CORNERS, FACES)[0]), (False, 0.058)),
    ("ray_mesh_intersection", both(ray, BELOW), (False, 5.0)),
    ("one_sided_hausdorff_distance", both(lambda rows: pcu.one_sided_hausdorff_distance(rows, CLOUD)[0]), (False, 0.0)),
    ("RayMeshIntersector", both(kept_ray, BELOW), (True, 5.0)),
    ("pairwise_distances", both(lambda rows: pcu.pairwise_distances(rows, CLOUD)), (True, 0.0)),
    ("winding numbers", both(lambda rows: pcu.triangle_soup_fast_winding_number(CORNERS, FACES, rows)), (True, 1.0)),
    ("chamfer_distance", both(lambda rows: pcu.chamfer_distance(rows, CLOUD)), (True, 5.864)),
    ("Morton codes", both(lambda rows: pcu.morton_encode((rows * 10).astype(np.int32)))[0], True),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
