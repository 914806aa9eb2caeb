#!/usr/bin/env bash
# Depth and elevation as floats in fpzip (lossless): arrays that are not laid out row by row.
#
# Guess: `decompress(compress(array))` holds what the array holds, or the array is refused.
# Seen with fpzip 1.2.5 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), float32 and float64:
#   row by row, every second column, upside     as it was (always with four axes)
#   down, [rows, columns, pictures]
#   a picture transposed; np.asfortranarray;    the shape asked for, the numbers in other places: the memory is read as it lies
#   all axes the other way round
#   a pose's matrix transposed, float64         its translation is in the last column again
#   order="F" in both, of an array that lies    likewise: `order` says how the result is laid out, the array is not brought to it
#   row by row
#   order="F" in both, of np.asfortranarray     as it was
# Nothing is raised. What matters is the array's memory, which slicing and a computation change unseen. So: np.ascontiguousarray before compress.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (80 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'fpzip==1.2.5' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import fpzip
import numpy as np

DEPTH = np.arange(24, dtype=np.float32).reshape(2, 3, 4) + 0.5
POSE = np.eye(4)
POSE[:3, 3] = 1, 2, 3


def back(array, order="C"):
    """What comes back: as it was, or the same numbers in other places; and how many axes it has."""
    found = fpzip.decompress(fpzip.compress(array, order=order), order=order)
    same = np.array_equal(found.reshape(array.shape, order="A"), array)
    moved = np.array_equal(np.sort(found.ravel()), np.sort(array.ravel()))
    return "as it was" if same else "in other places" if moved else "other numbers", found.ndim


kept, lost = ("as it was", 4), ("in other places", 4)
SEEN = [
    ("row by row", back(DEPTH), kept),
    ("every second column", back(DEPTH[:, :, ::2]), kept),
    ("upside down", back(DEPTH[:, ::-1]), kept),
    ("[rows, columns, pictures]", back(DEPTH.transpose(1, 2, 0)), kept),
    ("a picture transposed", back(DEPTH[0].T), lost),
    ("a copy of it row by row", back(np.ascontiguousarray(DEPTH[0].T)), kept),
    ("np.asfortranarray", back(np.asfortranarray(DEPTH)), lost),
    ("all axes the other way round", back(DEPTH.T), lost),
    ("a pose transposed: its last column", fpzip.decompress(fpzip.compress(POSE.T))[0, 0, :, 3].tolist(), [1.0, 2.0, 3.0, 1.0]),
    ("order='F', row by row", back(DEPTH, "F"), lost),
    ("order='F', np.asfortranarray", back(np.asfortranarray(DEPTH), "F"), kept),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
