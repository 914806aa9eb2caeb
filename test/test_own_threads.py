"""A node's arithmetic keeps to one core: what NumPy's library starts of its own would spin on those of other nodes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STARTS = {
    "src/bag_player/bag_player_node.py": "bag_player.node",
    "src/latent_planner/latent_planner_node.py": "latent_planner.node",
    "src/latent_publisher/latent_publisher_node.py": "latent_publisher.node",
    "src/policy_runner/policy_runner_node.py": "policy_runner.node",
    "src/spatial_memory/spatial_memory_node.py": "spatial_memory.node",
    "src/transition_predictor/transition_predictor_node.py": "transition_predictor.node",
    "src/wm_api/wm_api_node.py": "wm_api.node",
    "src/wm_bringup/scripts/bag_player": "bag_player.node",
    "src/wm_bringup/scripts/world_model": "wm_bringup.composed",
    "src/wm_sim_ros/wm_sim_node.py": "wm_sim_ros.node",
    "src/wm_view/frame_broadcaster_node.py": "wm_view.node",
    "src/wm_view/view_recorder_node.py": "wm_view.recorder.node",
    "src/world_action/world_action_node.py": "world_action.node",
}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# In the place of the node: how many threads its process has once NumPy has multiplied.
PROGRAM = """
import os, runpy, sys, types

def main():
    import numpy as np
    np.ones((500, 500)) @ np.ones((500, 500))
    print(len(os.listdir("/proc/self/task")), flush=True)
    return 0

package, _, name = sys.argv[2].rpartition(".")
sys.modules[package] = types.ModuleType(package)
sys.modules[sys.argv[2]] = stub = types.ModuleType(sys.argv[2])
stub.main = main
started = runpy.run_path(sys.argv[1])
started["main"]()
"""


def threads_of(start: str, node: str) -> int:
    environment = {name: value for name, value in os.environ.items() if name not in THREADS}
    command = [sys.executable, "-c", PROGRAM, str(ROOT / start), node]
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()[0])


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc: threads are not counted here")
@pytest.mark.parametrize("start", STARTS)
def test_a_node_multiplies_on_one_thread(start):
    assert threads_of(start, STARTS[start]) == 1


def test_no_node_is_forgotten():
    found = [*ROOT.glob("src/*/*_node.py"), *(ROOT / "src/wm_bringup/scripts").iterdir()]
    assert {path.relative_to(ROOT).as_posix() for path in found} == set(STARTS)
