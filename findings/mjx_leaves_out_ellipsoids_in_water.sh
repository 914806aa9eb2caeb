#!/usr/bin/env bash
# A body in water or wind in MuJoCo and in MJX, which trains policies on many copies of the same model: fluidshape="ellipsoid".
#
# Guess: the same model has the same acceleration, or MJX refuses what it does not have, as it does adhesion.
# Seen with mujoco 4.0.0, mujoco-mjx 3.17.0, jax 0.10.2 on a CPU in double precision (PyPI; Python 3.11, x86-64), an ellipsoid of 5 kg in a current:
#   fluid by the box of inertia (the default)   the same to 1e-6: forward 0.62 m/s^2
#   fluidshape="ellipsoid", forward, sideways   MuJoCo 1.53, -2.88 m/s^2; MJX 0.62, -0.30: that of the box
#   the same, turning about z                   MuJoCo 8.57 rad/s^2; MJX 0: no moment that turns the body into the current
#   adhesion                                    MJX refuses: NotImplementedError
# Nothing is said; lift, drag by direction and added mass are left out, and a policy for a fish, a glider or a drone is taught otherwise than it is
# tried. So: one step of each model in both before training, and the default fluid, or MuJoCo itself, for such bodies.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (450 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'mujoco==4.0.0' 'mujoco-mjx==3.17.0' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import jax
import mujoco
import numpy as np

jax.config.update("jax_enable_x64", True)
from mujoco import mjx

WATER = """<mujoco><option density="1000" viscosity="0.1" wind="1 0 0" gravity="0 0 0"><flag contact="disable" constraint="disable"/></option>
<worldbody><body name="fish"><freejoint/><geom type="ellipsoid" size=".3 .1 .1" mass="5" {shape}/></body></worldbody>{more}</mujoco>"""
ADHESION = '<actuator><adhesion body="fish" ctrlrange="0 1" gain="1"/></actuator>'


def accelerations(shape="", more=""):
    """Forward, sideways and about z: by MuJoCo and by MJX, or what MJX says."""
    model = mujoco.MjModel.from_xml_string(WATER.format(shape=shape, more=more))
    data = mujoco.MjData(model)
    data.qvel[:] = 0.5, 0.2, 0, 0, 0.3, 0
    mujoco.mj_forward(model, data)
    try:
        other = jax.jit(mjx.forward)(mjx.put_model(model), mjx.put_data(model, data))
    except NotImplementedError:
        return "refused"
    return [np.asarray(one.qacc)[[0, 1, 5]].round(2).tolist() for one in (data, other)]


box = [0.62, -0.3, 0.0]
SEEN = [
    ("box of inertia", accelerations(), [box, box]),
    ("ellipsoid", accelerations('fluidshape="ellipsoid"'), [[1.53, -2.88, 8.57], box]),
    ("adhesion", accelerations(more=ADHESION), "refused"),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
