#!/usr/bin/env bash
# Stamped places of a drive in the files that GIS programs read (GeoPackage, FlatGeobuf, GeoJSON), written with geopandas.
#
# Guess: stamps in microseconds, which is what pandas 3 makes of a text, are read back as they were, or something is said.
# Seen with geopandas 1.2.0, pyogrio 0.13.0, pandas 3.1.1 (PyPI; Python 3.11, x86-64), with a time zone and without:
#   00:00:00.123456                00:00:00.123 in all three: the type is datetime64[ms] afterwards, no warning
#   00:00:00.999600, 00:00:01.0005   0.999 and 1.000: cut off, not rounded, so a stamp is up to 1 ms early
#   two rows 400 us apart          one time: a join by stamp (merge, on="t") with the rows that were written finds neither
#   integers of 64 bits (ns)       as they were
#
# So: write the stamp as whole nanoseconds in a column of its own beside it, and join by that.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (340 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'geopandas==1.2.0' 'pyogrio==0.13.0' 'pandas==3.1.1' 'numpy==2.4.6' 'shapely==2.2.0' 'pyproj==3.7.2'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings

import geopandas
import pandas as pd
import shapely

SAID = []
warnings.showwarning = lambda message, *_: SAID.append(str(message))
TEXTS = [f"2026-01-01T00:00:{text}" for text in ("00.123456", "00.999600", "01.000500", "02.000100", "02.000500")]


def read_back(kind, zone=None):
    """Microseconds by which stamps changed, their type, whole numbers that changed, and rows that a join by stamp finds."""
    stamps = pd.to_datetime(TEXTS).tz_localize(zone)
    nanoseconds = stamps.as_unit("ns").asi8
    places = [shapely.Point(8, 47)] * len(stamps)
    rows = geopandas.GeoDataFrame({"t": stamps, "ns": nanoseconds}, geometry=places, crs="EPSG:4326")
    rows.to_file(f"probe.{kind}")
    read = geopandas.read_file(f"probe.{kind}")
    moved = [round(one / pd.Timedelta(microseconds=1)) for one in read["t"] - rows["t"]]
    return moved, read["t"].dt.unit, int((read["ns"] != rows["ns"]).sum()), len(read.merge(rows, on="t"))


CUT = ([-456, -600, -500, -100, -500], "ms", 0, 0)
SEEN = [
    ("unit of pandas' own", pd.to_datetime(TEXTS).unit, "us"),
    ("GeoPackage", read_back("gpkg"), CUT),
    ("GeoPackage, UTC", read_back("gpkg", "UTC"), CUT),
    ("FlatGeobuf", read_back("fgb"), CUT),
    ("GeoJSON", read_back("geojson"), CUT),
    ("said about it", [one for one in SAID if "milli" in one or "precision" in one], []),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
