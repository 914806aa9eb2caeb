#!/usr/bin/env bash
# Point clouds with missing points (NaN) to LAS files with laspy.
#
# Guess: a coordinate that whole numbers cannot hold is refused, as one that is too far away is; so is a colour that does not fit.
# Seen with laspy 2.7.0 and numpy 2.4.6 (PyPI; Python 3.11, x86-64):
#   x of 1e9 or infinity            OverflowError
#   x that is NaN                   -21474836.48: a valid point 21 000 km away, which then is the header's least x; all that is
#                                   heard is NumPy's "invalid value encountered in cast"
#   a header of one's own           scale 0.01: 1.23456 is 1.23; float32 places of a robot lose all below a centimetre
#   red of 70000, intensity of 1.7  4464 and 1, in silence; classification 40 is refused
#
# So: leave points that are not finite out, set `header.scales` and `header.offsets`, and look at `header.mins` afterwards.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (50 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'laspy==2.7.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import io
import sys
import warnings

import laspy
import numpy as np


def read_back(x, **fields):
    cloud = laspy.LasData(laspy.LasHeader(point_format=3, version="1.2"))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            cloud.x, cloud.y, cloud.z = np.array(x), np.zeros(len(x)), np.zeros(len(x))
            for name, values in fields.items():
                setattr(cloud, name, np.array(values))
        except OverflowError:
            return "refused"
    with io.BytesIO() as file:
        cloud.write(file, do_compress=False)
        found = laspy.read(io.BytesIO(file.getvalue()))
    values = {name: np.asarray(found[name]).tolist() for name in ("x", *fields)}
    return *values.values(), float(found.header.mins[0]), [each.category.__name__ for each in said]


SEEN = [
    ("x of 1e9", read_back([1e9, 1.0]), "refused"),
    ("x of infinity", read_back([np.inf, 1.0]), "refused"),
    ("x of NaN: x, least x, warnings", read_back([np.nan, 1.0]), ([-21474836.48, 1.0], -21474836.48, ["RuntimeWarning"])),
    ("x of 1.23456: x, least x, warnings", read_back([1.23456, 2.0]), ([1.23, 2.0], 1.23, [])),
    ("red of 300 and 70000", read_back([1.0, 2.0], red=[300, 70000])[1:], ([300, 4464], 1.0, [])),
    ("intensity of 0.5 and 1.7", read_back([1.0, 2.0], intensity=[0.5, 1.7])[1:], ([0, 1], 1.0, [])),
    ("classification of 40", read_back([1.0, 2.0], classification=[1, 40]), "refused"),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:52}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
