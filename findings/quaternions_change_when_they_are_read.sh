#!/usr/bin/env bash
# Interpolating and rotating with pyquaternion: what happens to the quaternions that are passed in.
#
# Guess: `Quaternion.slerp(a, b)` and `q.rotate(v)` read their arguments.
# Seen with pyquaternion 0.9.9 (PyPI; Python 3.11, x86-64; the version that nuScenes' tools ask for):
#   slerp between a and -b       a comes back as -a: the same turn, but no longer equal to what it was, and a track that is
#                                interpolated between its own elements changes sign from sample to sample
#   rotate, rotation_matrix      of a quaternion that is not of length one: it is normalised in place
#
# So: copy what goes in, or compare turns by |dot|, never by elements.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (40 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pyquaternion==0.9.9' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

from pyquaternion import Quaternion


def after_slerp():
    first, second = Quaternion(axis=[0, 0, 1], degrees=10), -Quaternion(axis=[0, 0, 1], degrees=40)
    before = first.elements.tolist()
    middle = Quaternion.slerp(first, second, 0.5)
    is_right = abs(abs(middle.degrees) - 25) < 1e-6
    return is_right, first.elements.tolist() == before, first.elements.tolist() == [-value for value in before]


def length_after(read):
    quaternion = Quaternion(0.0, 0.0, 0.0, 2.0)
    read(quaternion)
    return round(float(quaternion.norm), 6)


SEEN = [
    ("slerp: middle is right, first is as it was, negated", after_slerp(), (True, False, True)),
    ("length of 2 after rotate", length_after(lambda each: each.rotate([1, 0, 0])), 1.0),
    ("length of 2 after rotation_matrix", length_after(lambda each: each.rotation_matrix), 1.0),
    ("length of 2 after inverse", length_after(lambda each: each.inverse), 2.0),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:54}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
