#!/usr/bin/env bash
# How well detections fit what was labelled, by pycocotools: boxes that come out of a table, or were turned from [4, N] to [N, 4].
#
# Guess: `iou` of boxes is that of the numbers that the array holds, however it lies in memory; else it is refused, as masks not laid out by
# columns.
# Seen with pycocotools 2.0.11, faster-coco-eval 1.8.0, pandas 3.1.1, numpy 2.4.6 (PyPI; Python 3.11, x86-64), three boxes that do not touch:
#   iou of an array row by row, of a list        1 on the diagonal, 0 elsewhere
#   of table[["x", "y", "w", "h"]].to_numpy()    0 where the first box meets itself: the memory is read row by row, and holds columns
#   of numpy.array([x, y, w, h]).T               the same
#   frPyObjects of the same arrays               masks of boxes at other places and of other sizes
#   faster-coco-eval, the same calls             iou right
#   a mask that is not laid out by columns       ValueError
# Nothing is raised. Average precision is then that of other boxes. So: np.ascontiguousarray(boxes, float) before each call.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (190 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'pycocotools==2.0.11' 'faster-coco-eval==1.8.0' 'pandas==3.1.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import pandas as pd
import pycocotools.mask as coco
from faster_coco_eval.core import mask as faster

TABLE = pd.DataFrame({"score": [0.9, 0.8, 0.7], "x": [0.0, 10, 20], "y": [0.0, 10, 20], "w": [4.0, 4, 4], "h": [4.0, 4, 4]})
of_table = TABLE[["x", "y", "w", "h"]].to_numpy()
turned = np.array([TABLE.x, TABLE.y, TABLE.w, TABLE.h]).T
rows = np.ascontiguousarray(of_table)
NONE = [0, 0, 0]


def iou(library, boxes):
    return np.round(library.iou(boxes, boxes, NONE), 3).tolist()


def drawn(boxes):
    return [coco.toBbox(one).tolist() for one in coco.frPyObjects(boxes, 40, 40)]


def rows_of_mask():
    try:
        return coco.area(coco.encode(np.ones((3, 4), np.uint8)))
    except ValueError:
        return "ValueError"


RIGHT = np.eye(3).tolist()
WRONG = np.diag([0.0, 1.0, 1.0]).tolist()
SEEN = [
    ("the same numbers", bool(np.array_equal(rows, of_table) and np.array_equal(rows, turned)), True),
    ("row by row", iou(coco, rows), RIGHT),
    ("as a list", iou(coco, rows.tolist()), RIGHT),
    ("of a table", iou(coco, of_table), WRONG),
    ("turned", iou(coco, turned), WRONG),
    ("faster-coco-eval, of a table", iou(faster, of_table), RIGHT),
    ("drawn, row by row", drawn(rows), rows.tolist()),
    ("drawn, of a table", drawn(of_table), [[0.0, 0.0, 0.0, 0.0], [10.0, 20.0, 4.0, 4.0], [4.0, 4.0, 4.0, 4.0]]),
    ("a mask row by row", rows_of_mask(), "ValueError"),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:32}{found!s:60}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
