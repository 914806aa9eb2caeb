#!/usr/bin/env bash
# Which lane, room or cell a pixel belongs to: 64-bit numbers (H3 cells, hashes) burnt into a raster with rasterio, and moved to another grid.
#
# Guess: `rasterize(..., dtype="int64")` and a nearest `reproject` of int64 keep whole numbers; what a type cannot hold is refused.
# Seen with rasterio 1.4.4 (GDAL 3.10.3), h3 4.5.0, numpy 2.4.6 (PyPI; Python 3.11, x86-64):
#   rasterize an H3 cell as uint64, int64       another number: no cell of the map; to the nearest 64
#   19 cells around a place, of resolution 15   2 different numbers are left
#   2**53, 2**53 + 1                            both 2**53
#   reproject(nearest) of the same grid, int64  2**53 + 1 becomes 2**53
#   written to a GeoTIFF and read again         exact
#   rasterize 300 as uint8; 1.7 as int32        255; 2
#   rasterize -1 as uint8                       0, which is also the background
# All of it went through float64. Nothing is raised or logged. So: burn small numbers of your own, and keep a list of what they stand for.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (220 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'rasterio==1.4.4' 'h3==4.5.0' 'shapely==2.2.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import h3
import numpy as np
import rasterio
from rasterio.features import rasterize
from rasterio.transform import from_origin
from rasterio.warp import Resampling, reproject
from shapely.geometry import box

GRID = from_origin(0, 2, 1, 1)
CELLS = sorted(h3.str_to_int(one) for one in h3.grid_disk(h3.latlng_to_cell(4.53, 137.977, 15), 2))


def burnt(value, dtype):
    return rasterize([(box(0, 0, 2, 2), value)], out_shape=(2, 2), transform=GRID, dtype=dtype)[0, 0].item()


def moved(value):
    source, target = np.full((2, 2), value, np.int64), np.zeros((2, 2), np.int64)
    reproject(
        source, target, src_transform=GRID, dst_transform=GRID, src_crs="EPSG:32632", dst_crs="EPSG:32632", resampling=Resampling.nearest
    )
    return target[0, 0].item()


def written(value):
    with rasterio.open("probe.tif", "w", width=2, height=2, count=1, dtype="int64", transform=GRID, crs="EPSG:32632") as file:
        file.write(np.full((2, 2), value, np.int64), 1)
    with rasterio.open("probe.tif") as file:
        return file.read(1)[0, 0].item()


BIG = 2**53
SEEN = [
    ("cells right, uint64, int64", [sum(burnt(one, dtype) == one for one in CELLS) for dtype in ("uint64", "int64")], [0, 0]),
    ("off by at most", max(abs(burnt(one, "uint64") - one) for one in CELLS) <= 64, True),
    ("cells, different ones after burning", (len(CELLS), len({burnt(one, "uint64") for one in CELLS})), (19, 2)),
    ("2**53 and 2**53 + 1", [burnt(BIG, "int64") - BIG, burnt(BIG + 1, "int64") - BIG], [0, 0]),
    ("reproject, nearest", moved(BIG + 1) - BIG, 0),
    ("written and read", written(BIG + 1) - BIG, 1),
    ("300 as uint8, -1 as uint8, 1.7 as int32", [burnt(300, "uint8"), burnt(-1, "uint8"), burnt(1.7, "int32")], [255, 0, 2]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:42}{found!s:30}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
