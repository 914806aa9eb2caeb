"""What the benchmarks with and without a branch start: one process or one per node, with a memory of their own."""

import pytest
import yaml

from benchmarks.slow_branch import commands


@pytest.mark.parametrize("slow", [True, False])
def test_the_composed_graph_is_given_a_memory_of_its_own(tmp_path, slow):
    command = commands("composed", slow, tmp_path)["world_model"]
    given = yaml.safe_load((tmp_path / "memory.yaml").read_text())
    assert given == {"spatial_memory": {"ros__parameters": {"db_path": str(tmp_path / "memory.sqlite3")}}}
    assert str(tmp_path / "memory.yaml") in command
    assert ("--no-slow-branch" in command) is not slow


def test_separate_nodes_are_a_process_each(tmp_path):
    started = commands("separate", False, tmp_path)
    assert sorted(started) == ["latent_publisher", "spatial_memory", "transition_predictor"]
    assert any("memory" in part for part in started["spatial_memory"])
