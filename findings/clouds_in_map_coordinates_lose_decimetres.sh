#!/usr/bin/env bash
# Point clouds and meshes in UTM coordinates, written to files by Python's libraries.
#
# Guess: coordinates that are float64 in memory are float64 in a PLY file, which has a type for them, or something is said.
# Seen with trimesh 5.2.0, meshio 5.3.5, pye57 0.4.19 (PyPI; Python 3.11, x86-64), a place at 465123.123, 5247000.456, read back:
#   trimesh to PLY (cloud or mesh)     float32: the northing is off by 0.2 m, and in steps of half a metre; the easting by 15 mm
#   trimesh to GLB, STL                the same (these formats have nothing else)
#   trimesh to OBJ, OFF, XYZ           right: they are text
#   meshio to PLY                      right: `property double`
#   pye57 to E57                       float32, as trimesh; a colour of 300 is 44
#   trimesh, three points 0.1 m apart  are at one place in the file
#
# So: subtract an origin before writing and keep it beside the file.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (100 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'trimesh==5.2.0' 'meshio==5.3.5' 'pye57==0.4.19' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import meshio
import numpy as np
import pye57
import trimesh

UTM = np.array([[465123.123, 5247000.456, 408.789], [465124.234, 5247001.567, 409.001], [465125.1, 5247003.2, 410.0]])


def read_back(what, kind):
    """Greatest error of each coordinate after a trip through a file [m], two digits."""
    data = what.export(file_type=kind)
    stream = trimesh.util.wrap_as_stream(data)
    found = trimesh.load(stream, file_type=kind, process=False)
    if isinstance(found, trimesh.Scene):
        (found,) = found.geometry.values()
    return np.abs(np.asarray(found.vertices) - UTM).max(axis=0).round(3).tolist()


def by_meshio():
    meshio.Mesh(UTM, [("triangle", [[0, 1, 2]])]).write("mesh.ply")
    return np.abs(meshio.read("mesh.ply").points - UTM).max(axis=0).round(3).tolist()


def by_pye57():
    """Error of the places [m], and what colours became."""
    scan = dict(zip(("cartesianX", "cartesianY", "cartesianZ"), UTM.T)) | dict.fromkeys(("colorRed", "colorGreen", "colorBlue"), np.array([0, 128, 300]))
    file = pye57.E57("scan.e57", mode="w")
    file.write_scan_raw(scan)
    file.close()
    found = pye57.E57("scan.e57").read_scan_raw(0)
    places = np.column_stack([found[name] for name in ("cartesianX", "cartesianY", "cartesianZ")])
    return np.abs(places - UTM).max(axis=0).round(3).tolist(), found["colorRed"].tolist()


cloud, mesh = trimesh.PointCloud(UTM), trimesh.Trimesh(UTM, [[0, 1, 2]], process=False)
near = trimesh.PointCloud(np.array([[0, 5247000.1, 0], [0, 5247000.2, 0], [0, 5247000.0, 0]]))
told_apart = trimesh.load(trimesh.util.wrap_as_stream(near.export(file_type="ply")), file_type="ply")
OFF, RIGHT = [0.015, 0.2, 0.0], [0.0, 0.0, 0.0]
SEEN = [
    ("trimesh, cloud, PLY", read_back(cloud, "ply"), OFF),
    ("trimesh, mesh, PLY", read_back(mesh, "ply"), OFF),
    ("trimesh, mesh, GLB", read_back(mesh, "glb"), OFF),
    ("trimesh, mesh, STL", read_back(mesh, "stl"), OFF),
    ("trimesh, mesh, OBJ", read_back(mesh, "obj"), RIGHT),
    ("trimesh, mesh, OFF", read_back(mesh, "off"), RIGHT),
    ("trimesh, cloud, XYZ", read_back(cloud, "xyz"), RIGHT),
    ("meshio, PLY", by_meshio(), RIGHT),
    ("pye57, E57: places, colours", by_pye57(), (OFF, [0, 128, 44])),
    ("trimesh: different places of three 0.1 m apart", len({tuple(one) for one in told_apart.vertices.tolist()}), 1),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:50}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
