#!/usr/bin/env bash
# Depth and elevation in TIFF files with tifffile and imagecodecs: compressions that change what is missing or far.
#
# Guess: a compression that keeps numbers keeps NaN, too, or refuses it; one that holds 12 bits refuses what needs 16.
# Seen with tifffile 2026.3.3, imagecodecs 2026.3.6 (PyPI; Python 3.11, x86-64), 16 x 16 pixels:
#   compression="lerc", float32 with NaN        0.0, though LERC is lossless here and has a mask for missing pixels; imagecodecs'
#                                               lerc_encode(masks=...) likewise, unless the mask is asked for when decoding
#   zlib, zstd, lzw, lzma, jpegxl, jpegxr       NaN
#   quantize_encode, GRANULARBR                 NaN becomes -0.0, infinity -0.0; BITGROOM and BITROUND leave NaN alone
#   compression="jpeg", uint16 of 0 to 4095     within some thousandths
#   plain pictures of 5000 and of 65535         4095 and 0: what is above 12 bits is neither refused nor kept at the end of the range
#   jpeg2000, jpegxl, jpegxr, png, lerc         5000
#   bitspersample=12, no compression, 5000      904: the upper bits are cut off, so 5 m (in millimetres) is less than one
# Nothing is raised or logged.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (130 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'tifffile==2026.3.3' 'imagecodecs==2026.3.6' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import io
import sys

import imagecodecs
import numpy as np
import tifffile

DEPTH = np.linspace(1, 5, 256, dtype=np.float32).reshape(16, 16)
DEPTH[3, 4] = np.nan
FLOATS = ("zlib", "zstd", "lzw", "lzma", "jpegxl", "jpegxr")
WHOLE = ("jpeg2000", "jpegxl", "jpegxr", "png", "lerc")


def read_back(array, compression=None, **how):
    file = io.BytesIO()
    tifffile.imwrite(file, array, compression=compression, **how)
    file.seek(0)
    return tifffile.imread(file)


def rounded(mode, value):
    array = DEPTH.copy()
    array[3, 4] = value
    return str(float(imagecodecs.quantize_encode(array, mode, 3)[3, 4]))


def plain(value, compression=None, **how):
    return np.unique(read_back(np.full((16, 16), value, np.uint16), compression, **how)).tolist()


lerc = read_back(DEPTH, "lerc")
masked = imagecodecs.lerc_decode(imagecodecs.lerc_encode(DEPTH, masks=~np.isnan(DEPTH)))
mode = imagecodecs.QUANTIZE.MODE
ramp = np.linspace(0, 4095, 256).astype(np.uint16).reshape(16, 16)
off = np.abs(read_back(ramp, "jpeg").astype(int) - ramp).max()
SEEN = [
    ("lerc, NaN", float(lerc[3, 4]), 0.0),
    ("all else equal", int((lerc == DEPTH).sum()), 255),
    ("lerc with a mask, NaN", float(masked[3, 4]), 0.0),
    ("the others", [str(float(read_back(DEPTH, name)[3, 4])) for name in FLOATS], ["nan"] * 6),
    ("GRANULARBR: NaN, inf", [rounded(mode.GRANULARBR, np.nan), rounded(mode.GRANULARBR, np.inf)], ["-0.0", "-0.0"]),
    ("BITGROOM, BITROUND: NaN", [rounded(mode.BITGROOM, np.nan), rounded(mode.BITROUND, np.nan)], ["nan", "nan"]),
    ("jpeg, 0 to 4095 within 50", bool(off < 50), True),
    ("jpeg, 4000, 5000, 65535", [plain(v, "jpeg") for v in (4000, 5000, 65535)], [[4000], [4095], [0]]),
    ("the others, 5000", [plain(5000, name) for name in WHOLE], [[5000]] * 5),
    ("bitspersample=12: 4000, 5000", [plain(v, bitspersample=12) for v in (4000, 5000)], [[4000], [904]]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:32}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
