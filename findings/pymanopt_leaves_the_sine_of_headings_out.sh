#!/usr/bin/env bash
# Headings as complex numbers of length 1, with pymanopt: `ComplexCircle`, its exponential and its distance; directions on its `Sphere`.
#
# Guess: exp(z, log(z, y)) is y; a heading lies 0 from itself; distances down to a millionth of a degree are right, as those of a circle are.
# Seen with pymanopt 2.2.1, judged by numpy 2.4.6 (PyPI; Python 3.11, x86-64):
#   exp, heading 30, turned by 60 degrees        heading 0: (0 + 0i), a number of no length (right: 90, i)
#   90, turned by 10                             180: -0.17 (right: 100, -0.17 + 0.98i)
#   exp(z, log(z, y)) for 1000 pairs             the real part of y, in every one; NumPy warns that something complex is made real
#   retraction, 30 by 60                         76.3, of length 1: a retraction need not be the exponential
#   dist(z, z)                                   NaN for one heading in 25; of a hundred headings at once always
#   Sphere: dist of 1e-7, 1e-8 rad               0.04 % off, 0; log(x, y) then has length 0 too
# So: np.exp(1j * (angle + turn)), and np.angle of a quotient for the distance.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (280 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pymanopt==2.2.1' 'numpy==2.4.6' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings

import numpy as np
from pymanopt.manifolds import ComplexCircle, Sphere

warnings.simplefilter("ignore")
CIRCLE, SPHERE, X = ComplexCircle(1), Sphere(3), np.array([1.0, 0.0, 0.0])
RANDOM = np.random.default_rng(0)


def heading(degrees):
    return np.exp(1j * np.radians(np.atleast_1d(degrees)))


def turned(degrees, by):
    """What exp gives of a heading that turns, and what is right."""
    found = CIRCLE.exp(heading(degrees), 1j * heading(degrees) * np.radians(by))
    return [complex(np.round(one[0], 2) + 0.0) for one in (found, heading(degrees + by))]


def back(start, end):
    return CIRCLE.exp(start, CIRCLE.log(start, end))


def near(angle):
    other = np.array([np.cos(angle), np.sin(angle), 0.0])
    return [round(float(one / angle), 4) for one in (SPHERE.dist(X, other), SPHERE.norm(X, SPHERE.log(X, other)))]


def warned():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        turned(30, 60)
    return [one.category.__name__ for one in seen]


PAIRS = [(heading(a), heading(b)) for a, b in RANDOM.uniform(-180, 180, (1000, 2))]
FOUND = [back(*pair)[0] for pair in PAIRS]
MANY = heading(np.linspace(-170, 170, 100))
SEEN = [
    ("30 by 60", turned(30, 60), [0j, 1j]),
    ("90 by 10", turned(90, 10), [-0.17 + 0j, -0.17 + 0.98j]),
    ("warned", warned(), ["ComplexWarning"]),
    ("there and back: right", int(sum(abs(one - pair[1][0]) < 1e-6 for one, pair in zip(FOUND, PAIRS, strict=True))), 0),
    ("the real part is", all(abs(one - pair[1][0].real) < 1e-9 for one, pair in zip(FOUND, PAIRS, strict=True)), True),
    ("log alone", all(abs(abs(CIRCLE.log(*pair)[0]) - abs(np.angle(pair[1] / pair[0])[0])) < 1e-6 for pair in PAIRS), True),
    ("retraction of 30 by 60", round(float(np.degrees(np.angle(CIRCLE.retraction(heading(30), 1j * heading(30) * np.pi / 3)))[0]), 1), 76.3),
    ("NaN from themselves, of 1000: 10 to 100", bool(10 < sum(np.isnan(CIRCLE.dist(one, one)) for one, _ in PAIRS) < 100), True),
    ("a hundred at once", bool(np.isnan(ComplexCircle(100).dist(MANY, MANY))), True),
    ("Sphere, 1e-3 rad: dist, log", near(1e-3), [1.0, 1.0]),
    ("1e-7", near(1e-7), [0.9996, 0.9996]),
    ("1e-8", near(1e-8), [0.0, 0.0]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
