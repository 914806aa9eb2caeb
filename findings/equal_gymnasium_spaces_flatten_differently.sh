#!/usr/bin/env bash
# Observations of several sensors as one vector: gymnasium's `Dict` space and `flatten`.
#
# Guess: two spaces that are equal make the same vector of the same observation.
# Seen with gymnasium 1.4.0 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), sensors "speed" and "range":
#   Dict({"speed": ..., "range": ...})               keys in the order of the alphabet: range, speed
#   Dict(speed=..., range=...), Dict(OrderedDict())  as given: speed, range
#   ==                                               equal, all three
#   flatten of one observation                       [0.2, 0.1] and [0.1, 0.2]
#   {"camera_9": ..., "camera_10": ...}              camera_10 first
#   Box(uint8).contains(int64 array [1, 2])          False; of the list [1, 2] True
#
# No error, no warning: a policy that was trained on the one and is run on the other takes speed for range. So: name the order oneself, and
# keep `list(space.spaces)` beside the weights.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (80 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'gymnasium==1.4.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
from collections import OrderedDict

import numpy as np
from gymnasium import spaces

ONE = spaces.Box(-1, 1, (1,), np.float32)
OBSERVED = {"speed": np.array([0.1], np.float32), "range": np.array([0.2], np.float32)}
plain, named = spaces.Dict({"speed": ONE, "range": ONE}), spaces.Dict(speed=ONE, range=ONE)
ordered = spaces.Dict(OrderedDict([("speed", ONE), ("range", ONE)]))
pixels = spaces.Box(0, 255, (2,), np.uint8)


def vector(space):
    return spaces.flatten(space, OBSERVED).round(1).tolist()


SEEN = [
    ("order of a dict", list(plain.spaces), ["range", "speed"]),
    ("order of keywords", list(named.spaces), ["speed", "range"]),
    ("order of an OrderedDict", list(ordered.spaces), ["speed", "range"]),
    ("equal", (plain == named, plain == ordered), (True, True)),
    ("vector of a dict's space", [round(one, 1) for one in vector(plain)], [0.2, 0.1]),
    ("vector of the other two", [[round(one, 1) for one in vector(space)] for space in (named, ordered)], [[0.1, 0.2], [0.1, 0.2]]),
    ("cameras 9 and 10", list(spaces.Dict({"camera_9": ONE, "camera_10": ONE}).spaces), ["camera_10", "camera_9"]),
    ("bytes as int64, as a list", (pixels.contains(np.array([1, 2])), pixels.contains([1, 2])), (False, True)),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:30}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
