#!/usr/bin/env bash
# A cloud thinned out by farthest point sampling with fpsample, as networks on clouds and registrations ask for it.
#
# Guess: a sample has as many different points as it was asked for; `start_idx` is in it; it is the same wherever the map's origin is; a
# missing point (NaN) is left out, or the cloud is refused.
# Seen with fpsample 0.3.3 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), 50 of 2000 points within 10 m, judged by the plain loop over distances:
#   fps_sampling                                the loop's points
#   fps_sampling, in UTM coordinates            more than half are others (it computes in float32, steps of half a metre)
#   bucket_fps_kdline, bucket_fps_kdtree, with  the point is not in the sample
#   start_idx=7
#   one of the points is NaN                    fps_sampling, fps_npdu, both bucket_fps: 2 different points, the first one and 49 times the NaN
#   one point is 1e10 away                      right: it is one of the 50
# The kdtree variant of fps_npdu raises on NaN; nothing else is raised or logged. So: leave out what is not finite, take off the first point, and look
# at `len(set(sample))`.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (100 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'fpsample==0.3.3' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import fpsample
import numpy as np

CLOUD = np.random.default_rng(0).uniform(0, 10, (2000, 3))
COUNT = 50


def by_loop(cloud, first=0):
    nearest, sample = np.full(len(cloud), np.inf), [first]
    for _ in range(COUNT - 1):
        nearest = np.minimum(nearest, ((cloud - cloud[sample[-1]]) ** 2).sum(1))
        sample.append(int(nearest.argmax()))
    return sample


def plain(cloud, first=0):
    return fpsample.fps_sampling(cloud, COUNT, start_idx=first).tolist()


def npdu(cloud, first=0):
    return fpsample.fps_npdu_sampling(cloud, COUNT, start_idx=first).tolist()


def kdtree(cloud, first=0):
    return fpsample.bucket_fps_kdtree_sampling(cloud, COUNT, start_idx=first).tolist()


def kdline(cloud, first=0):
    return fpsample.bucket_fps_kdline_sampling(cloud, COUNT, h=5, start_idx=first).tolist()


ALL = (plain, npdu, kdtree, kdline)
missing, far = CLOUD.copy(), CLOUD.copy()
missing[5], far[5, 0] = np.nan, 1e10
right = by_loop(CLOUD)
SEEN = [
    ("fps_sampling: the loop's points", plain(CLOUD) == right, True),
    ("in UTM: others than the loop's", len(set(plain(CLOUD + [465123.0, 5247000.0, 400.0])) - set(right)) > 25, True),
    ("different points", [len(set(one(CLOUD))) for one in ALL], [50] * 4),
    ("start_idx=7 is in the sample", [7 in one(CLOUD, 7) for one in ALL], [True, True, False, False]),
    ("one NaN: different points", [len(set(one(missing))) for one in ALL], [2] * 4),
    ("how often the NaN", [one(missing).count(5) for one in ALL], [49] * 4),
    ("one at 1e10: different points, once", [(len(set(one(far))), one(far).count(5)) for one in (plain, npdu)], [(50, 1)] * 2),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:38}{found!s:34}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
