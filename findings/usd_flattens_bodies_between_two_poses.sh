#!/usr/bin/env bash
# Recorded poses of a robot in OpenUSD (as simulators read and write it): what lies between two time samples of a transform.
#
# Guess: half way between two rigid poses is a rigid pose.
# Seen with usd-core 26.11 (PyPI; Python 3.11, x86-64), a body that turns about z between frames 0 and 10, at frame 5:
#   xformOp:transform (MakeMatrixXform, AddTransformOp), by 90 degrees     each number of the matrix is the mean: the body has 0.71 of its length
#                                                                          along x and y, half of its area
#   by 180 degrees                                                         a point: its x and y are all 0, the matrix has no inverse
#   xformOp:orient (quaternion), by 90 degrees, of either sign             right: 45 degrees, the shorter way
#   xformOp:rotateZ from 350 to 10 degrees                                 180 degrees: the long way round
#   a whole number (int attribute) from 0 to 10                            0: the earlier one holds; a float is 5
#   a referenced stage of other timeCodesPerSecond                         its times are brought to this stage's
#   of other metersPerUnit (0.01 in 1.0)                                   its numbers are not: 1 m is 100 m
#
# Nothing is raised or warned of. So: translate and orient as operations of their own, and metersPerUnit compared before a reference.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (160 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'usd-core==26.11'

cat >"$scratch/probe.py" <<'PYTHON'
import math
import sys

from pxr import Gf, Sdf, Usd, UsdGeom

stage = Usd.Stage.CreateInMemory()


def turned(degrees):
    return Gf.Matrix4d().SetRotate(Gf.Rotation(Gf.Vec3d(0, 0, 1), degrees))


def half_way(name, last):
    body = UsdGeom.Xform.Define(stage, f"/{name}")
    pose = body.MakeMatrixXform()
    pose.Set(turned(0), 0)
    pose.Set(turned(last), 10)
    found = body.GetLocalTransformation(5)
    return round(found.TransformDir(Gf.Vec3d(1, 0, 0)).GetLength(), 2), round(found.GetDeterminant(), 2)


def by_quaternion(name, sign):
    body = UsdGeom.Xform.Define(stage, f"/{name}")
    pose = body.AddOrientOp()
    pose.Set(Gf.Quatf(1, 0, 0, 0), 0)
    pose.Set(Gf.Quatf(sign * math.cos(math.pi / 4), 0, 0, sign * math.sin(math.pi / 4)), 10)
    return [round(one, 2) for one in body.GetLocalTransformation(5).TransformDir(Gf.Vec3d(1, 0, 0))]


def numbers(kind, first, last):
    attribute = stage.DefinePrim("/numbers").CreateAttribute(str(kind), kind)
    attribute.Set(first, 0)
    attribute.Set(last, 10)
    return attribute.Get(5)


def referenced():
    """Place of a body that moves from 1 m to 2 m in a second, in a stage of metres and twice the frames; half a second later."""
    other = Usd.Stage.CreateNew("centimetres.usda")
    UsdGeom.SetStageMetersPerUnit(other, 0.01)
    other.SetTimeCodesPerSecond(30)
    body = UsdGeom.Xform.Define(other, "/body")
    move = body.AddTranslateOp()
    move.Set(Gf.Vec3d(100, 0, 0), 0)
    move.Set(Gf.Vec3d(200, 0, 0), 30)
    other.SetDefaultPrim(body.GetPrim())
    other.Save()
    here = Usd.Stage.CreateNew("metres.usda")
    UsdGeom.SetStageMetersPerUnit(here, 1.0)
    here.SetTimeCodesPerSecond(60)
    taken = UsdGeom.Xform.Define(here, "/body")
    taken.GetPrim().GetReferences().AddReference("centimetres.usda")
    return taken.GetLocalTransformation(30).ExtractTranslation()[0]


spin = UsdGeom.Xform.Define(stage, "/spin").AddRotateZOp()
spin.Set(350.0, 0)
spin.Set(10.0, 10)
SEEN = [
    ("matrix, 90 degrees: length, determinant", half_way("quarter", 90), (0.71, 0.5)),
    ("matrix, 180 degrees", half_way("half", 180), (0.0, 0.0)),
    ("quaternion, 90 degrees", [by_quaternion("plus", 1), by_quaternion("minus", -1)], [[0.71, 0.71, 0.0]] * 2),
    ("rotateZ, 350 to 10 degrees", spin.Get(5), 180.0),
    ("int, float", [numbers(Sdf.ValueTypeNames.Int, 0, 10), numbers(Sdf.ValueTypeNames.Float, 0.0, 10.0)], [0, 5.0]),
    ("referenced stage, metres", referenced(), 150.0),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:42}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
