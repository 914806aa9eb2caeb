#!/usr/bin/env bash
# Do H3 cells from h3.api.numpy_int (uint64) meet the same cells from a store of signed 64-bit integers?
#
# Guess: set operations of NumPy compare integers with integers, so equal cells are found equal and others are not.
# Seen with h3 4.5.0 and numpy 2.4.6 (Python 3.11), 19 cells of resolution 15 around one place, as uint64 and as int64:
#   ==                  right: one cell equals itself only
#   isin                right for ten cells, and for 19 that lie together; with one far away among them, all 18 cells
#                       of another ring are "in" it
#   concatenate+unique  float64: 2 different values instead of 19
#   intersect1d         float64, with values twice
# Both kinds together become float64, whose 53 bits do not hold a cell; neighbours become the same number. No warning.
#
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment.
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check h3==4.5.0 numpy==2.4.6
"$scratch/venv/bin/python" - <<'PYTHON'
import sys

import h3.api.numpy_int as h3
import numpy as np

cells = h3.grid_disk(h3.latlng_to_cell(4.53, 137.977, 15), 2)
ring = h3.grid_ring(h3.latlng_to_cell(4.53, 137.977, 15), 3)
far = np.uint64(h3.latlng_to_cell(-40.0, 20.0, 15))
stored = cells.astype(np.int64)
both = np.concatenate([stored, cells])
found = {
    "cells": (len(cells), str(cells.dtype)),
    "equal to the first": int((stored == cells[:1]).sum()),
    "of ten in a list of ten": int(np.isin(stored, cells[:10]).sum()),
    "of another ring in all 19": int(np.isin(ring.astype(np.int64), cells).sum()),
    "of another ring in them and a far one": int(np.isin(ring.astype(np.int64), np.append(cells, far)).sum()),
    "different in both": (len(np.unique(both)), str(both.dtype)),
    "in common, float": str(np.intersect1d(stored, cells).dtype),
    "the same, both uint64": int(np.isin(ring, np.append(cells, far)).sum()),
}
expected = {
    "cells": (19, "uint64"),
    "equal to the first": 1,
    "of ten in a list of ten": 10,
    "of another ring in all 19": 0,
    "of another ring in them and a far one": 18,
    "different in both": (2, "float64"),
    "in common, float": "float64",
    "the same, both uint64": 0,
}
for name, value in found.items():
    print(f"{name}: {value}")
sys.exit(found != expected)
PYTHON
