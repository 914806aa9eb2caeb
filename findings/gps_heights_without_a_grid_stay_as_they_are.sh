#!/usr/bin/env bash
# Heights of GPS fixes above the ellipsoid to heights above sea level, with pyproj as pip installs it.
#
# Guess: where the grid of the geoid is not there, the transformation raises or gives infinity; `only_best=True`, which is documented to
# "error out if the best transformation ... cannot be used", does so in any case.
# Seen with pyproj 3.7.2 (PyPI, no grids, network off as by default; Python 3.11, x86-64), 500 m at Zurich, where the geoid lies some 47 m up:
#   EPSG:4979 to EPSG:4326+5773 (EGM96)      500.0: the height comes back as it was; no warning, errcheck=True says nothing
#   the same to EGM2008, to EPSG:9707        500.0
#   only_best=True                           500.0 as well
#   allow_ballpark=False                     ProjError; with only_best=True the message names the missing grid
#   TransformerGroup                         warns, best_available is False, and its transformer still says 500.0
#
# So: always `allow_ballpark=False`; a map that mixes such heights with true ones has steps of tens of metres.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (50 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pyproj==3.7.2'

cat >"$scratch/probe.py" <<'PYTHON'
import os
import sys
import warnings

os.environ["PROJ_NETWORK"] = "OFF"
from pyproj import Transformer
from pyproj.exceptions import ProjError
from pyproj.transformer import TransformerGroup

PLACE = (8.55, 47.37, 500.0)
ELLIPSOID, EGM96 = "EPSG:4979", "EPSG:4326+5773"


def height(to=EGM96, **options):
    """Height that comes back, and how many warnings did."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found = Transformer.from_crs(ELLIPSOID, to, always_xy=True, **options).transform(*PLACE, errcheck=True)
        except ProjError as error:
            return "grid named" if "egm96" in str(error) else "refused"
    return found[2], len(said)


def by_group():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        group = TransformerGroup(ELLIPSOID, EGM96, always_xy=True)
    return group.best_available, group.transformers[0].transform(*PLACE)[2], len(said)


SEEN = [
    ("to EGM96: height, warnings", height(), (500.0, 0)),
    ("to EGM2008", height("EPSG:9518"), (500.0, 0)),
    ("to EPSG:9707", height("EPSG:9707"), (500.0, 0)),
    ("to EGM96, only_best", height(only_best=True), (500.0, 0)),
    ("to EGM96, allow_ballpark=False", height(allow_ballpark=False), "refused"),
    ("to EGM96, both", height(only_best=True, allow_ballpark=False), "grid named"),
    ("group: best available, height, warnings", by_group(), (False, 500.0, 1)),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:52}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
