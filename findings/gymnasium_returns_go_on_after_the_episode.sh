#!/usr/bin/env bash
# Rewards brought to one scale with gymnasium's `NormalizeReward`, as most trainings do: does an episode's return end with the episode?
#
# Guess: the variance it divides by is that of the discounted return, which starts anew with each `reset`, whether an episode was terminated or
# ran out of time (`truncated`, as `TimeLimit` says it).
# Seen with gymnasium 1.4.0 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), episodes of ten steps, after 300 of them, a reward of 1 becomes:
#   1 in each step; by hand, a return for each episode           0.37
#     ended by terminated                                        0.37
#     ended by truncated                                         0.08: the return goes on to 100 over all episodes
#   10 in the last step only; by hand                            0.33
#     ended by terminated                                        1.69: at the end what was gathered is dropped, the last reward is then
#                                                                carried into the next episode
#     ended by truncated                                         0.08
#   the very first reward, 1                                     70.7, and then 2.0: the variance starts from a ten-thousandth of a sample
#
# Same rewards, same lengths; only the name of the end differs, and gradients by up to 22 times. Nothing is raised. Its vector form with autoreset
# in the next step does the same. So: a wrapper of one's own that forgets the return in `reset`, and a few episodes before the first update.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (80 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'gymnasium==1.4.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import NormalizeReward
from gymnasium.wrappers.vector import NormalizeReward as NormalizeRewards

EPISODES, DISCOUNT = 300, 0.99
EVEN, LAST = [1.0] * 10, [0.0] * 9 + [10.0]
STAY = np.zeros(1, np.float32)


class Drive(gymnasium.Env):
    """Gives the rewards one after the other and ends."""

    action_space = observation_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, rewards, terminates):
        self.rewards, self.terminates, self.at = rewards, terminates, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return STAY, {}

    def step(self, action):
        reward, self.at = self.rewards[self.at], self.at + 1
        end = self.at == len(self.rewards)
        return STAY, reward, end and self.terminates, end and not self.terminates, {}


def by_hand(rewards):
    returns = []
    for _ in range(EPISODES):
        gathered = 0.0
        for reward in rewards:
            gathered = DISCOUNT * gathered + reward
            returns.append(gathered)
    return round(float(1 / np.std(returns)), 2)


def scaled(rewards, terminates):
    """What a reward of 1 is at the end, and the first two rewards."""
    drive, seen = NormalizeReward(Drive(rewards, terminates), gamma=DISCOUNT), []
    for _ in range(EPISODES):
        drive.reset()
        seen += [float(drive.step(STAY)[1]) for _ in rewards]
    return round(seen[-1] / rewards[-1], 2), [round(one, 1) for one in seen[:2]]


def scaled_by_vector(terminates):
    drives = NormalizeRewards(SyncVectorEnv([lambda: Drive(EVEN, terminates)], autoreset_mode=AutoresetMode.NEXT_STEP), gamma=DISCOUNT)
    drives.reset()
    for _ in range((len(EVEN) + 1) * EPISODES):
        drives.step(STAY[None])
    return round(float(1 / np.sqrt(drives.return_rms.var)), 2)


SEEN = [
    ("1 in each step, by hand", by_hand(EVEN), 0.37),
    ("terminated", scaled(EVEN, True)[0], 0.37),
    ("truncated", scaled(EVEN, False)[0], 0.08),
    ("10 in the last step, by hand", by_hand(LAST), 0.33),
    ("terminated", scaled(LAST, True)[0], 1.69),
    ("truncated", scaled(LAST, False)[0], 0.08),
    ("the first two rewards of 1", scaled(EVEN, True)[1], [70.7, 2.0]),
    ("vector form, terminated, truncated", [scaled_by_vector(True), scaled_by_vector(False)], [0.37, 0.08]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:38}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
