"""What a node imports before it can serve: nothing that its first prediction does not need."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Only for training, evaluation, recordings, other backends, or parts that TorchScript runs.
NEVER = ["torch", "scipy", "onnx", "rosbags", "faiss", "qdrant_client", "av", "matplotlib", "sklearn", "pandas"]
FURTHER = {
    "latent_publisher.node": ["h3", "sqlite3", "visualization_msgs"],
    "transition_predictor.node": ["h3", "sqlite3"],
    "spatial_memory.node": ["onnxruntime"],
    "world_action.node": ["h3", "sqlite3", "visualization_msgs"],
    "wm_bringup.composed": [],
}

MADE = {
    "latent_publisher": "from latent_publisher.node import LatentPublisher; node = LatentPublisher()",
    "transition_predictor": "from transition_predictor.node import TransitionPredictor; node = TransitionPredictor()",
    "world_action": "from world_action.node import WorldAction; node = WorldAction(); node._warm_up()",
    "one process": "from wm_bringup.composed import make_nodes; nodes = make_nodes(); nodes[-1]._warm_up()",
}


@pytest.mark.parametrize("module", FURTHER)
def test_what_is_not_needed_is_not_imported(module):
    assert imported(f"import {module}", [*NEVER, *FURTHER[module]]) == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("made", MADE)
def test_a_node_that_runs_the_shipped_artifact_needs_no_torch(made, tmp_path):
    """The node is made, and its networks have run: they are warmed up before the first frame."""
    said = ["model_path:=artifact://tiny", f"spatial_memory:db_path:={tmp_path / 'memory.sqlite3'}"]
    arguments = ["--ros-args", *(word for each in said for word in ("-p", each))]
    assert imported(f"import rclpy; rclpy.init(args={arguments})\n{MADE[made]}", NEVER) == "[]"


def test_a_process_looks_for_no_garbage_in_what_it_imports(tmp_path):
    said = "print(gc.isenabled(), gc.get_freeze_count() > 0)"
    (tmp_path / "some_node.py").write_text(f"import gc\n{said}\ndef main():\n    {said}\n    return 3\n")
    code = f"import sys; sys.path.append({str(tmp_path)!r}); from wm_ros_start import start; start('some_node')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("False False\nTrue True\n", 3)


def imported(code: str, names: list[str]) -> str:
    # It ends at once: what a node's threads do as the interpreter goes is not asked here.
    code = f"{code}\nimport os, sys; print([name for name in {names} if name in sys.modules], flush=True); os._exit(0)"
    # Whoever measures coverage imports things of its own.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    return done.stdout.strip().splitlines()[-1]
