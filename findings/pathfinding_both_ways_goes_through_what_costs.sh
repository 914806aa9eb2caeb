#!/usr/bin/env bash
# Routes over a grid with costs in pathfinding (`Grid(matrix=...)`, a number above 1 costs more): A*, Dijkstra and bidirectional A*.
#
# Guess: BiAStarFinder finds a route as cheap as A*'s, only sooner; where it cannot, it says so.
# Seen with pathfinding 1.0.23 and numpy 2.4.6, judged by scipy 1.17.1 (PyPI; Python 3.11, x86-64):
#   three columns, the middle one of 9, 9 and 1     A*, Dijkstra: down and round, 7 (as it counts, each cell by its number); BiAStar: straight
#                                                   through the 9
#   200 grids of 8 x 8 with costs 1, 2, 5           A* and Dijkstra always cheapest; BiAStar in two of them, else up to 2.9 times dearer
#   costs 1 and 50                                  up to 23 times dearer
#   walls only, diagonal moves allowed              in 17 longer than the shortest, by up to an eighth
#   walls only, straight moves                      always shortest
#
# It stops at the first cell that both searches have seen. Nothing is raised or logged. So: AStarFinder wherever cells differ in cost or robots go
# diagonally.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (190 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pathfinding==1.0.23' 'numpy==2.4.6' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from pathfinding.core.diagonal_movement import DiagonalMovement
from pathfinding.core.grid import Grid
from pathfinding.finder.a_star import AStarFinder
from pathfinding.finder.bi_a_star import BiAStarFinder
from pathfinding.finder.dijkstra import DijkstraFinder
from scipy.sparse import lil_array
from scipy.sparse.csgraph import dijkstra

STRAIGHT, DIAGONAL = DiagonalMovement.never, DiagonalMovement.always
STEPS = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy]


def path(finder, costs, start, end, how=STRAIGHT):
    grid = Grid(matrix=costs)
    return [(node.x, node.y) for node in finder(diagonal_movement=how).find_path(grid.node(*start), grid.node(*end), grid)[0]]


def price(costs, way):
    return sum(costs[b[1]][b[0]] * np.hypot(b[0] - a[0], b[1] - a[1]) for a, b in zip(way, way[1:]))


def cheapest(costs, how):
    size = len(costs)
    graph = lil_array((size * size, size * size))
    for x in range(size):
        for y in range(size):
            for dx, dy in STEPS:
                if (how is DIAGONAL or not (dx and dy)) and 0 <= x + dx < size and 0 <= y + dy < size and costs[y][x] and costs[y + dy][x + dx]:
                    graph[y * size + x, (y + dy) * size + x + dx] = costs[y + dy][x + dx] * np.hypot(dx, dy)
    return dijkstra(graph.tocsr(), indices=0)[-1]


def dearer(finder, values, how):
    """In how many of 200 grids the route is dearer than the cheapest, and by what factor at most."""
    random, factors = np.random.default_rng(0), []
    for _ in range(200):
        costs = random.choice(values, (8, 8)).tolist()
        costs[0][0] = costs[7][7] = 1
        way, best = path(finder, costs, (0, 0), (7, 7), how), cheapest(costs, how)
        if np.isfinite(best):
            factors.append(price(costs, way) / best)
    return int(np.sum(np.array(factors) > 1 + 1e-9)), round(float(max(factors)), 2)


WALL = [[1, 9, 1], [1, 9, 1], [1, 1, 1]]
ROUND = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0)]
SEEN = [
    ("A*, Dijkstra", [path(one, WALL, (0, 0), (2, 0)) == ROUND for one in (AStarFinder, DijkstraFinder)], [True, True]),
    ("BiAStar", path(BiAStarFinder, WALL, (0, 0), (2, 0)), [(0, 0), (1, 0), (2, 0)]),
    ("A*, Dijkstra, costs 1 2 5", [dearer(one, [1, 2, 5], STRAIGHT)[0] for one in (AStarFinder, DijkstraFinder)], [0, 0]),
    ("BiAStar, costs 1 2 5", dearer(BiAStarFinder, [1, 2, 5], STRAIGHT), (198, 2.89)),
    ("BiAStar, costs 1 50", dearer(BiAStarFinder, [1, 50], STRAIGHT), (197, 22.56)),
    ("A*, walls, diagonal", dearer(AStarFinder, [0, 1, 1, 1], DIAGONAL)[0], 0),
    ("BiAStar, walls, diagonal", dearer(BiAStarFinder, [0, 1, 1, 1], DIAGONAL), (17, 1.13)),
    ("BiAStar, walls, straight", dearer(BiAStarFinder, [0, 1, 1, 1], STRAIGHT)[0], 0),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:30}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
