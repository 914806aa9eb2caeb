"""What a node imports before it can serve: nothing that its first prediction does not need."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Only for training, evaluation, recordings, other backends, or networks of the kind that artifact://tiny has none of.
NEVER = ["scipy", "onnxruntime", "onnx", "rosbags", "faiss", "qdrant_client", "av", "matplotlib", "sklearn", "pandas"]
FURTHER = {
    "latent_publisher.node": ["h3", "sqlite3", "visualization_msgs"],
    "transition_predictor.node": ["h3", "sqlite3"],
    "spatial_memory.node": ["torch"],
    "world_action.node": ["h3", "sqlite3", "visualization_msgs"],
    "wm_bringup.composed": [],
}


@pytest.mark.parametrize("module", FURTHER)
def test_what_is_not_needed_is_not_imported(module):
    unwanted = [*NEVER, *FURTHER[module]]
    code = f"import sys, {module}; print([name for name in {unwanted} if name in sys.modules])"
    # Whoever measures coverage imports things of its own.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "[]"
