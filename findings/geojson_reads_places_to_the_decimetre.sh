#!/usr/bin/env bash
# Places of a precise receiver in GeoJSON, read and written with the package geojson, beside shapely.
#
# Guess: a file's numbers are read as they stand in it, and written so that they can be read back.
# Seen with geojson 3.3.0, shapely 2.2.0 (PyPI; Python 3.11, x86-64), a place in Switzerland with eight decimals:
#   geojson.loads of 8.12345649, 47.98765449    8.123456, 47.987654: up to 6 cm off to north and south, by reading alone
#   Point(..., precision=15)                    right; loads has no such argument
#   DEFAULT_PRECISION = 15 of geojson.geometry  right, for the whole process
#   geojson.loads of metres (UTM)               to 1 um
#   shapely.from_geojson                        right
#
# So: read with json or shapely; a step of 10 cm in a track that came through geojson is not the receiver's.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (110 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'geojson==3.3.0' 'shapely==2.2.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import json
import sys

import geojson
import shapely

PLACE = [8.12345649, 47.98765449, 512.1234567]


def text(place):
    return json.dumps({"type": "Point", "coordinates": place})


def with_digits():
    before, geojson.geometry.DEFAULT_PRECISION = geojson.geometry.DEFAULT_PRECISION, 15
    try:
        return geojson.loads(text(PLACE))["coordinates"]
    finally:
        geojson.geometry.DEFAULT_PRECISION = before


SEEN = [
    ("geojson.loads", geojson.loads(text(PLACE))["coordinates"], [8.123456, 47.987654, 512.123457]),
    ("geojson.dumps of it", json.loads(geojson.dumps(geojson.loads(text(PLACE))))["coordinates"], [8.123456, 47.987654, 512.123457]),
    ("Point(..., precision=15)", geojson.Point(PLACE, precision=15)["coordinates"], PLACE),
    ("DEFAULT_PRECISION = 15", with_digits(), PLACE),
    ("metres", geojson.loads(text([465123.1234567, 5247000.7654321]))["coordinates"], [465123.123457, 5247000.765432]),
    ("shapely", list(shapely.from_geojson(text(PLACE)).coords[0]), PLACE),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
