#!/usr/bin/env bash
# A simulated robot whose acceleration becomes huge for one step, in MuJoCo's Python bindings.
#
# Guess: `mj_step` raises, or the body flies away; what is wrong with one body or actuator leaves the others alone.
# Seen with mujoco 4.0.0 (PyPI; Python 3.11, x86-64), two hinges that have nothing to do with each other, 10 ms steps:
#   a force of 1e13 on one, once    nothing is raised: the whole world starts over. Time goes from 0.20 s to 0.01 s, both
#                                   hinges are at their first pose, and the commands of both are zero from then on
#   NaN as one motor's command      every motor is off for that step, the healthy one as well; the command stays as it was
#   how one knows                   `data.warning`, a line on stderr and in MUJOCO_LOG.TXT; `mjDSBL_AUTORESET` turns the first off
#
# So: after each step look whether time has grown and at `data.warning`; a recording whose stamps come from `data.time` jumps back.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (150 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'mujoco==4.0.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import mujoco
import numpy as np

HINGE = '<body pos="{x} 0 0"><joint name="{name}" type="hinge"/><geom size=".1" mass="1"/></body>'
MOTOR = '<motor joint="{name}"/>'
MODEL = mujoco.MjModel.from_xml_string(
    '<mujoco><option timestep="0.01"/><worldbody>'
    + HINGE.format(x=0, name="left") + HINGE.format(x=1, name="right")
    + "</worldbody><actuator>" + MOTOR.format(name="left") + MOTOR.format(name="right") + "</actuator></mujoco>"
)


def pushed(force):
    """Time [s], positions above zero and commands after 21 steps, the last of them with a force on the left hinge."""
    data = mujoco.MjData(MODEL)
    data.ctrl[:] = 1
    for step in range(21):
        data.qfrc_applied[0] = force if step == 20 else 0
        mujoco.mj_step(MODEL, data)
    warned = int(data.warning[mujoco.mjtWarning.mjWARN_BADQACC].number)
    return round(data.time, 3), (data.qpos > 0).tolist(), data.ctrl.tolist(), warned


def one_nan():
    data = mujoco.MjData(MODEL)
    data.ctrl[:] = [1, np.nan]
    mujoco.mj_step(MODEL, data)
    return data.qvel.tolist()


SEEN = [
    ("time, moved, commands, warnings; no push", pushed(0), (0.21, [True, True], [1.0, 1.0], 0)),
    ("the same after a push of 1e13", pushed(1e13), (0.01, [False, False], [0.0, 0.0], 1)),
    ("speeds after one NaN command", one_nan(), [0.0, 0.0]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
