#!/usr/bin/env bash
# KITTI's raw recordings with pykitti, where a laser scan is missing (drive 0009 of 2011_09_26 lacks some).
#
# Guess: scan and picture of one index belong to one frame, whose number is in both files' names; where there is no scan there is none, or an error.
# `frames=` chooses frames by that number in everything.
# Seen with pykitti 0.3.1 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), six frames of which 2 has no scan, each file filled with its number:
#   get_velo(0), (1)               0, 1
#   get_velo(2), (3), (4)          3, 4, 5: the scan of the frame after, from the gap to the drive's end (KITTI: 0.1 s off)
#   get_velo(5), velo              IndexError; one scan less than pictures, so zip() of both says nothing
#   cam0, oxts, timestamps         0 to 5
#   frames=[0, 3], cam0 and velo   pictures 0 and 3, scans 0 and 4
#   frames=[0, 5], cam0 and velo   pictures 0 and 5, all five scans
#
# So: pair the files (`velo_files`, `cam0_files`) by the number in their names, and take a scan's time from velodyne_points/timestamps.txt.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (450 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pykitti==0.3.1' 'numpy==2.4.6' 'pandas==3.1.1' 'pillow==13.0.0' 'matplotlib==3.11.2' 'opencv-python-headless==4.14.0.94'

cat >"$scratch/probe.py" <<'PYTHON'
import pathlib
import sys

import numpy as np
import pykitti
from PIL import Image

DATE, DRIVE, COUNT, MISSING = "2011_09_26", "0009", 6, 2
day = pathlib.Path(DATE)
drive = day / f"{DATE}_drive_{DRIVE}_sync"


def file_of(sensor, name):
    path = drive / sensor / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


for frame in range(COUNT):
    for camera in range(4):
        picture = Image.fromarray(np.full((2, 2), frame, np.uint8))
        picture.save(file_of(f"image_0{camera}/data", f"{frame:010}.png"))
    if frame != MISSING:
        np.full((1, 4), frame, np.float32).tofile(file_of("velodyne_points/data", f"{frame:010}.bin"))
    packet = ["49.0", "8.4", "110.0", *["0.0"] * 22, "4", "6", "5", "5", "5"]
    file_of("oxts/data", f"{frame:010}.txt").write_text(" ".join(packet))
stamps = [f"{DATE.replace('_', '-')} 13:02:25.{frame}00000000\n" for frame in range(COUNT)]
file_of("oxts", "timestamps.txt").write_text("".join(stamps))
RIGID = "R: 1 0 0 0 1 0 0 0 1\nT: 0 0 0\n"
(day / "calib_imu_to_velo.txt").write_text(RIGID)
(day / "calib_velo_to_cam.txt").write_text(RIGID)
lines = [f"P_rect_0{i}: 700 0 600 0 0 700 170 0 0 0 1 0\nR_rect_0{i}: 1 0 0 0 1 0 0 0 1\n" for i in range(4)]
(day / "calib_cam_to_cam.txt").write_text("".join(lines))


def frames_of(**how):
    """The frames that pictures and scans of the drive come from, as a loop over both would see them."""
    recording = pykitti.raw(".", DATE, DRIVE, **how)
    return [int(np.asarray(one)[0, 0]) for one in recording.cam0], [int(scan[0, 0]) for scan in recording.velo]


def scan_at(index):
    try:
        return int(pykitti.raw(".", DATE, DRIVE).get_velo(index)[0, 0])
    except IndexError:
        return "IndexError"


SEEN = [
    ("pictures, scans", frames_of(), ([0, 1, 2, 3, 4, 5], [0, 1, 3, 4, 5])),
    ("get_velo(0) to get_velo(5)", [scan_at(index) for index in range(COUNT)], [0, 1, 3, 4, 5, "IndexError"]),
    ("stamps", len(pykitti.raw(".", DATE, DRIVE).timestamps), 6),
    ("frames=[0, 3]: pictures, scans", frames_of(frames=[0, 3]), ([0, 3], [0, 4])),
    ("frames=[0, 5]: pictures, scans", frames_of(frames=[0, 5]), ([0, 5], [0, 1, 3, 4, 5])),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
