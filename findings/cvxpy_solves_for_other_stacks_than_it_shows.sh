#!/usr/bin/env bash
# Plans of several robots as one array of three axes in CVXPY (robot, step, axis), joined by `hstack` as in NumPy.
#
# Guess: what the solver holds to be `hstack([a, b])` is what the expression's `value` shows, which is NumPy's.
# Seen with cvxpy 1.9.3 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), plans of 2 robots, 2 steps and 3 axes, the second one is the first plus 100:
#   hstack, `value` of the expression             as in NumPy
#   hstack, what another variable that is         other numbers in other places, up to 99 off; "optimal" by each solver, by both backends that
#   brought to it becomes                         take three axes
#   concatenate(axis=1), vstack, hstack of        right
#   arrays of two axes
#   plan nearest to 0, 10, ... 110, first half    0 -50 20 30 -50 50 50 -50 ...: numbers that need not move are at -50, since the limit acts
#   of the stack at most 50                       on the other half; by concatenate 0 10 20 30 40 50 50 50 ...
# Nothing is raised, and `violation()` is 0, as it goes by the value that is shown. So: `concatenate(..., axis=1)` for arrays of more than two axes.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (330 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'cvxpy==1.9.3' 'numpy==2.4.6' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings

import cvxpy
import numpy as np

warnings.filterwarnings("ignore")
ROBOTS, STEPS, AXES = 2, 2, 3
PLANS = np.arange(float(ROBOTS * STEPS * AXES)).reshape(ROBOTS, STEPS, AXES)


def solved(join, plan=PLANS, solver="CLARABEL", **how):
    """How far the joined plan is from NumPy's, how far the expression's own value is, and the solver's word."""
    plans, right = cvxpy.Variable(plan.shape), join(np, plan)
    joined, expression = cvxpy.Variable(right.shape), join(cvxpy, plans)
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(joined - expression)), [plans == plan])
    problem.solve(solver=solver, **how)
    return round(float(np.abs(joined.value - right).max()), 2), round(float(np.abs(expression.value - right).max()), 2), problem.status


def hstack(library, plans):
    return library.hstack([plans, 100 + plans])


def concatenate(library, plans):
    return library.concatenate([plans, 100 + plans], axis=1)


def vstack(library, plans):
    return library.vstack([plans, 100 + plans])


def limited(join):
    """The plan nearest to 0, 10, ... 110 where the first half of the stack is at most 50, its status and violation."""
    plans = cvxpy.Variable(PLANS.shape)
    limit = join(cvxpy, plans)[:, :STEPS] <= 50
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(plans - 10 * PLANS)), [limit])
    problem.solve(solver="CLARABEL")
    return [round(one) for one in plans.value.ravel()[:8]], problem.status, round(float(limit.violation().max()), 2)


same = (0.0, 0.0, "optimal")
SEEN = [
    ("hstack: off, shown off, status", solved(hstack), (99.0, 0.0, "optimal")),
    ("the same by OSQP", solved(hstack, solver="OSQP"), (99.0, 0.0, "optimal")),
    ("the same by the other backend", solved(hstack, canon_backend="SCIPY"), (99.0, 0.0, "optimal")),
    ("concatenate, axis=1", solved(concatenate), same),
    ("vstack", solved(vstack), same),
    ("hstack of arrays of two axes", solved(hstack, PLANS[0]), same),
    ("at most 50, hstack", limited(hstack), ([0, -50, 20, 30, -50, 50, 50, -50], "optimal", 0.0)),
    ("at most 50, concatenate", limited(concatenate), ([0, 10, 20, 30, 40, 50, 50, 50], "optimal", 0.0)),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
