#!/usr/bin/env bash
# Frames of a drive in WebDataset's tar files: names with stamps in them, and depth as 16-bit PNG.
#
# Guess: a sample's key is what it was written under; a 16-bit picture is decoded with its 16 bits, or refused.
# Seen with webdataset 1.0.2 and pillow 13.0.0 (PyPI; Python 3.11, x86-64):
#   written as "1700.25" and "1700.50"       one sample "1700" with 25.png, 25.json, 50.png, 50.json: the key ends at the first point
#   "1700.25" and "1701.25"                  two samples, but without "png": it is "25.png", which differs from sample to sample
#   depth of 1000, 300, 65535, 5 in PNG      255, 255, 255, 5 as every decoder of pictures gives it ("pil", "l8", "rgb8"); "l" gives
#                                            1.0: all that is farther than 255 mm is at 255 mm
#   uint16 arrays written under "png"        are written with 16 bits; only reading cuts
#
# No error, no warning. So: whole nanoseconds as key; depth as "npy", or decoded from the bytes oneself.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (100 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'webdataset==1.0.2' 'pillow==13.0.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import webdataset

DEPTH_MM = np.array([[1000, 300], [65535, 5]], np.uint16)


def written(keys):
    with webdataset.TarWriter("drive.tar") as shard:
        for key in keys:
            shard.write({"__key__": key, "png": DEPTH_MM, "json": {"from": key}})


def samples(decoder):
    return list(webdataset.WebDataset("drive.tar", shardshuffle=False).decode(decoder))


def names(keys):
    written(keys)
    return [(one["__key__"], sorted(name for name in one if not name.startswith("__"))) for one in samples("pil")]


def depth(decoder):
    written(["a"])
    return np.unique(np.asarray(samples(decoder)[0]["png"], float)).round(3).tolist()


def raw():
    """The bits of a grey pixel in the PNG that was written."""
    written(["a"])
    return next(iter(webdataset.WebDataset("drive.tar", shardshuffle=False)))["png"][24]


SEEN = [
    ("two stamps within one second", names(["1700.25", "1700.50"]), [("1700", ["25.json", "25.png", "50.json", "50.png"])]),
    ("the same within two seconds", names(["1700.25", "1701.25"]), [("1700", ["25.json", "25.png"]), ("1701", ["25.json", "25.png"])]),
    ("whole numbers", names(["1700250", "1700500"]), [("1700250", ["json", "png"]), ("1700500", ["json", "png"])]),
    ("pil", depth("pil"), [5, 255]),
    ("rgb8", depth("rgb8"), [5, 255]),
    ("l8", depth("l8"), [5, 255]),
    ("l", depth("l"), [0.02, 1.0]),
    ("bits written", raw(), 16),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:34}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
