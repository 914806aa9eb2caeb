#!/usr/bin/env bash
# Stamps in whole nanoseconds in xarray, once numbagg is installed beside it (which xarray then uses unasked), and in numbagg itself.
#
# Guess: what is filled forward is one of the numbers that were there; the greatest of whole numbers is one of them; adding a package changes speed only.
# Seen with numbagg 0.9.6, xarray 2026.9.0, numpy 2.4.6 (PyPI; Python 3.11, x86-64), int64 stamps ...123456789, 5, ...123456790:
#   numbagg: ffill and bfill, nothing missing      ...123456768, 5, ...123456768: other stamps, two of them now equal, as int64
#   nanmax, group_nanmax                           ...123456768
#   nansum of int64, group_nanfirst                right
#   nansum of 10 int32 of 2 147 483 647            -10; of uint8: right
#   xarray: ffill, bfill                           as numbagg's
#   max(skipna=True)                               ...123456768; without numbagg (use_numbagg=False) ...123456790
#   max(), sum of int32, groupby().max()           right
#   ffill of datetime64[ns]                        is refused
# They go through float64 and back to int64; nothing is said. Joins by stamps find nothing then, frames merge. So: set_options(use_numbagg=False) with
# bottleneck, or microseconds from the recording's start on.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (350 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'numbagg==0.9.6' 'xarray==2026.9.0' 'numpy==2.4.6' 'numba==0.68.1' 'pandas==3.1.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numbagg
import numpy as np
import xarray

EARLY, LATE, ROUNDED = 1700000000123456789, 1700000000123456790, 1700000000123456768
STAMPS = np.array([EARLY, 5, LATE])
ARRAY = xarray.DataArray(STAMPS, dims="frame")
GROUPS = np.array([0, 0, 1])
LARGE = np.full(10, 2**31 - 1, np.int32)


def of(found):
    """Numbers and their type."""
    found = np.asarray(found)
    return found.tolist(), found.dtype.name


def without(ask):
    with xarray.set_options(use_numbagg=False):
        return of(ask())


def greatest():
    return ARRAY.max(skipna=True)


def refused():
    try:
        ARRAY.astype("datetime64[ns]").ffill("frame")
    except TypeError:
        return True
    return False


BY_GROUP = ARRAY.groupby(xarray.DataArray(GROUPS, dims="frame", name="group")).max()
SEEN = [
    ("numbagg, ffill", of(numbagg.ffill(STAMPS)), ([ROUNDED, 5, ROUNDED], "int64")),
    ("bfill", of(numbagg.bfill(STAMPS)), ([ROUNDED, 5, ROUNDED], "int64")),
    ("nanmax", of(numbagg.nanmax(STAMPS)), (ROUNDED, "int64")),
    ("group_nanmax", of(numbagg.group_nanmax(STAMPS, GROUPS)), ([ROUNDED, ROUNDED], "int64")),
    ("group_nanfirst", of(numbagg.group_nanfirst(STAMPS, GROUPS)), ([EARLY, LATE], "int64")),
    ("nansum", of(numbagg.nansum(STAMPS)), (int(STAMPS.sum()), "int64")),
    ("nansum of int32", int(numbagg.nansum(LARGE)), -10),
    ("nansum of uint8", int(numbagg.nansum(np.full(1000, 200, np.uint8))), 200000),
    ("xarray, ffill", of(ARRAY.ffill("frame")), ([ROUNDED, 5, ROUNDED], "int64")),
    ("bfill", of(ARRAY.bfill("frame")), ([ROUNDED, 5, ROUNDED], "int64")),
    ("max(skipna=True)", of(greatest()), (ROUNDED, "int64")),
    ("without numbagg", without(greatest), (LATE, "int64")),
    ("max()", of(ARRAY.max()), (LATE, "int64")),
    ("sum of int32", int(xarray.DataArray(LARGE, dims="frame").sum(skipna=True)), 10 * (2**31 - 1)),
    ("groupby().max()", of(BY_GROUP), ([EARLY, LATE], "int64")),
    ("ffill of datetime64[ns] is refused", refused(), True),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
