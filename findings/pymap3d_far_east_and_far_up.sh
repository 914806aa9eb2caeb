#!/usr/bin/env bash
# Positions with pymap3d: courses of constant heading, the 180th meridian, and satellites.
#
# Guess: each function is exact to millimetres wherever its arguments make sense.
# Seen with pymap3d 3.2.0, judged by pyproj 3.7.2 (PyPI; Python 3.11, x86-64):
#   loxodrome_direct, 1000 m at 47 degrees north, heading 90       1000 m to the east, within 0.2 m
#   heading 89.9999, 89.999999, 89.9999999 degrees                 999.7, 972.3, 723.2 m: a tangent that grows times a difference that
#                                                                  is rounded off; a heading from a filter is never just 90
#   heading 90.000001 degrees                                      1027.7 m
#   loxodrome_inverse from 179.9 east to 179.9 west, equator       20015 km to the west instead of 22 km to the east
#   the same from 10 to 10.1 degrees north                         39442 km
#   vdist (Vincenty) across it                                     right
#   vreckon across it                                              a longitude of 180.009 degrees
#   ecef2geodetic(geodetic2ecef), 10 km up                         back within a micrometre
#   a satellite of GPS, 20200 km up                                off by up to 32 m across; 36000 km up by 81 m (pyproj: 0.3 m, 0.4 m)
# No warning; `ecef2geodetic` names a method "without iterations" whose one correction is enough near the ground only.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (120 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pymap3d==3.2.0' 'pyproj==3.7.2' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import pymap3d
from pymap3d.lox import loxodrome_direct, loxodrome_inverse
from pymap3d.vincenty import vdist, vreckon
from pyproj import Geod, Transformer

GEOD = Geod(ellps="WGS84")
TO_GEODETIC = Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True)


def driven(heading):
    latitude, longitude = loxodrome_direct(47.0, 8.0, 1000.0, heading)
    return round(float(GEOD.inv(8.0, 47.0, longitude, latitude)[2]), 1)


def kilometres(function, *places):
    return round(float(function(*places)[0]) / 1000, 1)


def by_pyproj(x, y, z):
    longitude, latitude, height = TO_GEODETIC.transform(x, y, z)
    return latitude, longitude, height


def off(height, ecef2geodetic=pymap3d.ecef2geodetic):
    latitude = np.linspace(-89, 89, 179)
    place = np.array(pymap3d.geodetic2ecef(latitude, np.full(179, 30.0), np.full(179, height)))
    back = np.array(pymap3d.geodetic2ecef(*ecef2geodetic(*place)))
    return round(float(np.linalg.norm(back - place, axis=0).max()), 1)


SEEN = [
    ("heading 89, 89.9 and 90 [m]", [driven(89), driven(89.9), driven(90)], [1000.0] * 3),
    ("89.9999, 89.999999, 89.9999999", [driven(89.9999), driven(89.999999), driven(89.9999999)], [999.7, 972.3, 723.2]),
    ("90.000001", driven(90.000001), 1027.7),
    ("loxodrome_inverse across 180 degrees [km]", kilometres(loxodrome_inverse, 0, 179.9, 0, -179.9), 20015.2),
    ("by 0.1 degrees north", kilometres(loxodrome_inverse, 10, 179.9, 10.1, -179.9), 39442.2),
    ("vdist", kilometres(vdist, 0, 179.9, 0, -179.9), 22.3),
    ("vreckon, longitude", round(float(vreckon(0, 179.9999, 1000, 90)[1]), 3), 180.009),
    ("ecef2geodetic, 0, 10 km up, off [m]", [off(0.0), off(1e4)], [0.0, 0.0]),
    ("20200 km, 36000 km", [off(2.02e7), off(3.6e7)], [32.5, 80.7]),
    ("pyproj", [off(2.02e7, by_pyproj), off(3.6e7, by_pyproj)], [0.3, 0.4]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
