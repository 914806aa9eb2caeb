#!/usr/bin/env bash
# Distances and contacts between a robot's links with python-fcl (FCL, under MoveIt and trimesh): a mesh beside spheres, boxes and cylinders.
#
# Guess: `nearest_points` are the first object's and the second's, in world coordinates, whatever their kind; a contact's normal goes from the first
# to the second; two boxes are as far apart as two boxes, also where one is given by its corners.
# Seen with python-fcl 0.7.0.11, trimesh 5.2.0 (PyPI; Python 3.11, x86-64), things of 1 m at x = 10 and x = 13, 2 m between them:
#   box, capsule, cylinder, Convex first, mesh  distance right; nearest points swapped: x = 12.5 of the first, 10.5 of the second
#   second
#   the mesh first                              right
#   sphere and mesh                             distance right; points at x = -0.5 and 0.5: each in its own object's coordinates, and swapped
#   mesh and sphere                             x = 0.5 and -0.5: in their own coordinates
#   contacts of sphere and sphere, sphere and   normal 1 0 0, depth 0.1
#   box, 0.1 m deep
#   of sphere and mesh                          normal -1 0 0, depth -0.1
#   box and Convex (a box's eight corners),     2.449 m, the distance of two corners that do not face each other
#   face to face
#   Convex and Convex, box and box              2 m
# A robot that is moved away along such a vector is moved into the wall. So: the mesh first, no spheres beside meshes, boxes as boxes.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (290 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'python-fcl==0.7.0.11' 'trimesh==5.2.0' 'numpy==2.4.6' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import fcl
import numpy as np
import trimesh

CUBE = trimesh.creation.box((1, 1, 1))


def mesh():
    model = fcl.BVHModel()
    model.beginModel(len(CUBE.vertices), len(CUBE.faces))
    model.addSubModel(CUBE.vertices, CUBE.faces)
    model.endModel()
    return model


def convex():
    faces = np.column_stack([np.full(len(CUBE.faces), 3), CUBE.faces]).ravel()
    return fcl.Convex(CUBE.vertices, len(CUBE.faces), faces)


SHAPES = {
    "sphere": lambda: fcl.Sphere(0.5),
    "box": lambda: fcl.Box(1, 1, 1),
    "capsule": lambda: fcl.Capsule(0.5, 1),
    "cylinder": lambda: fcl.Cylinder(0.5, 1),
    "convex": convex,
    "mesh": mesh,
}


def objects(first, second, apart):
    return [
        fcl.CollisionObject(SHAPES[kind](), fcl.Transform(np.array([x, 0.0, 0.0]))) for kind, x in ((first, 10.0), (second, 10 + apart))
    ]


def distance(first, second):
    """Distance, and x of both nearest points."""
    request, result = fcl.DistanceRequest(enable_nearest_points=True), fcl.DistanceResult()
    found = fcl.distance(*objects(first, second, 3.0), request, result)
    return round(found, 3), *(round(float(point[0]), 3) for point in result.nearest_points)


def contact(first, second):
    """Normal's x and depth of the first contact, 0.1 m deep."""
    request, result = fcl.CollisionRequest(num_max_contacts=100, enable_contact=True), fcl.CollisionResult()
    fcl.collide(*objects(first, second, 0.9), request, result)
    return round(float(result.contacts[0].normal[0])), round(result.contacts[0].penetration_depth, 3)


KINDS = ("box", "capsule", "cylinder", "convex")
SEEN = [
    ("box, box", distance("box", "box"), (2.0, 10.5, 12.5)),
    ("box, capsule, cylinder, convex; mesh", [distance(kind, "mesh") for kind in KINDS], [(2.0, 12.5, 10.5)] * 4),
    ("mesh; box, capsule, cylinder, convex", [distance("mesh", kind) for kind in KINDS], [(2.0, 10.5, 12.5)] * 4),
    ("mesh, mesh", distance("mesh", "mesh"), (2.0, 10.5, 12.5)),
    ("sphere, mesh", distance("sphere", "mesh"), (2.0, -0.5, 0.5)),
    ("mesh, sphere", distance("mesh", "sphere"), (2.0, 0.5, -0.5)),
    ("contact: sphere, sphere", contact("sphere", "sphere"), (1, 0.1)),
    ("contact: sphere, box", contact("sphere", "box"), (1, 0.1)),
    ("contact: sphere, mesh", contact("sphere", "mesh"), (-1, -0.1)),
    ("box, convex", distance("box", "convex"), (2.449, 10.5, 12.5)),
    ("convex, convex", distance("convex", "convex")[0], 2.0),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:38}{found!s:46}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
