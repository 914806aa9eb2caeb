#!/usr/bin/env bash
# AprilTags on a wall: the same tag in OpenCV's detector and in AprilTag's own.
#
# Guess: both give the corners of a tag from the same one on, and so the same pose but for the direction of the axes.
# Seen with opencv-python-headless 4.14.0.94, pupil-apriltags 1.0.4.post11, moms-apriltag 2023.1.15 (PyPI; Python 3.11, x86-64), tag36h11:
#   number 5 as OpenCV draws it, as moms-apriltag (AprilTag's pictures) draws it    the same bits, turned by half a turn
#   OpenCV's own picture in OpenCV              first corner top left
#   OpenCV's own picture in pupil-apriltags     the tag is upside down: pose turned by half a turn about its normal
#   AprilTag's picture in OpenCV                first corner bottom right; in pupil-apriltags upright
#
# No error and no worse fit: a map of tags that was measured with one detector turns a robot that sees them with the other by 180 degrees.
# Print and detect with the same library, or roll the four corners by two.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (220 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'opencv-python-headless==4.14.0.94' 'pupil-apriltags==1.0.4.post11' 'moms-apriltag==2023.1.15' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import cv2
import moms_apriltag
import numpy as np
import pupil_apriltags

NUMBER, CELL = 5, 25
DICTIONARY = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
NAMES = {(0, 0): "top left", (0, 1): "top right", (1, 1): "bottom right", (1, 0): "bottom left"}


def black_square(tag):
    """The eight by eight cells from the black edge on, 0 or 255."""
    cells = np.where(np.asarray(tag) > 0, 255, 0).astype(np.uint8)
    rows, columns = np.nonzero(cells == 0)
    return cells[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def seen(cells):
    """First corner in OpenCV, and how far AprilTag's detector says that the tag is turned in the picture [degrees]."""
    picture = np.full((480, 640), 255, np.uint8)
    picture[140:340, 220:420] = np.kron(cells, np.ones((CELL, CELL), np.uint8))
    (corners,), _, _ = cv2.aruco.ArucoDetector(DICTIONARY).detectMarkers(picture)
    x, y = corners[0, 0]
    detector = pupil_apriltags.Detector("tag36h11")
    (tag,) = detector.detect(picture, estimate_tag_pose=True, camera_params=(500, 500, 320, 240), tag_size=0.1)
    turned = round(float(np.degrees(np.arctan2(tag.pose_R[1, 0], tag.pose_R[0, 0])))) % 360
    return NAMES[int(y > 240), int(x > 320)], turned, tag.tag_id


BY_OPENCV = black_square(cv2.aruco.generateImageMarker(DICTIONARY, NUMBER, 8))
BY_APRILTAG = black_square(moms_apriltag.TagGenerator2("tag36h11").generate(NUMBER))
SEEN = [
    ("quarter turns between the pictures", [k for k in range(4) if np.array_equal(np.rot90(BY_APRILTAG, k), BY_OPENCV)], [2]),
    ("OpenCV's picture: corner, turned, number", seen(BY_OPENCV), ("top left", 180, NUMBER)),
    ("AprilTag's picture: corner, turned, number", seen(BY_APRILTAG), ("bottom right", 0, NUMBER)),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:52}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
