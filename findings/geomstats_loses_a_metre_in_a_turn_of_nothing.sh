#!/usr/bin/env bash
# Poses and directions as points of a manifold with geomstats: the logarithm of a pose that hardly turns, and of a direction that is almost opposite.
#
# Guess: `exp(log(x))` is x to a micrometre, and a logarithm is as long as the distance, which is at most pi between directions.
# Seen with geomstats 2.8.0 and numpy 2.3.5 (PyPI; Python 3.11, x86-64):
#   SE(3) as vectors, 374 m away, turned by
#   0.001 rad; 1e-7 rad; 0                      right to a micrometre, each of them
#   1e-6 rad; 3.2e-7; 1.8e-7                    3 cm off; 24 cm; 88 cm
#   the same as matrices                        right, all of them
#   direction at 3.1415926 rad from another     metric.dist right; the logarithm 0.008 rad too short, its exp half a degree aside
#   at pi - 1e-8                                dist right; the logarithm 256 million rad long, its exp 49 degrees aside
#   at 3.1415; at pi                            right
# A turn far below what a sensor notices, of which an optimiser makes plenty near its end. Nothing is said. So: point_type="matrix".
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (480 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'geomstats==2.8.0' 'numpy==2.3.5' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from geomstats.geometry.hypersphere import Hypersphere
from geomstats.geometry.special_euclidean import SpecialEuclidean

VECTORS, MATRICES, SPHERE = SpecialEuclidean(3, point_type="vector"), SpecialEuclidean(3), Hypersphere(2)
PLACE = np.array([100.0, 200.0, 300.0])


def by_vectors(angle):
    """Metres between a pose and the exponential of its logarithm."""
    pose = np.r_[0.6 * angle, 0.8 * angle, 0, PLACE]
    return float(np.abs(VECTORS.exp(VECTORS.log(pose)) - pose).max())


def by_matrices(angle):
    pose = np.eye(4)
    cosine, sine = np.cos(angle), np.sin(angle)
    pose[:3] = [[cosine, -sine, 0, PLACE[0]], [sine, cosine, 0, PLACE[1]], [0, 0, 1, PLACE[2]]]
    return float(np.abs(MATRICES.exp(MATRICES.log(pose)) - pose).max())


def opposite(angle):
    """How far distance and length of the logarithm are off, and the degrees between a direction and exp of its logarithm."""
    one, other = np.array([1.0, 0, 0]), np.array([np.cos(angle), np.sin(angle), 0])
    metric = SPHERE.metric
    tangent = metric.log(other, one)
    aside = np.degrees(np.arccos(np.clip(metric.exp(tangent, one) @ other, -1, 1)))
    return float(abs(metric.dist(one, other) - angle)), float(abs(np.linalg.norm(tangent) - angle)), float(aside)


SEEN = [
    ("0.001, 1e-7, 0 rad: right", [by_vectors(angle) < 1e-6 for angle in (1e-3, 1e-7, 0.0)], [True] * 3),
    ("1e-6 rad: over 1 cm", by_vectors(1e-6) > 0.01, True),
    ("3.2e-7 rad: over 10 cm", by_vectors(10**-6.5) > 0.1, True),
    ("1.8e-7 rad: over 50 cm", by_vectors(10**-6.75) > 0.5, True),
    ("matrices: right", [by_matrices(angle) < 1e-6 for angle in (1e-3, 1e-6, 10**-6.75, 1e-7)], [True] * 4),
    ("distances: right", [opposite(angle)[0] < 1e-7 for angle in (3.1415, 3.1415926, np.pi - 1e-8, np.pi)], [True] * 4),
    ("logarithm at 3.1415 and at pi", [opposite(angle)[1] < 1e-6 for angle in (3.1415, np.pi)], [True] * 2),
    ("at 3.1415926: over 0.001 rad off", opposite(3.1415926)[1] > 1e-3, True),
    ("its exp aside by over 0.1 degrees", opposite(3.1415926)[2] > 0.1, True),
    ("at pi - 1e-8: over a million rad", opposite(np.pi - 1e-8)[1] > 1e6, True),
    ("its exp aside by over 10 degrees", opposite(np.pi - 1e-8)[2] > 10, True),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
