#!/usr/bin/env bash
# Depth pictures (16 bits, mode I;16, and metres as float, mode F) in Pillow: turned, shifted, pasted, put together.
#
# Guess: what is done in modes I and F, which hold the same numbers, is done in I;16, or refused, as filters and `blend` are.
# Seen with pillow 13.0.0 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), columns of 500, 1000, 1500, 2000 (mm; in F 0.5 to 2 m):
#   transform by half a pixel, BILINEAR, I      750 1250 1750
#   the same, I;16; rotate(BILINEAR, BICUBIC)   all below 256: the sum of bytes
#   resize, NEAREST                             right
#   paste(1500), paste(40000), paste(256)       56540, 16448, 0: the number's low byte, twice
#   paste(picture of 3000, mask of 255)         3000 3000 1500 2000: the left half only; composite likewise
#   paste(1500, mask of mode 1)                 56540 56540 1500 2000
#   F: paste(picture of 3 m, mask of 128)       2.5 3.5 4.0 2.5: between 0.5 and 3, 1 and 3, 1.5 and 3, 2 and 3; composite 0.6 0.9 1.0 2.5
#   ImageStat.Stat(I;16), mean and extrema      120, 1 to 244, where getextrema() says 500 to 2000
# Nothing is raised. So: NumPy for pasting and masks; convert("I") or ("F") before rotate and transform.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (80 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pillow==13.0.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from PIL import Image, ImageStat

DEPTH = np.array([[500, 1000, 1500, 2000]] * 4, np.uint16)
SHORT, METRES = Image.fromarray(DEPTH), Image.fromarray(DEPTH.astype(np.float32) / 1000)
WHOLE, FAR = SHORT.convert("I"), Image.fromarray(np.full((4, 4), 3000, np.uint16))
FAR_METRES = Image.fromarray(np.full((4, 4), 3, np.float32))
LINEAR, CUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC


def row(picture):
    return np.asarray(picture)[1].astype(float).round(2).tolist()


def shifted(picture, how=LINEAR):
    return row(picture.transform((4, 4), Image.Transform.AFFINE, (1, 0, 0.5, 0, 1, 0), how))


def pasted(picture, what, mask=None):
    found = picture.copy()
    found.paste(what, (0, 0, 4, 4), mask)
    return row(found)


def mask(value, mode="L"):
    return Image.new(mode, (4, 4), value)


def turned(picture, how):
    """Are all of its numbers below 256?"""
    return bool(np.asarray(picture.rotate(5, how)).max() < 256)


stat = ImageStat.Stat(SHORT)
SEEN = [
    ("shifted, I", shifted(WHOLE)[:3], [750.0, 1250.0, 1750.0]),
    ("shifted, I;16, below 256", max(shifted(SHORT)) < 256, True),
    ("shifted cubically, I;16, below 256", max(shifted(SHORT, CUBIC)) < 256, True),
    ("turned by 5 degrees, I;16, below 256", [turned(SHORT, LINEAR), turned(SHORT, CUBIC)], [True, True]),
    ("turned by 5 degrees, I, below 256", turned(WHOLE, LINEAR), False),
    ("made smaller", [row(one.resize((2, 4), LINEAR)) for one in (SHORT, WHOLE)], [[857.0, 1643.0]] * 2),
    ("pasted 1500, 40000, 256", [pasted(SHORT, value)[0] for value in (1500, 40000, 256)], [56540.0, 16448.0, 0.0]),
    ("pasted 1500, I", pasted(WHOLE, 1500), [1500.0] * 4),
    ("pasted 3000, mask of 255", pasted(SHORT, FAR, mask(255)), [3000.0, 3000.0, 1500.0, 2000.0]),
    ("pasted 3000, no mask", pasted(SHORT, FAR), [3000.0] * 4),
    ("pasted 1500, mask of mode 1", pasted(SHORT, 1500, mask(1, "1")), [56540.0, 56540.0, 1500.0, 2000.0]),
    ("composite", row(Image.composite(FAR, SHORT, mask(255))), [3000.0, 3000.0, 1500.0, 2000.0]),
    ("pasted 3 m, mask of 128, F", pasted(METRES, FAR_METRES, mask(128)), [2.5, 3.5, 4.0, 2.5]),
    ("pasted 3 m, mask of 255, F", pasted(METRES, FAR_METRES, mask(255)), [3.0] * 4),
    ("composite, mask of 128, F", row(Image.composite(METRES, FAR_METRES, mask(128))), [0.62, 0.88, 1.0, 2.5]),
    ("mean, extrema by ImageStat", (stat.mean, stat.extrema), ([120.0], [(1, 244)])),
    ("getextrema", SHORT.getextrema(), (500, 2000)),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
