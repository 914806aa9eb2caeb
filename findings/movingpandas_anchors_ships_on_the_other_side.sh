#!/usr/bin/env bash
# Drives, flights and voyages across the 180th meridian with MovingPandas: how far, how fast, where between two fixes, where at rest.
#
# Guess: what knows that 179.95 and -179.95 degrees are 11 km apart when it measures speed knows it when it says where the ship was, or raises.
# Seen with movingpandas 0.23.0 (PyPI; Python 3.11, x86-64), a ship at 10 degrees north, 0.1 degrees east each hour, once about 0 and once about 180:
#   get_length, add_speed                       the same: 54.8 km, 3.0 m/s throughout
#   where between 179.95 and -179.95            (0, 10): the other side of the Earth
#   at anchor, GPS noise of 11 m about 180      get_stop_points finds the stop, within 100 m; it lies at (0, 10), in Ghana
#   clip to a box of 0.6 degrees about (0, 10)  66 km driven in it by a ship that drove 54.8 km in all, on the other side
#   DouglasPeuckerGeneralizer of the straight   4 fixes instead of 2
#   to_linestring().length                      360.3 degrees instead of 0.5
# No warning. So: longitudes unwrapped (180.05) before, or a projection of the place, and the longitude wrapped at the end.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (330 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'movingpandas==0.23.0' 'geopandas==1.2.0' 'pandas==3.0.6' 'shapely==2.2.0' 'pyproj==3.7.2' 'numpy==2.3.5'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
from datetime import timedelta

import geopandas
import movingpandas
import pandas
from shapely.geometry import Point, box

START = pandas.Timestamp("2026-01-01")


def trajectory(centre, offsets, step):
    places = [Point((centre + offset + 180) % 360 - 180, 10.0) for offset in offsets]
    stamps = pandas.DatetimeIndex([START + index * step for index in range(len(places))])
    return movingpandas.Trajectory(geopandas.GeoDataFrame({"ship": 1}, geometry=places, index=stamps, crs=4326), 1)


def voyage(centre):
    ship = trajectory(centre, [-0.25, -0.15, -0.05, 0.05, 0.15, 0.25], timedelta(hours=1))
    ship.add_speed(overwrite=True)
    return ship


def place(point):
    return round(point.x, 3), round(point.y, 3)


def half_way(centre):
    return place(voyage(centre).get_position_at(START + timedelta(hours=2.5), method="interpolated"))


def stops(centre):
    anchored = trajectory(centre, [0.0001 * (-1) ** index for index in range(30)], timedelta(minutes=1))
    found = movingpandas.TrajectoryStopDetector(anchored).get_stop_points(min_duration=timedelta(minutes=10), max_diameter=100)
    return [place(point) for point in found.geometry]


def kilometres_near_greenwich(centre):
    return round(sum(part.get_length() for part in voyage(centre).clip(box(-0.3, 9, 0.3, 11))) / 1000, 1)


def simplified(centre):
    return len(movingpandas.DouglasPeuckerGeneralizer(voyage(centre)).generalize(tolerance=0.01).df)


SEEN = [
    ("length [km], about 0 and 180", [round(voyage(centre).get_length() / 1000, 1) for centre in (0, 180)], [54.8, 54.8]),
    ("speeds [m/s]", [sorted({round(speed, 1) for speed in voyage(centre).df["speed"]}) for centre in (0, 180)], [[3.0], [3.0]]),
    ("half way between two fixes", [half_way(0), half_way(180)], [(0.0, 10.0), (0.0, 10.0)]),
    ("stops", [stops(0), stops(180)], [[(0.0, 10.0)], [(0.0, 10.0)]]),
    ("clipped near Greenwich [km]", [kilometres_near_greenwich(0), kilometres_near_greenwich(180)], [54.8, 65.8]),
    ("a straight voyage simplified", [simplified(0), simplified(180)], [2, 4]),
    ("length of its line [degrees]", [round(voyage(centre).to_linestring().length, 1) for centre in (0, 180)], [0.5, 360.3]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
