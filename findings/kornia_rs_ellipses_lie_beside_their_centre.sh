#!/usr/bin/env bash
# Masks grown and shrunk, edges and depths of a robot's pictures with kornia-rs on a processor: what its functions do that have OpenCV's names.
#
# Guess: a structuring element lies about its centre, as OpenCV's; a picture of one grey has no edge; what is said to be "byte-for-byte" OpenCV's is.
# Seen with kornia-rs 0.2.0, judged by opencv-python-headless 5.0.0.93 (PyPI; Python 3.11, x86-64):
#   dilate(kernel="ellipse", size=(3, 3))       a pixel becomes 2 x 2 pixels, up and to the left of it; (5, 5) 4 x 4; (4, 4) 11 without symmetry
#   the same of OpenCV                          a cross of 5; 17; 12
#   opening (erode, dilate) a disc, 3 times     with (3, 3) the disc moves 3 pixels up and 3 to the left; with OpenCV it stays
#   box and cross, 3 and 5                      as OpenCV's
#   sobel of a picture of ones                  4 in the first and the last row and column; OpenCV 0. The blurs know the border
#   sobel of a ramp of 1 per pixel              8, but 36 in the last column of eleven
#   bilateral_filter, "byte-for-byte"           another value for half of the pixels; median_blur, canny, equalize_hist are as said
#   sample_depth: 1 m and 5 m                   median 5 m, mean right; of 23, 24: mean 23
# Nothing is said. So: cv2, or kernels "box" and "cross".
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (240 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'kornia-rs==0.2.0' 'opencv-python-headless==5.0.0.93' 'numpy==2.3.5'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import cv2
import numpy as np
from kornia_rs import depth, imgproc

KINDS = {"box": cv2.MORPH_RECT, "cross": cv2.MORPH_CROSS, "ellipse": cv2.MORPH_ELLIPSE}


def element(kind, size):
    """Which pixels a single one becomes: how many, and the first and the last row and column, counted from it."""
    dot = np.zeros((15, 15, 1), np.uint8)
    dot[7, 7] = 1
    return describe(imgproc.dilate(dot, kind, (size, size))[..., 0])


def describe(pixels):
    rows, columns = (np.nonzero(pixels)[axis] - 7 for axis in (0, 1))
    return len(rows), int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def element_of_opencv(kind, size):
    dot = np.zeros((15, 15), np.uint8)
    dot[7, 7] = 1
    return describe(cv2.dilate(dot, cv2.getStructuringElement(KINDS[kind], (size, size))))


def moved(erode, dilate):
    """How far three openings move a disc, in rows and columns."""
    rows, columns = np.mgrid[:81, :81]
    disc = ((rows - 40) ** 2 + (columns - 40) ** 2 < 400).astype(np.uint8)
    for _ in range(3):
        disc = dilate(erode(disc))
    return tuple(round(float(np.nonzero(disc)[axis].mean()) - 40, 1) for axis in (0, 1))


def by_kornia(function):
    return lambda picture: function(np.ascontiguousarray(picture[..., None]), "ellipse", (3, 3))[..., 0]


def by_opencv(function):
    return lambda picture: function(picture, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))


def differing(mine, theirs):
    return round(float(np.mean(mine[..., 0] != theirs)), 1)


def sampled(*values, method):
    picture = np.array([values], np.uint16)
    return float(depth.sample_depth(picture, [np.ones(picture.shape, np.uint8)], method)[0][0])


GREY = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
GREY_1 = np.ascontiguousarray(GREY[..., None])
ONES = np.ones((9, 11, 1), np.float32)
RAMP = np.ascontiguousarray(np.tile(np.arange(11, dtype="f4"), (9, 1))[..., None])
SEEN = [
    ("ellipse of 3", element("ellipse", 3), (4, -1, 0, -1, 0)),
    ("ellipse of 5", element("ellipse", 5), (16, -2, 1, -2, 1)),
    ("ellipse of 4", element("ellipse", 4), (11, -1, 2, -1, 2)),
    ("OpenCV's of 3", element_of_opencv("ellipse", 3), (5, -1, 1, -1, 1)),
    ("OpenCV's of 5", element_of_opencv("ellipse", 5), (17, -2, 2, -2, 2)),
    ("box and cross as OpenCV's", [element(kind, size) == element_of_opencv(kind, size) for kind in ("box", "cross") for size in (3, 5)], [True] * 4),
    ("three openings move a disc", moved(by_kornia(imgproc.erode), by_kornia(imgproc.dilate)), (-3.0, -3.0)),
    ("OpenCV's", moved(by_opencv(cv2.erode), by_opencv(cv2.dilate)), (0.0, 0.0)),
    ("sobel of ones", sorted({round(float(one), 2) for one in imgproc.sobel(ONES, 3).ravel()}), [0.0, 4.0, 4.24]),
    ("sobel of a ramp", imgproc.sobel(RAMP, 3)[4, -3:, 0].tolist(), [8.0, 8.0, 36.0]),
    ("box_blur of ones", np.unique(imgproc.box_blur(GREY_1 * 0 + 200, (5, 5))).tolist(), [200]),
    ("median_blur differs", differing(imgproc.median_blur(GREY_1, 3), cv2.medianBlur(GREY, 3)), 0.0),
    ("canny", differing(imgproc.canny(GREY_1, 50.0, 150.0), cv2.Canny(GREY, 50, 150)), 0.0),
    ("bilateral_filter", differing(imgproc.bilateral_filter(GREY_1, 5, 50.0, 50.0), cv2.bilateralFilter(GREY, 5, 50, 50)), 0.5),
    ("median of 1000 and 5000", sampled(1000, 5000, method="median"), 5000.0),
    ("mean of 23 and 24", sampled(23, 24, method="mean"), 23.0),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
