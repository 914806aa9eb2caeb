#!/usr/bin/env bash
# Judging a trajectory with evo: which pose of the reference an estimated pose is compared with.
#
# Guess: an association is one to one, as message_filters' approximate time is.
# Seen with evo 1.38.1 (PyPI; Python 3.11, x86-64), straight drive at 1 m/s, both trajectories without any error:
#   estimate 20 Hz for 2 s, reference 10 Hz for 10 s, max_diff 0.06 s    40 pairs of 20 reference poses: each counts twice
#   RPE over one frame of those pairs                                    0.05 m although nothing is wrong
#   the same estimate for 20 s                                           100 pairs, every pose once: the shorter list is walked through
#   RPE over one frame of those                                          0 m
#
# So whether poses repeat depends on which trajectory has fewer poses, not on which is the reference. Interpolate the reference at the estimate's
# stamps before judging, or thin the faster one to the rate of the slower.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (420 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'evo==1.38.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from evo.core import metrics, sync
from evo.core.trajectory import PoseTrajectory3D


def at_one_metre_a_second(stamps):
    count = len(stamps)
    return PoseTrajectory3D(np.c_[stamps, np.zeros((count, 2))], np.tile([1.0, 0, 0, 0], (count, 1)), stamps)


def judged(seconds):
    reference = at_one_metre_a_second(np.arange(100) / 10)
    start = 5 if seconds < 5 else 0
    estimate = at_one_metre_a_second(start + np.arange(int(20 * seconds)) / 20)
    left, right = sync.associate_trajectories(reference, estimate, max_diff=0.06)
    error = metrics.RPE(metrics.PoseRelation.translation_part, 1, metrics.Unit.frames)
    error.process_data((left, right))
    return len(left.timestamps), len(set(left.timestamps)), round(float(error.get_statistic(metrics.StatisticsType.median)), 3)


SEEN = [
    ("2 s at 20 Hz: pairs, reference poses, RPE", judged(2), (40, 20, 0.05)),
    ("20 s at 20 Hz: pairs, reference poses, RPE", judged(20), (100, 100, 0.0)),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:52}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
