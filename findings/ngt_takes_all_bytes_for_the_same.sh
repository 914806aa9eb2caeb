#!/usr/bin/env bash
# Nearest neighbours among one-byte and half-precision embeddings with NGT (ngtpy): which distances work for which types.
#
# Guess: what `create` takes is right for its type: the neighbours by hand, down to rounding; `get_object` gives what was put in.
# Seen with ngt 2.8.0.post1, judged by numpy 2.4.6 (PyPI; Python 3.11, x86-64), 1000 vectors of 64, asked for the three nearest of a copy of the 8th:
#   Byte: L1, L2, Angle, Cosine                  7 and two others, as by hand
#   Byte: Normalized Angle, Cosine, L2           0, 1, 2, whatever is asked, all equally far: each number is divided by the length and cut to 0
#   Byte: Inner Product, numbers up to 255       7, 503, 541 (by L2: 7, 503, 901) instead of 7, 12, 440; numbers up to 40: right
#   Float, Float16: all eight                    right
#   Float16: get_object                          its bits read as float32: 0.2 comes back as 0.0018, and only half of the 64 numbers are the vector
#   Inner Product, Float: batch_insert           right
#   the same by insert, one by one, lengths      54, 66, 59, 0, 15 instead of 185, 175, 145, 190, 133: the shortest for the longest
#   that grow
# Nothing is refused or logged. So: Float with the normalised ones, batch_insert for inner products, and a copy of one's own of what is Float16.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (130 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'ngt==2.8.0.post1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import ngtpy
import numpy as np

RANDOM = np.random.default_rng(0)
COUNT, SIZE = 1000, 64
BYTES = RANDOM.integers(0, 256, (COUNT, SIZE)).astype("u1")
ASKED = np.clip(BYTES[7].astype(int) + RANDOM.integers(-5, 6, SIZE), 0, 255)
SMALL, ASKED_SMALL = RANDOM.integers(0, 40, (COUNT, SIZE)).astype("u1"), RANDOM.integers(0, 40, SIZE)
GROWING = RANDOM.normal(size=(200, SIZE)) * np.linspace(0.1, 1, 200)[:, None]
TURNED = RANDOM.normal(size=SIZE)


def index(vectors, distance, kind, at_once=True):
    path = f"{distance}-{kind}-{len(vectors)}-{at_once}"
    ngtpy.create(path, SIZE, distance_type=distance, object_type=kind)
    made = ngtpy.Index(path, log_disabled=True)
    if at_once:
        made.batch_insert(vectors, num_threads=1)
    else:
        for vector in vectors:
            made.insert(vector)
        made.build_index()
    return made


def by_hand(vectors, asked, distance):
    vectors, asked = np.array(vectors, float), np.array(asked, float)
    if distance.startswith("Normalized") or distance in ("Angle", "Cosine"):
        vectors, asked = vectors / np.linalg.norm(vectors, axis=1, keepdims=True), asked / np.linalg.norm(asked)
    far = {"L1": np.abs(vectors - asked).sum(1), "L2": ((vectors - asked) ** 2).sum(1)}
    return np.argsort(far.get(distance.removeprefix("Normalized "), -vectors @ asked), kind="stable")


def right(distance, kind):
    """Whether the three nearest are those by hand, and what they are."""
    scale = 256 if kind == "Float16" else 1
    vectors = BYTES if kind == "Byte" else (BYTES / scale).astype("f4")
    found = [one for one, _ in index(vectors, distance, kind).linear_search(ASKED / scale, 3)]
    return found == by_hand(vectors, ASKED / scale, distance)[:3].tolist()


def nearest(made, asked, count=3):
    return [one for one, _ in made.linear_search(asked, count)]


PLAIN = ("L1", "L2", "Angle", "Cosine")
NORMALISED = ("Normalized Angle", "Normalized Cosine", "Normalized L2")
ALL = (*PLAIN, *NORMALISED, "Inner Product")
HALF, BACK = (BYTES / 256).astype("f2"), index((BYTES / 256).astype("f4"), "L2", "Float16").get_object(7)
ONE_BY_ONE = index(GROWING, "Inner Product", "Float", at_once=False)
SEEN = [
    ("Float", [right(one, "Float") for one in ALL], [True] * 8),
    ("Float16", [right(one, "Float16") for one in ALL], [True] * 8),
    ("Byte, plain", [right(one, "Byte") for one in PLAIN], [True] * 4),
    ("Byte, normalised", [nearest(index(BYTES[:500], one, "Byte"), ASKED) for one in NORMALISED], [[0, 1, 2]] * 3),
    ("how far", len({far for _, far in index(BYTES[:400], "Normalized L2", "Byte").linear_search(ASKED, 400)}), 1),
    ("Byte, inner product", nearest(index(BYTES, "Inner Product", "Byte"), ASKED), [7, 503, 541]),
    ("by L2, by hand", by_hand(BYTES, ASKED, "L2")[:3].tolist(), [7, 503, 901]),
    ("by hand", by_hand(BYTES, ASKED, "Inner Product")[:3].tolist(), [7, 12, 440]),
    ("numbers up to 40", nearest(index(SMALL, "Inner Product", "Byte"), ASKED_SMALL), by_hand(SMALL, ASKED_SMALL, "Inner Product")[:3].tolist()),
    ("Float16, get_object: bits as float32", bool(np.array_equal(BACK[:32], HALF[7].view("f4"))), True),
    ("batch_insert", nearest(index(GROWING, "Inner Product", "Float"), TURNED) == by_hand(GROWING, TURNED, "Inner Product")[:3].tolist(), True),
    ("the five by insert", nearest(ONE_BY_ONE, TURNED, 5), [54, 66, 59, 0, 15]),
    ("by hand", by_hand(GROWING, TURNED, "Inner Product")[:5].tolist(), [185, 175, 145, 190, 133]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
