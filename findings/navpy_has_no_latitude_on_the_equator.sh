#!/usr/bin/env bash
# From a satellite receiver's x, y, z (ECEF) to latitude, longitude and height with NavPy.
#
# Guess: places on the equator and near the poles are places like others, to a millimetre.
# Seen with NavPy 1.0, numpy 2.4.6, pyproj 3.7.2 for x, y, z (PyPI; Python 3.11, x86-64), `ecef2lla` of places 500 m up:
#   47, 80 and 89 degrees north                   right to a millimetre
#   1e-9 degrees north                            right
#   0 degrees, whatever the longitude             the latitude is NaN (numpy warns of an invalid value); longitude and height are right. So it
#                                                 is for a simulated robot that starts at 0, 0
#   89.99 to 89.9999 degrees, north and south     the height is 3.37 m too large
#
# So: use pyproj (EPSG:4978 to EPSG:4979), or check latitudes with isfinite.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (130 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'NavPy==1.0' 'numpy==2.4.6' 'pyproj==3.7.2'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import navpy
import numpy as np
from pyproj import Transformer

to_ecef = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
HEIGHT = 500.0


def errors(latitude, longitude=8.0):
    """Of latitude in millimetres on the ground, and of height in centimetres."""
    found = navpy.ecef2lla(to_ecef.transform(longitude, latitude, HEIGHT))
    ground = float(np.radians(found[0] - latitude)) * 6.4e9
    return round(ground, 1), round(100 * float(found[2] - HEIGHT))


def on_the_equator(longitude):
    latitude, found, height = navpy.ecef2lla(to_ecef.transform(longitude, 0.0, HEIGHT))
    return bool(np.isnan(latitude)), round(float(found), 6), round(float(height), 3)


SEEN = [
    ("47, 80, 89 degrees: mm, cm", [errors(one) for one in (47, 80, 89)], [(0.0, 0)] * 3),
    ("1e-9 degrees", errors(1e-9), (0.0, 0)),
    ("0, 8: latitude NaN, longitude, height", on_the_equator(8.0), (True, 8.0, 500.0)),
    ("0, -90", on_the_equator(-90.0), (True, -90.0, 500.0)),
    ("89.99, 89.9999 degrees: mm, cm", [errors(one) for one in (89.99, 89.9999)], [(0.0, 337)] * 2),
    ("-89.999 degrees", errors(-89.999), (0.0, 337)),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
