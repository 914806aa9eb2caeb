#!/usr/bin/env bash
# A robot's drives as a Minari dataset: what the declared spaces are worth.
#
# Guess: an episode whose actions or observations do not lie in the declared spaces is refused when the dataset is made.
# Seen with minari 0.5.4, gymnasium 1.4.0, h5py 3.16 (PyPI; Python 3.11, x86-64), actions declared as Box(-1, 1, (2,), float32):
#   actions of 3.0, as float64                 kept, and read back as float64: not in the space that the dataset states
#   actions that are NaN                       kept
#   as many observations as actions            kept: the last action has no observation after it (n + 1 is documented)
#   minari[hdf5] alone                         cannot write: it imports Pillow and does not ask for it
#
# So: check every episode against `action_space.contains` and len(observations) == len(actions) + 1 oneself, before writing and after reading.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (330 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'minari[hdf5]==0.5.4' 'gymnasium==1.4.0' 'h5py==3.16.0' 'numpy==2.4.6' 'pillow==13.0.0'

cat >"$scratch/probe.py" <<'PYTHON'
import os
import sys
import tempfile
import warnings

import gymnasium
import numpy as np

os.environ["MINARI_DATASETS_PATH"] = tempfile.mkdtemp()
warnings.simplefilter("ignore")
import minari
from minari.data_collector import EpisodeBuffer

ACTIONS = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
PICTURES = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)


def read_back(name, actions):
    count = len(actions)
    episode = EpisodeBuffer(
        observations=np.zeros((6, 8, 8, 3), np.uint8),
        actions=actions,
        rewards=np.zeros(count),
        terminations=np.zeros(count, bool),
        truncations=np.arange(count) == count - 1,
        infos={},
    )
    try:
        made = minari.create_dataset_from_buffers(
            f"{name}-v0", buffer=[episode], observation_space=PICTURES, action_space=ACTIONS
        )
    except (ValueError, AssertionError) as error:
        return type(error).__name__
    found = next(iter(made.iterate_episodes()))
    inside = [bool(made.action_space.contains(action)) for action in found.actions]
    return str(found.actions.dtype), len(found.observations) - len(found.actions), all(inside)


SEEN = [
    ("as it should be: type, observations more, in space", read_back("good", np.zeros((5, 2), np.float32)), ("float32", 1, True)),
    ("actions of 3.0 as float64", read_back("far", np.full((5, 2), 3.0)), ("float64", 1, False)),
    ("actions that are NaN", read_back("nan", np.full((5, 2), np.nan, np.float32)), ("float32", 1, False)),
    ("as many observations as actions", read_back("equal", np.zeros((6, 2), np.float32)), ("float32", 0, True)),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:56}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
