#!/usr/bin/env bash
# Recordings of robots in Zarr: cutting an array short, and storing it in one file.
#
# Guess: what `resize` cuts off is gone, so that growing again shows the fill value; `open_group("x.zip")` makes a zip file, which
# holds each chunk once.
# Seen with zarr 3.1.6 (PyPI; Python 3.11, x86-64):
#   5 rows in chunks of 4, cut to 3, grown to 5   row 3 has its old value again, row 4 (whose chunk went) is 0
#   open_group("x.zip", mode="w")                 a folder of that name; a file needs `zarr.storage.ZipStore`
#   ZipStore, a chunk written twice               is in the file twice, under one name; readers of zip files that take the first
#                                                 see the old one
#   default chunks of a 100 000 x 32 array        (25000, 8): a row lies in four chunks
#
# So: after cutting an episode, write the fill value over the rest of the last chunk; give chunks that hold whole rows.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (80 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'zarr==3.1.6' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import os
import sys
import zipfile

import numpy as np
import zarr


def cut_and_grown():
    array = zarr.create_array("cut.zarr", shape=(5,), chunks=(4,), dtype="i4")
    array[:] = np.arange(5) + 1
    array.resize((3,))
    array.resize((5,))
    return array[:].tolist()


def by_name():
    zarr.open_group("named.zip", mode="w")
    return "folder" if os.path.isdir("named.zip") else "file"


def twice():
    store = zarr.storage.ZipStore("twice.zip", mode="w")
    array = zarr.create_array(store, shape=(2,), chunks=(2,), dtype="i4")
    array[:] = 1
    array[:] = 2
    store.close()
    with zipfile.ZipFile("twice.zip") as file:
        return sum(name.startswith("c/") for name in file.namelist())


SEEN = [
    ("1 to 5, cut to 3, grown to 5", cut_and_grown(), [1, 2, 3, 4, 0]),
    ("open_group of a name that ends in .zip", by_name(), "folder"),
    ("entries of one chunk in a zip file", twice(), 2),
    ("default chunks", zarr.create_array("wide.zarr", shape=(100_000, 32), dtype="f4").chunks, (25000, 8)),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
