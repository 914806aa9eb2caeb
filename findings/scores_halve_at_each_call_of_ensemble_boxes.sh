#!/usr/bin/env bash
# Boxes of several detectors merged by ensemble-boxes, with a weight for each detector: the scores that were handed in.
#
# Guess: a call reads its lists; asked twice it answers twice the same, and two ways of merging can be compared on the same detections.
# Seen with ensemble-boxes 1.0.9 (PyPI; Python 3.11, x86-64), two detectors that see the same two boxes with scores of 0.9 and 0.8, weights=[1, 1]:
#   nms, soft_nms, first, second, third call  0.45, 0.225, 0.1125: each call writes scores times weights into the caller's list
#   the caller's list then          0.1125 and 0.1 for both detectors
#   weighted_boxes_fusion alone, three times  0.9 each time
#   after nms, as one compares them 0.45
#   weights=[2, 1], nms three times 0.6, 0.4, 0.2667: the detector that is trusted less is gone first
#   without weights                 nothing is written
#   a tuple instead of the list     is refused (TypeError: no item assignment)
# A threshold of 0.3 drops every box at the second frame that shares the list. So: `nms(boxes, [list(one) for one in scores], ...)`, a new list each time.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (500 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'ensemble-boxes==1.0.9' 'numpy==2.4.6' 'pandas==3.1.1' 'numba==0.68.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import ensemble_boxes as eb
import numpy as np

BOXES = [[[0.0, 0.0, 0.1, 0.1], [0.5, 0.5, 0.7, 0.7]]] * 2
LABELS = [[0, 1]] * 2


def detections():
    return [[0.9, 0.8], [0.9, 0.8]]


def calls(merge, scores, weights, times=3):
    """The best score of each call."""
    return [round(float(merge(BOXES, scores, LABELS, weights=weights, iou_thr=0.5)[1].max()), 4) for _ in range(times)]


def left(merge, weights):
    """What the caller's list holds after three calls."""
    scores = detections()
    calls(merge, scores, weights)
    return [np.round(one, 4).tolist() for one in scores]


def after_nms():
    scores = detections()
    calls(eb.nms, scores, [1, 1], times=1)
    return calls(eb.weighted_boxes_fusion, scores, [1, 1], times=1)


def refused():
    try:
        calls(eb.nms, tuple(detections()), [1, 1])
    except TypeError:
        return True
    return False


def copied():
    scores = detections()
    return [calls(eb.nms, [list(one) for one in scores], [1, 1], times=1)[0] for _ in range(3)]


SEEN = [
    ("nms", calls(eb.nms, detections(), [1, 1]), [0.45, 0.225, 0.1125]),
    ("soft_nms", calls(eb.soft_nms, detections(), [1, 1]), [0.45, 0.225, 0.1125]),
    ("the list after nms", left(eb.nms, [1, 1]), [[0.1125, 0.1], [0.1125, 0.1]]),
    ("weighted_boxes_fusion", calls(eb.weighted_boxes_fusion, detections(), [1, 1]), [0.9, 0.9, 0.9]),
    ("non_maximum_weighted", calls(eb.non_maximum_weighted, detections(), [1, 1]), [0.9, 0.9, 0.9]),
    ("weighted_boxes_fusion after nms", after_nms(), [0.45]),
    ("nms, weights 2 and 1", calls(eb.nms, detections(), [2, 1]), [0.6, 0.4, 0.2667]),
    ("the list", left(eb.nms, [2, 1]), [[0.2667, 0.237], [0.0333, 0.0296]]),
    ("without weights", left(eb.nms, None), detections()),
    ("a tuple is refused", refused(), True),
    ("a new list each time", copied(), [0.45, 0.45, 0.45]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
