#!/usr/bin/env bash
# Depth in metres packed into 16-bit whole numbers of millimetres: xarray's `encoding` (netCDF, Zarr) and numcodecs' FixedScaleOffset.
#
# Guess: what 16 bits do not hold is refused, kept at the end of the range, or becomes missing.
# Seen with xarray 2026.9.0 (h5netcdf 1.8.2), numcodecs 0.16.6, zarr 3.1.6 (PyPI; Python 3.11, x86-64), scale 0.001:
#   70 m as uint16, any of the three       4.464 m: it wraps round at 65.536 m; a free view becomes an obstacle
#   65.535 m where 65535 is the fill value    NaN
#   40 m as int16                          -25.536 m
#   NaN with a fill value                  NaN
#   NaN without one                        0 m; xarray and NumPy warn of that one, of none of the others
#
# So: `clip` to the range before writing, with the fill value kept out of it.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (170 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'xarray==2026.9.0' 'h5netcdf==1.8.2' 'h5py==3.16.0' 'numcodecs==0.16.6' 'zarr==3.1.6' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings

import numcodecs
import numpy as np
import xarray
import zarr

warnings.simplefilter("ignore")


def packed(values, kind, fill=None, *, to="netcdf"):
    encoding = {"dtype": kind, "scale_factor": 0.001} | ({} if fill is None else {"_FillValue": fill})
    frame = xarray.Dataset({"depth": ("pixel", np.array(values, np.float32))})
    if to == "zarr":
        frame.to_zarr("depth.zarr", mode="w", encoding={"depth": encoding})
        found = xarray.open_zarr("depth.zarr").depth.values
    else:
        frame.to_netcdf("depth.nc", engine="h5netcdf", encoding={"depth": encoding})
        with xarray.open_dataset("depth.nc", engine="h5netcdf") as opened:
            found = opened.depth.values
    return np.round(found.astype(float), 3).tolist()


def by_numcodecs(values):
    codec = numcodecs.FixedScaleOffset(offset=0, scale=1000, dtype="f4", astype="u2")
    array = zarr.create_array(store={}, shape=(len(values),), dtype="f4", filters=[codec], zarr_format=2)
    array[:] = values
    return np.round(array[:].astype(float), 3).tolist()


def warned(values, fill):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        packed(values, "uint16", fill)
    return any("NaN" in str(one.message) or "invalid value" in str(one.message) for one in heard)


SEEN = [
    ("0.5 m and 70 m, xarray to netCDF", packed([0.5, 70], "uint16", 65535), [0.5, 4.464]),
    ("the same to Zarr", packed([0.5, 70], "uint16", 65535, to="zarr"), [0.5, 4.464]),
    ("the same with numcodecs in Zarr", by_numcodecs([0.5, 70]), [0.5, 4.464]),
    ("65.535 m is missing", str(packed([65.535], "uint16", 65535)), "[nan]"),
    ("40 m as int16", packed([40], "int16", -1), [-25.536]),
    ("NaN with a fill value", str(packed([np.nan], "uint16", 65535)), "[nan]"),
    ("NaN without one", packed([np.nan], "uint16"), [0.0]),
    ("a warning: 70 m; NaN without fill value", (warned([70], 65535), warned([np.nan], None)), (False, True)),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
