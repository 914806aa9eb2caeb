#!/usr/bin/env bash
# Ways of a drone through a grid of costs with dijkstra3d (from both ends, and its distances) and with pathfinding3d's Theta*.
#
# Guess: a search from both ends finds a way as cheap as one from one end; Theta* cuts corners where that is not dearer; `euclidean_distance_field` of
# free space is the Euclidean distance.
# Seen with dijkstra3d 1.15.2, pathfinding3d 0.7.2, judged by scipy 1.17.1 (PyPI; Python 3.11, x86-64):
#   dijkstra3d.dijkstra, 100 grids of 6 x 6 x   always the cheapest
#   6 with costs 1, 2, 5, 200
#   bidirectional=True, 6, 18, 26 neighbours    in 3, 4 and 6 of them dearer, by up to 5, 10 and 14 percent
#   euclidean_distance_field, 20 x 20 x 20, all free, from a corner: up to 2.8
#                                               too far, where the farthest is 33 (a way along 26 directions)
#   pathfinding3d, A*, a wall of 50 in a plain  round the wall through its gap
#   of 1
#   Theta*, the same                            straight through the wall: it has looked only whether cells can be entered
#   Theta*, a wall that is closed (0)           through the gap
# Nothing is raised or logged. So: one end, and SciPy's distance_transform_edt for distances in free space; Theta* for free and closed cells only.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (260 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'dijkstra3d==1.15.2' 'pathfinding3d==0.7.2' 'numpy==2.4.6' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import dijkstra3d
import numpy as np
from pathfinding3d.core.diagonal_movement import DiagonalMovement
from pathfinding3d.core.grid import Grid
from pathfinding3d.finder.a_star import AStarFinder
from pathfinding3d.finder.theta_star import ThetaStarFinder
from scipy.sparse import lil_array
from scipy.sparse.csgraph import dijkstra

SIDE, COUNT = 6, 100
STEPS = [step for step in np.ndindex(3, 3, 3) if step != (1, 1, 1)]
END = (SIDE - 1,) * 3


def cheapest(costs, neighbours):
    axes = {6: 1, 18: 2, 26: 3}[neighbours]
    graph = lil_array((costs.size, costs.size))
    for cell in np.ndindex(costs.shape):
        for step in STEPS:
            other = tuple(np.array(cell) + step - 1)
            if np.abs(np.array(step) - 1).sum() <= axes and min(other) >= 0 and max(other) < SIDE:
                graph[np.ravel_multi_index(cell, costs.shape), np.ravel_multi_index(other, costs.shape)] = costs[other]
    return dijkstra(graph.tocsr(), indices=0)[-1]


def dearer(neighbours, both):
    """In how many grids the way is dearer than the cheapest, and by what factor at most."""
    random, factors = np.random.default_rng(0), []
    for _ in range(COUNT):
        costs = random.choice([1, 2, 5, 200], (SIDE,) * 3).astype(np.float32)
        way = dijkstra3d.dijkstra(costs, (0, 0, 0), END, bidirectional=both, connectivity=neighbours)
        factors.append(sum(float(costs[tuple(cell)]) for cell in way[1:]) / cheapest(costs, neighbours))
    return int(np.sum(np.array(factors) > 1 + 1e-6)), round(float(max(factors)), 2)


def too_far():
    field = dijkstra3d.euclidean_distance_field(np.ones((20, 20, 20), np.uint8), (0, 0, 0))
    right = np.linalg.norm(np.indices(field.shape), axis=0)
    return round(float((field - right).max()), 1), round(float(right.max()))


def through(finder, wall):
    """How many cells of the wall are on the straight lines of the way, in a plain of 8 x 8 with a gap in the wall."""
    plain = np.ones((8, 8, 1))
    plain[3:5, 0:7, 0] = wall
    grid = Grid(matrix=plain.tolist())
    way, _ = finder(diagonal_movement=DiagonalMovement.always).find_path(grid.node(0, 0, 0), grid.node(7, 0, 0), grid)
    places = np.array([node.identifier[:2] for node in way], float)
    lines = np.concatenate([np.linspace(a, b, 50) for a, b in zip(places, places[1:])])
    cells = {tuple(cell) for cell in np.floor(lines + 0.5).astype(int).tolist()}
    return sum(3 <= x < 5 and y < 6 for x, y in cells)


SEEN = [
    ("from one end, 6, 18, 26 neighbours", [dearer(one, False) for one in (6, 18, 26)], [(0, 1.0)] * 3),
    ("from both ends, 6, 18, 26", [dearer(one, True) for one in (6, 18, 26)], [(3, 1.05), (4, 1.1), (6, 1.14)]),
    ("distance field: too far by, of", too_far(), (2.8, 33)),
    ("A*: cells of the wall, 1, 50, closed", [through(AStarFinder, one) for one in (1, 50, 0)], [2, 0, 0]),
    ("Theta*", [through(ThetaStarFinder, one) for one in (1, 50, 0)], [2, 2, 0]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:40}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
