#!/usr/bin/env bash
# Depth pictures through lossy compressors of arrays: zfp (by zfpy, numcodecs, Blosc2, imagecodecs), lossy JPEG XL, and numcodecs' Delta.
#
# Guess: a missing pixel (NaN or infinity) stays, or is refused; every other pixel keeps within the tolerance that is asked for.
# Seen with zfpy 1.0.1, numcodecs 0.16.6, blosc2 4.14.1, imagecodecs 2026.3.6 (PyPI; Python 3.11, x86-64), 16 x 16 float32 from 2 to 3 m:
#   zfp, tolerance 0.001, one NaN        -8 m (8 m by precision or rate): a distance like any other; the rest within the tolerance
#   one infinity                         -2 m, and the 15 pixels beside it (its block of 4 x 4) are off by up to 5 m
#   one pixel of 1e10 (a sensor's mark)  stays; the 15 beside it are 0, though the tolerance is a bound of the error and all numbers are
#                                        finite
#   all four packages                    the same
#   JPEG XL, lossy, one NaN              it is -1e15, and more than a hundred others are off by more than 0.02
#   Delta("f4"), which loses nothing by  after a NaN every pixel to the end is NaN; after one of 1e10 they are off by metres
#   its description
#   SZ3, BitRound, Quantize (imagecodecs, numcodecs)   NaN and infinity stay, the rest as promised
# Nothing is raised or logged. zfp's own questions and answers say that it does not take NaN; the packages do not. Put a number within the
# range of the rest in the place of what is missing, and a mask beside it.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (240 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'zfpy==1.0.1' 'numcodecs==0.16.6' 'blosc2==4.14.1' 'imagecodecs==2026.3.6' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import blosc2
import imagecodecs
import numcodecs
import numpy as np
import zfpy
from numcodecs.zfpy import ZFPY

TOLERANCE = 0.001
NAN, INF, MARK = float("nan"), float("inf"), 1e10
SZ3 = imagecodecs.SZ3.MODE.ABS


def by_zfpy(depth, **how):
    return zfpy.decompress_numpy(zfpy.compress_numpy(depth, **(how or {"tolerance": TOLERANCE})))


def by_numcodecs(depth, codec=None):
    codec = codec or ZFPY(mode=4, tolerance=TOLERANCE)
    return codec.decode(codec.encode(depth))


def by_blosc2(depth):
    how = blosc2.CParams(
        codec=blosc2.Codec.ZFP_ACC, codec_meta=-3 & 255, filters=[], splitmode=blosc2.SplitMode.NEVER_SPLIT
    )
    return blosc2.asarray(depth, chunks=(16, 16), blocks=(16, 16), cparams=how)[:]


def by_imagecodecs(depth):
    code = imagecodecs.zfp_encode(depth, mode=imagecodecs.ZFP.MODE.FIXED_ACCURACY, level=TOLERANCE)
    return imagecodecs.zfp_decode(code)


def by_sz3(depth):
    return imagecodecs.sz3_decode(imagecodecs.sz3_encode(depth, SZ3, abs=TOLERANCE), shape=depth.shape, dtype=depth.dtype)


def by_jpegxl(depth):
    return imagecodecs.jpegxl_decode(imagecodecs.jpegxl_encode(depth, lossless=False, distance=0.1))


def seen(pixel, through):
    depth = (2 + np.random.default_rng(0).random((16, 16))).astype(np.float32)
    depth[5, 6] = pixel
    back = through(depth).reshape(16, 16)
    with np.errstate(invalid="ignore"):
        off = np.delete(np.abs(back - depth).ravel(), 5 * 16 + 6)
    return f"{back[5, 6]:.0f}", int((~(off <= 0.02)).sum())


ZFP = [by_zfpy, by_numcodecs, by_blosc2, by_imagecodecs]
delta = seen(NAN, lambda depth: by_numcodecs(depth, numcodecs.Delta("f4")))
mark_delta = seen(MARK, lambda depth: by_numcodecs(depth, numcodecs.Delta("f4")))
jpegxl = seen(NAN, by_jpegxl)
others = (by_sz3, lambda d: by_numcodecs(d, numcodecs.BitRound(10)), lambda d: by_numcodecs(d, numcodecs.Quantize(3, "f4")))
SEEN = [
    ("zfp: NaN is then, other pixels off", [seen(NAN, f) for f in ZFP], [("-8", 0)] * 4),
    ("precision=20, rate=16", [seen(NAN, lambda d: by_zfpy(d, precision=20))[0], seen(NAN, lambda d: by_zfpy(d, rate=16))[0]], ["8"] * 2),
    ("infinity", [seen(INF, f) for f in ZFP], [("-2", 15)] * 4),
    ("1e10", [seen(MARK, f) for f in ZFP], [("10000000000", 15)] * 4),
    ("JPEG XL: below -1e14, more than 100 off", [float(jpegxl[0]) < -1e14, jpegxl[1] > 100], [True, True]),
    ("Delta: NaN, others off", delta, ("nan", 169)),
    ("Delta: 1e10, others off", mark_delta, ("10000000000", 169)),
    ("SZ3, BitRound, Quantize: NaN", [seen(NAN, f) for f in others], [("nan", 0)] * 3),
    ("infinity", [seen(INF, f) for f in others], [("inf", 0)] * 3),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:42}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
