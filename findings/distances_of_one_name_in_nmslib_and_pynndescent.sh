#!/usr/bin/env bash
# Nearest neighbours with NMSLIB and PyNNDescent: what a distance of one name is.
#
# Guess: `l2` is the same number whichever method looks for it, so that a threshold can be kept; `dot` ranks by the inner product.
# Seen with nmslib 2.1.2, pynndescent 0.7.0 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), 1000 vectors of 16 numbers and lengths that differ:
#   nmslib, l2, method hnsw                        the square of the distance
#   nmslib, l2, method brute_force and sw-graph    the distance
#   nmslib, cosinesimil, negdotprod                the same number in all three
#   pynndescent, dot                               the cosine's distance, and so its neighbours: of the ten greatest inner products it finds
#                                                  three on the mean, in vectors whose lengths say something
#   pynndescent, inner_product                     what `dot` was taken for; its docstring lists `dot` and not this one
#   pynndescent, euclidean and sqeuclidean         the distance and its square
#
# Nothing is raised or logged. So: compare one answer with NumPy's before a threshold is set, or a method changed.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (600 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'nmslib==2.1.2' 'pynndescent==0.7.0' 'numpy==2.4.6' 'numba==0.68.1' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import contextlib
import io
import sys

import nmslib
import numpy as np
from pynndescent import NNDescent

K = 10
RANDOM = np.random.default_rng(0)
STORED = (RANDOM.normal(size=(1000, 16)) * RANDOM.uniform(0.2, 5.0, (1000, 1))).astype(np.float32)
ASKED = RANDOM.normal(size=(20, 16)).astype(np.float32)
APART = np.linalg.norm(ASKED[:, None] - STORED, axis=2)
INNER = ASKED @ STORED.T
COSINE = 1 - INNER / np.linalg.norm(ASKED, axis=1)[:, None] / np.linalg.norm(STORED, axis=1)


def by_nmslib(space, method):
    index = nmslib.init(method=method, space=space)
    index.addDataPointBatch(STORED)
    with contextlib.redirect_stdout(io.StringIO()):
        index.createIndex()
    return index.knnQueryBatch(ASKED, K)


def by_pynndescent(metric):
    return list(zip(*NNDescent(STORED, metric=metric, random_state=0).query(ASKED, K, epsilon=0.5), strict=True))


def are(answers, truth):
    """Whether each number is what `truth` says of its vector."""
    return all(np.allclose(numbers, truth[i][places], atol=1e-3, rtol=1e-3) for i, (places, numbers) in enumerate(answers))


def share(answers, truth):
    """Share of the K least by `truth` that were found."""
    return np.mean([len({*places} & {*np.argsort(truth[i])[:K]}) / K for i, (places, _) in enumerate(answers)])


METHODS = ("hnsw", "brute_force", "sw-graph")
dot, inner = by_pynndescent("dot"), by_pynndescent("inner_product")
SEEN = [
    ("nmslib l2 is the distance", [are(by_nmslib("l2", one), APART) for one in METHODS], [False, True, True]),
    ("nmslib l2 is its square", [are(by_nmslib("l2", one), APART**2) for one in METHODS], [True, False, False]),
    ("nmslib cosinesimil", [are(by_nmslib("cosinesimil", one), COSINE) for one in METHODS], [True] * 3),
    ("nmslib negdotprod", [are(by_nmslib("negdotprod", one), -INNER) for one in METHODS], [True] * 3),
    ("pynndescent dot is the cosine's distance", are(dot, COSINE), True),
    ("of the nearest by cosine, by inner product", [bool(share(dot, COSINE) > 0.95), bool(share(dot, -INNER) < 0.5)], [True, True]),
    ("pynndescent inner_product", [are(inner, -INNER), bool(share(inner, -INNER) > 0.95)], [True, True]),
    ("pynndescent euclidean, sqeuclidean", [are(by_pynndescent("euclidean"), APART), are(by_pynndescent("sqeuclidean"), APART**2)], [True, True]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:46}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
