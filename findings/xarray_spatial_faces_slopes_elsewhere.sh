#!/usr/bin/env bash
# Terrain that a robot drives on, with xarray-spatial (xrspatial): where a slope faces, how it is lit, and a way across it.
#
# Guess: aspect and hillshade go by the coordinates of the map, as slope does; A* "through a surface", whose result is "the current cost", goes by
# the surface's values.
# Seen with xarray-spatial 0.5.3, xarray 2026.9.0, numpy 2.4.6 (PyPI; Python 3.11, x86-64), a plane that rises to the north-east by 1 in 1 each:
#   slope, cells of 1 x 1, 0.5 x 0.25, 1 x 2    54.74 degrees, right
#   aspect of the same                          225 degrees (south-west), right; 243 and 207
#   y from south to north, as occupancy grids   aspect 315 (north-west): turned over; slope right
#   and xarray's own coordinates have it
#   hillshade, light from the south-west        0.99; 0.89 with 0.5 x 0.25; 0.62 with y from south to north
#   a_star_search past a ridge of 50 in a       straight over the ridge, "cost" 6: the values count only if they are listed as barriers
#   plain of 1 that has a gap
#   the same over cells of 1 x 0.1              a diagonal costs 1.41 of whatever
# Nothing is raised or logged. So: bring a map to square cells, y downwards, before aspect and hillshade; find ways with skimage.graph or SciPy.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (590 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'xarray-spatial==0.5.3' 'xarray==2026.9.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import xarray as xr
from xrspatial import a_star_search, aspect, hillshade, slope

CELLS = ((1, 1), (0.5, 0.25), (1, 2))


def made(values, width, height, downwards=True):
    x, y = np.arange(values.shape[1]) * float(width), np.arange(values.shape[0]) * float(height)
    return xr.DataArray(values, dims=("y", "x"), coords={"y": y[::-1] if downwards else y, "x": x})


def plane(width, height, downwards=True):
    """Rises by 1 in 1 to the east and to the north."""
    terrain = made(np.zeros((10, 12)), width, height, downwards)
    return terrain + terrain.x + terrain.y


def middle(found):
    return round(float(found[5, 5]), 2)


def lit(terrain):
    return middle(hillshade(terrain, azimuth=225, angle_altitude=25))


def way(ridge, height=1.0):
    """Cells of the way from the upper left to the lower left corner that lie on the ridge, and its cost."""
    values = np.ones((7, 7))
    values[3, :6] = ridge
    found = a_star_search(made(values, 1, height), (6 * height, 0.0), (0.0, 0.0)).values
    return int(np.isfinite(found[3, :6]).sum()), float(np.nanmax(found))


def diagonal(height):
    found = a_star_search(made(np.ones((5, 5)), 1, height), (4 * height, 0.0), (0.0, 4.0))
    return round(float(np.nanmax(found.values)), 2)


UPWARDS = plane(1, 1, downwards=False)
SEEN = [
    ("slope", [middle(slope(plane(*one))) for one in CELLS], [54.74] * 3),
    ("aspect", [middle(aspect(plane(*one))) for one in CELLS], [225.0, 243.43, 206.57]),
    ("y upwards: slope, aspect", [middle(slope(UPWARDS)), middle(aspect(UPWARDS))], [54.74, 315.0]),
    ("light from the south-west", [lit(plane(1, 1)), lit(plane(0.5, 0.25)), lit(UPWARDS)], [0.99, 0.89, 0.62]),
    ("A*, ridge of 1 and of 50", [way(1.0), way(50.0)], [(1, 6.0), (1, 6.0)]),
    ("A*, diagonal, cells of 1 x 1, 1 x 0.1", [diagonal(1.0), diagonal(0.1)], [5.66, 5.66]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:40}{found!s:34}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
