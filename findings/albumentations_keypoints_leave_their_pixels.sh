#!/usr/bin/env bash
# Pictures and keypoints changed together with Albumentations: does a keypoint stay on what it marks?
#
# Guess: a keypoint goes where its pixel goes, within a tenth of a pixel, as it is promised to be changed along with the picture.
# Seen with albumentations 2.0.8, opencv-python-headless 5.0.0.93 (PyPI; Python 3.11, x86-64), a spot marked by a keypoint at 12 places of
# a picture of 300 x 200, keypoint minus the spot's centre of mass afterwards:
#   flips, Rotate, Affine, Perspective       nothing: 0 is the middle of the first pixel
#   Resize by 2 and by 4                     half a pixel, 1.5 pixels to the left and up, as if 0 were its corner (by half: 0.25 the other way)
#   RandomSizedCrop made larger by 4         1.5 pixels
#   ElasticTransform, as by default          one pixel up, at all places, though it moves nothing by more than a tenth of that
#   GridDistortion, OpticalDistortion,       about one pixel up on the median, and up to 1.5 pixels: keypoints are drawn, moved as pictures
#   ThinPlateSpline                          and found again
# Nothing is said of it. Train keypoints of small pictures with the exact transforms only, and resize by your own (x + 0.5) * scale - 0.5.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (400 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'albumentations==2.0.8' 'opencv-python-headless==5.0.0.93' 'scipy==1.17.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import os
import sys

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations as A  # noqa: E402, N812
import numpy as np  # noqa: E402

HEIGHT, WIDTH = 200, 300
PLACES = [(x, y) for y in (50, 100, 150) for x in (60, 120, 180, 240)]


def centre(picture):
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return np.array([(picture * columns).sum(), (picture * rows).sum()]) / picture.sum()


def off(transform):
    """Keypoint minus spot at each place where the spot is still there, in pixels."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    keypoints = A.KeypointParams(format="xy", remove_invisible=False)
    found = []
    for x, y in PLACES:
        spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8).astype(np.float32)[..., None]
        both = A.Compose([transform], keypoint_params=keypoints, seed=1)(image=spot, keypoints=[(x, y)])
        if both["image"].sum() > 5:
            found.append(np.array(both["keypoints"][0]) - centre(both["image"][..., 0]))
    return np.array(found)


def median(transform):
    return [round(float(v), 1) + 0.0 for v in np.median(off(transform), axis=0)]


def within(transform):
    return bool(np.linalg.norm(off(transform), axis=1).max() < 0.1)


def upwards(transform):
    """Whether keypoints are half a pixel or more above on the median, and some more than a pixel away."""
    return bool(np.median(off(transform), axis=0)[1] < -0.5), bool(np.linalg.norm(off(transform), axis=1).max() > 1.0)


exact = [
    A.HorizontalFlip(p=1),
    A.Rotate(limit=(30, 30), p=1),
    A.Affine(rotate=(20, 20), scale=(1.2, 1.2), p=1),
    A.Perspective(p=1),
]
SEEN = [
    ("flip, Rotate, Affine, Perspective: within 0.1", [within(t) for t in exact], [True] * 4),
    ("Resize by 2, x and y", median(A.Resize(2 * HEIGHT, 2 * WIDTH)), [-0.5, -0.5]),
    ("Resize by 4", median(A.Resize(4 * HEIGHT, 4 * WIDTH)), [-1.5, -1.5]),
    ("Resize by half", median(A.Resize(HEIGHT // 2, WIDTH // 2)), [0.2, 0.2]),
    ("RandomSizedCrop, four times as large", median(A.RandomSizedCrop((100, 100), (400, 400), p=1)), [-1.5, -1.5]),
    ("ElasticTransform", median(A.ElasticTransform(p=1)), [0.0, -1.0]),
    ("GridDistortion: above, over a pixel off", upwards(A.GridDistortion(p=1)), (True, True)),
    ("OpticalDistortion", upwards(A.OpticalDistortion(p=1)), (True, True)),
    ("ThinPlateSpline", upwards(A.ThinPlateSpline(p=1)), (True, True)),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:48}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
