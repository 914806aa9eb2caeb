#!/usr/bin/env bash
# A robot's headings in pycircstat2 (circular statistics): whether they have a direction at all (omnibus test), and their median by counts.
#
# Guess: what is asked of headings does not depend on where north is; the median by counts is that of each heading repeated as often.
# Seen with pycircstat2 0.1.15 (PyPI; Python 3.11, x86-64), 40 headings about one direction (von Mises, kappa 2), turned by 0, 45, ... 315 degrees:
#   omnibus_test, about 0 degrees      p = 0.0002: they have a direction
#   about 180 degrees                  p = 0.91: they may be uniform; the fewest on one side are said to be 16 of 40, and are 6
#   12 evenly spread headings          p = 0.0: not uniform at all, though 6 lie on each side; by its formula 5 against 7 is 0.77
#   rayleigh_test                      the same for all eight
#   circ_median, 350, 0, 10 by 1, 2, 1      10; repeated: 0
#   170, 180, 190 by 1, 2, 1           190; repeated: 180
#   170, 180, 190, 185 by 1, 1, 1, 3   172.5; repeated: 185
#   circ_mean                          right for both
# The test counts one side of each line only, of lines of half a turn; where more than half lie there it says p = 0. The median takes headings for the
# edges of a histogram's bins, which its documentation ("frequencies or weights") does not say. So: rayleigh_test; numpy.repeat before circ_median.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (700 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pycircstat2==0.1.15' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from pycircstat2.descriptive import circ_mean, circ_median
from pycircstat2.hypothesis import omnibus_test, rayleigh_test

HEADINGS = np.random.default_rng(0).vonmises(0, 2, 40)
NORTHS = np.radians(np.arange(0, 360, 45))


def turned(north):
    return (HEADINGS + north) % (2 * np.pi)


def fewest(angles):
    """Headings strictly on one side of a line, the fewest of any line that meets none of them."""
    lines = np.linspace(0.0001, 2 * np.pi, 7200)
    return int((np.sin(angles[None] - lines[:, None]) > 0).sum(axis=1).min())


def omnibus(angles):
    said = omnibus_test(angles)
    return round(said.pval, 5), said.m


def by_counts(of, degrees, counts):
    """What it says of headings with counts, and of the headings repeated."""
    angles, counts = np.radians(degrees), np.array(counts)
    both = of(angles, counts), of(np.repeat(angles, counts))
    return tuple(round(float(np.degrees(one)), 1) % 360 for one in both)


EVEN = np.radians(np.arange(12) * 30 + 7.0)
SEEN = [
    ("omnibus, about 0", omnibus(turned(0)), (0.0002, 6)),
    ("about 180", omnibus(turned(np.pi)), (0.91462, 16)),
    ("fewest, counted", sorted({fewest(turned(north)) for north in NORTHS}), [6]),
    ("p for each north", [omnibus(turned(north))[0] for north in NORTHS], [0.0002, 0.0002, 0.0002, 0.03084, 0.91462, 0.00336, 0.0002, 0.0002]),
    ("12 even headings", omnibus(EVEN), (0.0, 6)),
    ("rayleigh, values of p", len({round(rayleigh_test(turned(north)).pval, 9) for north in NORTHS}), 1),
    ("median, 350, 0, 10 by 1, 2, 1", by_counts(circ_median, [350, 0, 10], [1, 2, 1]), (10.0, 0.0)),
    ("170, 180, 190 by 1, 2, 1", by_counts(circ_median, [170, 180, 190], [1, 2, 1]), (190.0, 180.0)),
    ("170, 180, 190, 185 by 1, 1, 1, 3", by_counts(circ_median, [170, 180, 190, 185], [1, 1, 1, 3]), (172.5, 185.0)),
    ("mean, the same", by_counts(circ_mean, [170, 180, 190, 185], [1, 1, 1, 3]), (182.5, 182.5)),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
