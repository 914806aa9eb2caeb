#!/usr/bin/env bash
# Weights and pictures as NumPy arrays in safetensors: arrays that are not laid out row by row.
#
# Guess: `safetensors.numpy.save` writes what the array holds, or refuses it (its documentation asks for contiguous arrays, and
# the same function for PyTorch raises).
# Seen on PyPI (Python 3.11, x86-64), float32 of shape (2, 3), read back:
#   safetensors 0.7.0    transposed, in Fortran's order, every second column: all right
#   safetensors 0.8.0    all of them have the shape asked for and other numbers: the memory is written as it lies. No word of it
#
# A picture turned from [H, W, 3] to [3, H, W] is such an array, and so is `weight.T`. So: `np.ascontiguousarray` before saving, and read
# back once after an upgrade.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (50 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'safetensors==0.8.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import subprocess
import sys

PROBE = """
import numpy as np
from safetensors.numpy import load, load_file, save, save_file

rows = np.arange(6, dtype=np.float32).reshape(2, 3)
picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
for array in (rows, rows.T, np.asfortranarray(rows), rows[:, ::2], picture.transpose(2, 0, 1), np.ascontiguousarray(rows.T)):
    save_file({"a": array}, "file")
    print(*(int(np.array_equal(found["a"], array)) for found in (load(save({"a": array})), load_file("file"))))
"""


def kept():
    """Of each array, whether it is read back as it was from bytes and from a file."""
    lines = subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, text=True).stdout.splitlines()
    return [line == "1 1" for line in lines]


def at(version):
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", f"safetensors=={version}"]
    subprocess.run(pip, check=True)
    return kept()


NAMES = ("as it is", "transposed", "in Fortran's order", "every second column", "picture as [3, H, W]", "transposed, made contiguous")
NEW, OLD = kept(), at("0.7.0")
SEEN = [(f"0.8.0: {name} is kept", found, name in ("as it is", "transposed, made contiguous")) for name, found in zip(NAMES, NEW)]
SEEN += [(f"0.7.0: {name} is kept", found, True) for name, found in zip(NAMES, OLD)]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:52}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
