#!/usr/bin/env bash
# Pose graphs in g2o's files with GTSAM's Python module: what is read, and what is written.
#
# Guess: `readG2o` reads every edge of a file, or raises; lines that it does not know (FIX, comments) are passed over; `writeG2o` writes
# numbers that read back as they were.
# Seen with gtsam 4.3.0 (PyPI; Python 3.11, x86-64), two poses and an edge between them:
#   2D, vertices and edge                        2 poses, 1 edge
#   2D, "FIX 0" after the first vertex, where    2 poses, no edge at all: whatever follows the line is not there for the reader
#   g2o's own files have it                      of edges
#   2D, "FIX 0" at the end                       1 edge
#   2D, a comment before the edges               no edge
#   3D with is3D=True, "FIX 0" in between        1 edge
#   3D as called by default                      no pose, no edge: it looks for 2D only, and says nothing when it finds none
#   2D with a landmark (EDGE_SE2_XY)             the landmark's edge is left out
#   writeG2o of x = 465123.123, y = 5247000.456  465123 and 5.247e+06: six digits, so map coordinates are in steps of 10 m
# A graph without edges optimises to its first guess with an error of 0. Count the edges; subtract the first pose before writing.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (190 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'gtsam==4.3.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
from pathlib import Path

import gtsam

FIRST, SECOND = "VERTEX_SE2 0 0 0 0\n", "VERTEX_SE2 1 1 2 3\n"
EDGE = "EDGE_SE2 0 1 1 2 3 10 0 0 20 0 30\n"
FIRST_3D, SECOND_3D = "VERTEX_SE3:QUAT 0 0 0 0 0 0 0 1\n", "VERTEX_SE3:QUAT 1 1 2 3 0 0 0.6 0.8\n"
EDGE_3D = "EDGE_SE3:QUAT 0 1 1 2 3 0 0 0.6 0.8 10 0 0 0 0 0 10 0 0 0 0 10 0 0 0 40 0 0 40 0 40\n"
LANDMARK = "VERTEX_XY 2 1 2\nEDGE_SE2_XY 0 2 1 2 10 1 20\n"


def poses_and_edges(text, is_3d=None):
    Path("graph.g2o").write_text(text)
    graph, poses = gtsam.readG2o("graph.g2o") if is_3d is None else gtsam.readG2o("graph.g2o", is_3d)
    return poses.size(), graph.size()


def written(x, y):
    poses = gtsam.Values()
    poses.insert(0, gtsam.Pose2(x, y, 0.5))
    gtsam.writeG2o(gtsam.NonlinearFactorGraph(), poses, "graph.g2o")
    back = gtsam.readG2o("graph.g2o")[1].atPose2(0)
    return [back.x(), back.y()]


SEEN = [
    ("2D: poses, edges", poses_and_edges(FIRST + SECOND + EDGE), (2, 1)),
    ("FIX after the first vertex", poses_and_edges(FIRST + "FIX 0\n" + SECOND + EDGE), (2, 0)),
    ("FIX at the end", poses_and_edges(FIRST + SECOND + EDGE + "FIX 0\n"), (2, 1)),
    ("a comment before the edge", poses_and_edges(FIRST + SECOND + "# odometry\n" + EDGE), (2, 0)),
    ("3D, is3D=True", poses_and_edges(FIRST_3D + SECOND_3D + EDGE_3D, True), (2, 1)),
    ("3D, is3D=True, FIX", poses_and_edges(FIRST_3D + "FIX 0\n" + SECOND_3D + EDGE_3D, True), (2, 1)),
    ("3D, as by default", poses_and_edges(FIRST_3D + SECOND_3D + EDGE_3D), (0, 0)),
    ("2D with a landmark's edge", poses_and_edges(FIRST + SECOND + EDGE + LANDMARK)[1], 1),
    ("x, y written and read back", written(465123.123, 5247000.456), [465123.0, 5247000.0]),
    ("another northing", written(465123.123, 5247006.456), [465123.0, 5247010.0]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:30}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
