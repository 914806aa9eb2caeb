#!/usr/bin/env bash
# How far a robot is from its way (cross-track error), with turfpy: `point_to_line_distance`, "the minimum distance between a Point and any segment".
#
# Guess: within a thousandth of the distance on a plane of metres, for ways of any number of stretches; `segment_each` gives a way's stretches.
# Seen with turfpy 0.0.8, judged by numpy 1.26.4 and by turfpy's own nearest_point_on_line (PyPI; Python 3.11, x86-64), a way of 760 m east, 1110 m
# north, 760 m east, near 47 degrees north:
#   one stretch                                  right
#   two stretches, beside the second             404 m; 76 m is right
#   three, beside the second                     47 m, from a stretch that is not there; 76 m is right
#   three, beside the third                      244 m; 11 m is right
#   segment_each                                 from the first place to the second, third, fourth: a fan; parts of a MultiLineString too
#   nearest_point_on_line                        right
#   one stretch to the north-east at 60 north    1243 m; 995 m is right: the foot is sought in degrees ("approximate")
# A callback that returns nothing keeps the first place for ever; the one in point_to_line_distance returns nothing. So: nearest_point_on_line's dist.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (450 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'turfpy==0.0.8' 'numpy==1.26.4' 'pandas==3.0.6'

cat >"$scratch/probe.py" <<'PYTHON'
import itertools
import sys

import numpy as np
from geojson import Feature, LineString, MultiLineString, Point
from turfpy.measurement import point_to_line_distance
from turfpy.meta import segment_each
from turfpy.misc import nearest_point_on_line

WAY = [(8, 47), (8.01, 47), (8.01, 47.01), (8.02, 47.01)]
DEGREE_M = np.radians(1) * 6371008.8


def metres(places, latitude):
    return np.array(places) * DEGREE_M * [np.cos(np.radians(latitude)), 1]


def by_hand(place, way):
    """Metres to the nearest stretch on a plane."""
    here, corners = metres(place, way[0][1]), metres(way, way[0][1])
    far = []
    for start, end in itertools.pairwise(corners):
        share = np.clip((here - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
        far.append(np.linalg.norm(here - start - share * (end - start)))
    return min(far)


def distances(place, way):
    """Metres: point_to_line_distance, nearest_point_on_line, by hand."""
    measured = point_to_line_distance(Feature(geometry=Point(place)), Feature(geometry=LineString(way)), units="m")
    nearest = nearest_point_on_line(LineString(way), Point(place), {"units": "m"})["properties"]["dist"]
    return [round(float(far)) for far in (measured, nearest, by_hand(place, way))]


def stretches(geometry):
    found = []
    segment_each(Feature(geometry=geometry), lambda segment, *_: found.append(segment["geometry"]["coordinates"]))
    return found


BESIDE_FIRST, BESIDE_SECOND, BESIDE_THIRD = (8.005, 47.001), (8.011, 47.005), (8.015, 47.0101)
SLANTED = [(10, 60), (10.02, 60.02)]
SEEN = [
    ("one stretch", distances(BESIDE_FIRST, WAY[:2]), [111, 111, 111]),
    ("two, beside the first", distances(BESIDE_FIRST, WAY[:3]), [111, 111, 111]),
    ("two, beside the second", distances(BESIDE_SECOND, WAY[:3]), [404, 76, 76]),
    ("three, beside the second", distances(BESIDE_SECOND, WAY), [47, 76, 76]),
    ("three, beside the third", distances(BESIDE_THIRD, WAY), [244, 11, 11]),
    ("stretches: where they begin", [first for first, _ in stretches(LineString(WAY))], [[8, 47]] * 3),
    ("where they end", [last for _, last in stretches(LineString(WAY))], [list(place) for place in WAY[1:]]),
    ("MultiLineString", [first for first, _ in stretches(MultiLineString([WAY, SLANTED]))], [[8, 47]] * 3 + [[10, 60]]),
    ("60 north", [distances((10.02, 60.0), SLANTED)[which] for which in (0, 2)], [1243, 995]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
