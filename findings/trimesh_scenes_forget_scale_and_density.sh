#!/usr/bin/env bash
# Masses and moments of inertia for a robot's description from meshes, with trimesh.
#
# Guess: a scene's volume, area, centre of mass and inertia are those of what it shows ("every instanced geometry"), as its bounds are; a mesh's
# density goes along when it is joined, split or refined, as it does when it is copied, moved or made larger.
# Seen with trimesh 5.2.0, numpy 2.4.6, scipy 1.17.1 (PyPI; Python 3.11, x86-64), a cube of 1 m beside one that its node makes twice as large:
#   scene.bounds                          right
#   volume, area                          2 and 12 (to_mesh() and by hand: 9 and 30): the node's scale is left out
#   center_mass                           0.5 m; 0.11 m in to_mesh()
#   moment_inertia                        0.21 0.47 0.47; 5.5 6.39 6.39 in to_mesh()
#   nodes without a scale                 all of them right
#   a mesh of density 7: copy(),          7, and 56
#   scaled by two
#   a + b, concatenate, split, submesh,   density 1: two cubes weigh 2 instead of 14
#   convex_hull, subdivide
#
# Nothing is raised or logged; meshes in millimetres that a description scales by 0.001 are just that. So: `to_mesh()` first, and set the density
# last.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (220 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'trimesh==5.2.0' 'numpy==2.4.6' 'scipy==1.17.1' 'networkx==3.6.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import trimesh
from trimesh.transformations import scale_matrix, translation_matrix


def rounded(values, digits=2):
    return np.round(values, digits).tolist()


def scene_of(*transforms):
    scene = trimesh.Scene()
    for i, transform in enumerate(transforms):
        scene.add_geometry(trimesh.creation.box((1, 1, 1)), transform=transform, node_name=str(i))
    return scene


def by_scene_and_mesh(scene, what):
    return what(scene), what(scene.to_mesh())


# Cubes of sides 1 and 2, the smaller one moved by 1: mass 1 at 1 and 8 at 0, each with inertia m a^2 / 6.
middle = 1 / 9
by_hand = [1 / 6 + 8 * 4 / 6] + [1 / 6 + 8 * 4 / 6 + (1 - middle) ** 2 + 8 * middle**2] * 2
mixed, plain = scene_of(translation_matrix([1, 0, 0]), scale_matrix(2)), scene_of(np.eye(4), translation_matrix([5, 0, 0]))
heavy = trimesh.creation.box((1, 1, 1))
heavy.density = 7.0
beside = heavy.copy().apply_translation([3, 0, 0])
joined = trimesh.util.concatenate([heavy, beside])
SEEN = [
    ("bounds", mixed.bounds.tolist(), [[-1.0, -1.0, -1.0], [1.5, 1.0, 1.0]]),
    ("volume of scene, of mesh", by_scene_and_mesh(mixed, lambda one: round(float(one.volume), 6)), (2.0, 9.0)),
    ("area", by_scene_and_mesh(mixed, lambda one: round(float(one.area), 6)), (12.0, 30.0)),
    ("center_mass", by_scene_and_mesh(mixed, lambda one: rounded(one.center_mass[0])), (0.5, 0.11)),
    ("moment_inertia", by_scene_and_mesh(mixed, lambda one: rounded(np.diag(one.moment_inertia))), ([0.21, 0.47, 0.47], rounded(by_hand))),
    ("without a scale, the same", bool(np.allclose(*by_scene_and_mesh(plain, lambda one: one.moment_inertia))), True),
    ("density 7: copied, twice as large", [round(float(one.mass), 6) for one in (heavy.copy(), heavy.copy().apply_scale(2))], [7.0, 56.0]),
    ("a + b, concatenate", [round(float(one.mass), 6) for one in (heavy + beside, joined)], [2.0, 2.0]),
    ("split, submesh, hull, subdivide", [round(float(one.mass), 6) for one in (joined.split()[0], heavy.submesh([range(12)], append=True), heavy.convex_hull, heavy.subdivide())], [1.0] * 4),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:38}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
