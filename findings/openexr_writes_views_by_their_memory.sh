#!/usr/bin/env bash
# Depth and pictures in OpenEXR with its own Python module: arrays that are a part of another one, or turned.
#
# Guess: a file holds what the array shows, or the array is refused, as float64, int16 and big-endian arrays are ("unsupported type").
# Seen with OpenEXR 3.5.3 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), float32, read back with the same module:
#   an array row by row                           as it was
#   depth of a camera that is mounted sideways,   its shape is right, its pixels are the memory's in their order: 0 3 / 1 4 / 2 5 is
#   `depth.T`                                     0 1 / 2 3 / 4 5
#   a cut-out, `depth[2:4, 2:5]`                  the first row is right, then what follows in the whole picture's memory
#   one channel of several, `stack[:, :, 1]`      a mix of all channels
#   [3, H, W] of a network as [H, W, 3]           planes become pixels
#
# The header and the size are right, and nothing is raised; its tracker knows of single channels since 2024, the documentation says nothing. So:
# `np.ascontiguousarray` of each channel before writing.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (100 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'openexr==3.5.3' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import OpenEXR


def back(pixels, name="Z"):
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {name: pixels}) as file:
        file.write("probe.exr")
    with OpenEXR.File("probe.exr") as file:
        return np.array(file.channels()[name].pixels)


def refused(pixels):
    try:
        back(pixels)
    except ValueError:
        return True
    return False


def counted(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


SMALL, LARGE, STACK, PLANES = counted(2, 3), counted(10, 10), counted(2, 3, 4), counted(3, 2, 2)
SEEN = [
    ("row by row", np.array_equal(back(SMALL), SMALL), True),
    ("depth.T", back(SMALL.T).tolist(), [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]),
    ("depth[2:4, 2:5]", back(LARGE[2:4, 2:5]).tolist(), [[22.0, 23.0, 24.0], [25.0, 26.0, 27.0]]),
    ("stack[:, :, 1]", back(STACK[:, :, 1]).tolist(), [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
    ("planes as pixels", back(np.moveaxis(PLANES, 0, -1), "RGB").ravel().tolist(), PLANES.ravel().tolist()),
    ("copied first", np.array_equal(back(np.ascontiguousarray(SMALL.T)), SMALL.T), True),
    ("float64, int16, big-endian refused", [refused(SMALL.astype(one)) for one in ("f8", "i2", ">f4")], [True] * 3),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:38}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
