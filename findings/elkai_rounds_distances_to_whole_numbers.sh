#!/usr/bin/env bash
# In which order a robot visits its waypoints: elkai, which solves the travelling salesman's problem by LKH, with distances in metres.
#
# Guess: for seven places the tour is the shortest one, whatever the unit; `solve_tsp` says nothing of whole numbers, and floats are taken.
# Seen with elkai 2.0.1 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), 40 times seven places, judged by trying every order:
#   Coordinates2D, places within 1000 m         shortest, always
#   within 10 m, a large room                   up to 1.05 times as long
#   within 1 m, a table                         up to 1.44 times as long
#   DistanceMatrix of floats from these         the same: shortest; 1.05; 1.44
# Distances are brought to whole numbers first, so that on a table all are 0 or 1. Nothing is raised or logged.
# So: hand over millimetres.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (100 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'elkai==2.0.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import itertools
import sys

import elkai
import numpy as np

ORDERS = np.array([(0, *order, 0) for order in itertools.permutations(range(1, 7))])
PLACES = np.random.default_rng(0).uniform(0, 1, (40, 7, 2))


def longer(places, tour):
    """How many times as long as the shortest tour of these places this one is."""
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    shortest = distances[ORDERS[:, :-1], ORDERS[:, 1:]].sum(1).min()
    return distances[tour[:-1], tour[1:]].sum() / shortest


def of_places(places):
    return [int(name) for name in elkai.Coordinates2D({str(i): tuple(one) for i, one in enumerate(places.tolist())}).solve_tsp()]


def of_matrix(places):
    return elkai.DistanceMatrix(np.linalg.norm(places[:, None] - places[None], axis=2).tolist()).solve_tsp()


def worst(solve, scale):
    return round(float(max(longer(places, solve(places * scale)) for places in PLACES)), 2)


SEEN = [
    ("places within 1000 m, 10 m, 1 m", [worst(of_places, scale) for scale in (1000, 10, 1)], [1.0, 1.05, 1.44]),
    ("matrix, 1000, 10, 1", [worst(of_matrix, scale) for scale in (1000, 10, 1)], [1.0, 1.05, 1.44]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:36}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
