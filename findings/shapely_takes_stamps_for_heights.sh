#!/usr/bin/env bash
# Tracks with a stamp in each point (LINESTRING M and ZM) in Shapely, which has the measure M since 2.1.
#
# Guess: what keeps Z keeps M as well, or the measure is left out and what remains is right; M is never taken for Z.
# Seen with shapely 2.2.0, GEOS 3.14.1 (PyPI; Python 3.11, x86-64), a line of 10 m with Z from 1 to 2 and M from 0 to 100:
#   LineString(track.coords), Point(track.coords[1])     of M: the stamp becomes the height, POINT Z (10 0 100); of ZM: ValueError
#   affinity.translate, rotate, scale, of Z              heights as they were
#   the same of M                                        M is gone
#   the same of ZM                                       LINESTRING ZM whose heights and measures are all NaN
#   shapely.transform(..., include_z=True) of ZM         the same
#   interpolate, segmentize, simplify, clip_by_rect,     M is gone, Z is kept
#   line_merge, snap, to_geojson
#   intersection, reverse, node, set_precision, WKB      M is kept, and interpolated as Z is
#   snap to a point without Z                            that point's height is NaN
# Nothing is raised or logged but for that ValueError. So: `get_coordinates(track, include_z=True, include_m=True)`, and the geometry without M.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (80 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'shapely==2.2.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import math
import sys

import shapely
from shapely import affinity, wkt

Z = wkt.loads("LINESTRING Z (0 0 1, 10 0 2)")
M = wkt.loads("LINESTRING M (0 0 0, 10 0 100)")
ZM = wkt.loads("LINESTRING ZM (0 0 1 0, 10 0 2 100)")
MOVES = (lambda one: affinity.translate(one, 1, 0), lambda one: affinity.rotate(one, 90, (0, 0)), lambda one: affinity.scale(one, 2, 2))
LOSE = {
    "interpolate": lambda one: one.interpolate(5),
    "segmentize": lambda one: one.segmentize(5),
    "simplify": lambda one: one.simplify(0),
    "clip_by_rect": lambda one: shapely.clip_by_rect(one, 2, -1, 6, 1),
    "line_merge": lambda one: shapely.line_merge(shapely.multilinestrings([one, one])),
    "snap": lambda one: shapely.snap(one, shapely.Point(5, 0.05), 0.1),
    "to_geojson": lambda one: shapely.from_geojson(shapely.to_geojson(one)),
}
KEEP = (shapely.reverse, shapely.node, lambda one: shapely.set_precision(one, 0.1), lambda one: shapely.from_wkb(shapely.to_wkb(one)))


def unlike_numbers(one):
    return bool(one.has_z and one.has_m and all(math.isnan(value) for row in shapely.get_coordinates(one, True, True) for value in row[2:]))


def refused(what):
    try:
        what()
    except ValueError:
        return True
    return False


SEEN = [
    ("M, LineString(coords)", shapely.LineString(M.coords).wkt, "LINESTRING Z (0 0 0, 10 0 100)"),
    ("M, Point(coords[1])", shapely.Point(M.coords[1]).wkt, "POINT Z (10 0 100)"),
    ("ZM, LineString(coords) refused", refused(lambda: shapely.LineString(ZM.coords)), True),
    ("Z moved: heights", [[float(z) for z in shapely.get_coordinates(move(Z), True)[:, 2]] for move in MOVES], [[1.0, 2.0]] * 3),
    ("M moved: has M", [bool(move(M).has_m) for move in MOVES], [False] * 3),
    ("ZM moved: all heights and measures NaN", [unlike_numbers(move(ZM)) for move in MOVES], [True] * 3),
    ("ZM, transform(include_z=True)", unlike_numbers(shapely.transform(ZM, lambda found: found, include_z=True)), True),
    ("ZM, M lost and Z kept by", [name for name, do in LOSE.items() if do(ZM).has_z and not do(ZM).has_m], list(LOSE)),
    ("ZM, both kept", [bool(do(ZM).has_z and do(ZM).has_m) for do in KEEP], [True] * 4),
    ("ZM, intersection", ZM.intersection(shapely.box(2, -1, 6, 1)).wkt, "LINESTRING ZM (2 0 1.2 20, 6 0 1.6 60)"),
    ("Z, snapped to a point without", LOSE["snap"](Z).wkt, "LINESTRING Z (0 0 1, 5 0.05 NaN, 10 0 2)"),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
